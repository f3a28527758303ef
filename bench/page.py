"""The page of a person's connections, with twenty of them."""

from collections.abc import Callable
from datetime import timedelta

from bench import harness, site
from bench.harness import Figures, Goal, expect

OURS, ALLAUTH = "ours", "allauth"
ACCOUNTS = 20


def age_ours() -> None:
    """Connected on different days and refreshed at different hours, as such rows are."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    now = timezone.now()
    for n, row in enumerate(ConnectedAccount.objects.all()):
        ConnectedAccount.objects.filter(pk=row.pk).update(
            connected_at=now - timedelta(days=9 * n + 1), refreshed_at=now - timedelta(hours=n)
        )


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9")
    from django.conf import settings
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from bench import rows
    from bench.wsgi import Visitor, handler

    rows.delete_rows()
    people = rows.make_users(2)
    for person, count in zip(people, (ACCOUNTS, 1), strict=True):
        first = 0 if count == ACCOUNTS else ACCOUNTS
        rows.make_ours([person] * count, first=first)
        rows.make_allauth([person] * count, first=first)
    age_ours()
    rows.analyze()
    ours, allauth = handler(), handler(settings.ALLAUTH_MIDDLEWARE)
    visitors = {
        OURS: (Visitor(ours, people[0]), "/connections/"),
        ALLAUTH: (Visitor(allauth, people[0]), "/allauth/3rdparty/"),
    }
    queries = {}
    for who, (visitor, path) in visitors.items():
        visitor.get(path)
        with CaptureQueriesContext(connection) as asked:
            body = visitor.get(path).body.decode()
        queries[who] = len(asked)
        shown = sum(f"u{n}" in body for n in range(ACCOUNTS))
        expect(shown == ACCOUNTS, f"{who}: {shown} accounts on the page")
    with CaptureQueriesContext(connection) as asked:
        Visitor(ours, people[1]).get("/connections/")
    alone = sum("connected_accounts" in query["sql"] for query in asked)
    with CaptureQueriesContext(connection) as asked:
        visitors[OURS][0].get("/connections/")
    many = sum("connected_accounts" in query["sql"] for query in asked)
    expect(many == alone, f"ours: {alone} queries for one account, {many} for {ACCOUNTS}")
    times = max(int(60 * scale), 5)

    def showing(who: str) -> Callable[[], float]:
        visitor, path = visitors[who]
        return lambda: harness.cpu_ms(lambda: visitor.get(path), times)

    runs = harness.interleaved({who: showing(who) for who in visitors})
    figures = Figures(f"Connections page, {ACCOUNTS} accounts", "ms of CPU", runs)
    figures.goals = [Goal(OURS, ALLAUTH, "<=", 0.2, "connections page against allauth's")]
    figures.note = "queries: " + ", ".join(f"{who} {count}" for who, count in queries.items())
    return [figures]


if __name__ == "__main__":
    harness.publish(measure)
