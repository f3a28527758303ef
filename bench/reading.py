"""Reading an access token that is fresh, with a hundred thousand rows in every table."""

import itertools
from collections.abc import Callable
from typing import Any

from bench import harness, site, stub
from bench.harness import Figures, Goal, expect

OURS, ALLAUTH, SOCIAL = "ours", "allauth", "social-auth"
OURS_OF_USER, ALLAUTH_OF_USER = "ours, of a user and an alias", "allauth, of a user and an alias"
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
    readers = {
        OURS: ours(),
        OURS_OF_USER: ours_of_user(users),
        ALLAUTH: allauth(),
        ALLAUTH_OF_USER: allauth_of_user(users),
        SOCIAL: social(),
    }
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
    for who in (OURS, OURS_OF_USER):
        expect(queries[who] == 1, f"{who}: {queries[who]} queries")
    figures = Figures("Reading a fresh access token", "ms of CPU", runs)
    figures.goals = [
        Goal(OURS, ALLAUTH, "<=", 0.65, "get_access_token against allauth's SocialToken read"),
        Goal(OURS_OF_USER, ALLAUTH, "<=", 1.0, "from a user and an alias, against that plain read"),
        Goal(OURS_OF_USER, ALLAUTH_OF_USER),
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


def ours_of_user(users: list[Any]) -> Callable[[int], tuple[str, str]]:
    from connected_accounts.services import get_access_token_of

    return lambda number: (str(number), get_access_token_of(users[number], "gitea"))


def allauth_of_user(users: list[Any]) -> Callable[[int], tuple[str, str]]:
    from allauth.socialaccount.models import SocialToken

    def read(number: int) -> tuple[str, str]:
        found = SocialToken.objects.get(account__user=users[number], account__provider="gitea")
        return str(number), found.token

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
