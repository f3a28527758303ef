"""The connect redirect and the callback: ours, allauth, social-auth, Authlib with a plain save.

All of them in the same project behind the same middleware, asked by signed-in people with a CSRF
token. The callback calls the stub twice, for the tokens and for who it is; the provider's own time
is its process's and does not count.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench import harness, site, stub
from bench.harness import Figures, Goal, expect

OURS, ALLAUTH, SOCIAL, AUTHLIB = "ours", "allauth", "social-auth", "Authlib and a plain save"


@dataclass
class Contender:
    """Where its flow begins, how its callback is called, and how to read what it stored."""

    name: str
    application: Any
    begin: str
    fields: dict[str, str]
    stored: Callable[[], dict[str, str]]
    sign_up: Callable[[str], Any]
    asked: int = 0
    expected: dict[str, str] = field(default_factory=dict)

    def visitor(self, number: int) -> Any:
        from bench.wsgi import Visitor

        return Visitor(self.application, self.sign_up(f"{self.name}-{number}"))

    def start(self, visitor: Any) -> str:
        """Begin a flow; return the address that the provider sends the person back to."""
        answer = visitor.post(self.begin, **self.fields)
        expect(answer.status in (302, 303), f"{self.name}: start answers {answer.status}")
        url = answer.header("Location")
        asked = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
        expect("/login/oauth/authorize" in url and bool(asked["state"]), f"{self.name}: {url}")
        back = urlsplit(asked["redirect_uri"]).path
        return f"{back}?state={asked['state']}"


def contenders() -> list[Contender]:
    from allauth.socialaccount.models import SocialToken
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from social_django.models import UserSocialAuth

    from bench.plain.models import PlainAccount
    from bench.wsgi import handler
    from connected_accounts.models import ConnectedAccount

    def sign_up(name: str) -> Any:
        return get_user_model().objects.create(username=name)

    def ours() -> dict[str, str]:
        rows = ConnectedAccount.objects.with_token()
        return {row.subject: row.open_token()["access_token"] for row in rows}

    def allauth() -> dict[str, str]:
        rows = SocialToken.objects.select_related("account")
        return {row.account.uid: row.token for row in rows}

    def social() -> dict[str, str]:
        return {row.uid: row.extra_data["access_token"] for row in UserSocialAuth.objects.all()}

    def authlib() -> dict[str, str]:
        return {row.subject: row.access_token for row in PlainAccount.objects.all()}

    common = handler()
    return [
        Contender(OURS, common, "/connections/gitea/connect/", {"next": "/done/"}, ours, sign_up),
        Contender(
            ALLAUTH,
            handler(settings.ALLAUTH_MIDDLEWARE),
            "/allauth/gitea/login/?process=connect&next=/done/",
            {},
            allauth,
            sign_up,
        ),
        Contender(SOCIAL, common, "/social/login/gitea/", {"next": "/done/"}, social, sign_up),
        Contender(AUTHLIB, common, "/authlib/connect/", {}, authlib, sign_up),
    ]


def timed_start(contender: Contender, times: int) -> Callable[[], float]:
    """ms of CPU for one redirect. The same person again and again, as the peers' tests would."""
    turn = itertools.count()

    def once() -> float:
        visitors = [contender.visitor(10**6 + next(turn)) for _ in range(times)]
        cpu = 0.0
        for visitor in visitors:
            began = time.process_time()
            answer = visitor.post(contender.begin, **contender.fields)
            cpu += time.process_time() - began
            expect(answer.status in (302, 303), f"{contender.name}: {answer.status}")
        return cpu * 1000 / times

    return once


def timed_callback(
    contender: Contender, times: int, numbers: Any, provider: stub.Running
) -> Callable[[], float]:
    """ms of CPU for one callback, each of another person with another account."""

    def once() -> float:
        flows = []
        for _ in range(times):
            number = next(numbers)
            visitor = contender.visitor(number)
            flows.append((number, visitor, contender.start(visitor)))
        served, cpu = provider.served(), 0.0
        for number, visitor, back in flows:
            began = time.process_time()
            answer = visitor.get(f"{back}&code=c.{number}.{'x' * 30}")
            cpu += time.process_time() - began
            where = answer.header("Location")
            done = answer.status in (302, 303) and where.endswith("/done/")
            expect(done, f"{contender.name}: callback answers {answer.status} {where}")
            contender.expected[str(number)] = stub.token("a", number, 0)
        expect(provider.served() - served == 2 * times, f"{contender.name}: two requests each")
        return cpu * 1000 / times

    return once


def count_queries(contender: Contender, number: int) -> tuple[int, int]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    visitor = contender.visitor(number)
    with CaptureQueriesContext(connection) as starting:
        back = contender.start(visitor)
    with CaptureQueriesContext(connection) as finishing:
        visitor.get(f"{back}&code=c.{number}.{'x' * 30}")
    contender.expected[str(number)] = stub.token("a", number, 0)
    return len(starting), len(finishing)


def measure(scale: float) -> list[Figures]:
    with stub.running() as provider:
        site.start(provider.url)
        from bench.rows import delete_rows

        delete_rows()
        known = contenders()
        times = max(int(60 * scale), 4)
        numbers = itertools.count(1)
        for one in known:  # the first flow of a process does what later ones need not
            count_queries(one, next(numbers))
        queries = {one.name: count_queries(one, next(numbers)) for one in known}
        starts = harness.interleaved({one.name: timed_start(one, times) for one in known})
        callbacks = harness.interleaved(
            {one.name: timed_callback(one, times, numbers, provider) for one in known}
        )
        for one in known:
            expect(one.stored() == one.expected, f"{one.name}: the tokens in the database")
    fastest = min((ALLAUTH, SOCIAL, AUTHLIB), key=lambda who: harness.median(starts[who]))
    start = Figures("Connect redirect", "ms of CPU", starts)
    start.goals = [Goal(OURS, fastest, "<=", 1.0, "connect redirect against the fastest peer")]
    start.goals += [Goal(OURS, who) for who in (ALLAUTH, SOCIAL, AUTHLIB) if who != fastest]
    start.note = "queries: " + ", ".join(f"{who} {found[0]}" for who, found in queries.items())
    back = Figures("Callback without the provider's time", "ms of CPU", callbacks)
    back.goals = [
        Goal(OURS, SOCIAL, "<=", 0.6, "callback against social-auth's"),
        Goal(OURS, ALLAUTH),
        Goal(OURS, AUTHLIB),
    ]
    back.note = "queries: " + ", ".join(f"{who} {found[1]}" for who, found in queries.items())
    return [start, back]


if __name__ == "__main__":
    harness.publish(measure)
