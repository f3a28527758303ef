"""Reading an access token that is fresh, with a hundred thousand rows in every table."""

import itertools
from collections.abc import Callable
from typing import Any

from bench import harness, site, stub
from bench.harness import Figures, Goal, expect

OURS, ALLAUTH, SOCIAL = "ours", "allauth", "social-auth"
ROWS = 100_000


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9")
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from bench import rows

    rows.delete_rows()
    count, times = max(int(ROWS * scale), 100), max(int(1500 * scale), 20)
    users = rows.make_users(count)
    rows.make_ours(users)
    rows.make_allauth(users)
    rows.make_social(users)
    rows.analyze()
    readers = {OURS: ours(), ALLAUTH: allauth(), SOCIAL: social()}
    queries = {}
    for who, read in readers.items():
        with CaptureQueriesContext(connection) as asked:
            read(count // 2)
        queries[who] = len(asked)
    turn = itertools.count(1)

    def reading(read: Callable[[int], tuple[str, str]]) -> Callable[[], float]:
        def once() -> float:
            # All over the table, each time another row, the same for everybody.
            numbers = [next(turn) * 7919 % count for _ in range(times)]
            found: list[tuple[str, str]] = []
            remaining = iter(numbers)
            cpu = harness.cpu_ms(lambda: found.append(read(next(remaining))), times)
            good = all(text == stub.token("a", uid, 0) for uid, text in found)
            expect(good, "the tokens that were read")
            return cpu

        return once

    runs = harness.interleaved({who: reading(read) for who, read in readers.items()}, runs=9)
    expect(queries[OURS] == 1, f"ours: {queries[OURS]} queries")
    figures = Figures("Reading a fresh access token", "ms of CPU", runs)
    figures.goals = [
        Goal(OURS, ALLAUTH, "<=", 1.25, "get_access_token against allauth's SocialToken read"),
        Goal(OURS, SOCIAL),
    ]
    figures.note = f"{count} rows each; queries: " + ", ".join(
        f"{w} {n}" for w, n in queries.items()
    )
    return [figures]


def ours() -> Callable[[int], tuple[str, str]]:
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token

    accounts = list(ConnectedAccount.objects.order_by("pk"))

    def read(number: int) -> tuple[str, str]:
        account = accounts[number]
        return account.subject, get_access_token(account)

    return read


def allauth() -> Callable[[int], tuple[str, str]]:
    """As allauth's documentation has it: the token of an account."""
    from allauth.socialaccount.models import SocialAccount, SocialToken

    accounts = list(SocialAccount.objects.order_by("pk"))

    def read(number: int) -> tuple[str, str]:
        account = accounts[number]
        return account.uid, SocialToken.objects.get(account=account).token

    return read


def social() -> Callable[[int], tuple[str, str]]:
    """social-auth's row read anew, and its own way to a token that works."""
    from social_django.models import UserSocialAuth
    from social_django.utils import load_strategy

    strategy = load_strategy()
    keys: list[Any] = list(UserSocialAuth.objects.order_by("pk").values_list("pk", flat=True))

    def read(number: int) -> tuple[str, str]:
        row = UserSocialAuth.objects.get(pk=keys[number])
        return row.uid, row.get_access_token(strategy)

    return read


if __name__ == "__main__":
    harness.publish(measure)
