"""A site that registers itself at Badge Connect hosts, and a person who connects at one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.badge_connect import OB2
from connected_accounts.services import complete_authorization, start_authorization
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import query_of
from tests.providers.harness import recorded

HOST: Final = "badges.example.org"
OTHER: Final = "other.example.net"
SITE: Final = "https://site.example/connections/callback/"
PROFILE: Final = f"{OB2}profile.readonly"
BACKEND: Final = "connected_accounts.providers.badge_connect.BadgeConnect"


def configure(settings: Any, **changes: Any) -> None:
    """The alias ``badges`` with two hosts and no client id."""
    options = {"hosts": [HOST, OTHER], **changes.pop("OPTIONS", {})}
    entry = {"BACKEND": BACKEND, "OPTIONS": options, **changes}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}


@contextmanager
def faked_host(settings: Any, **options: Any) -> Iterator[FakeProvider]:
    configure(settings)
    with FakeProvider("badges", inputs={"host": HOST}, **options) as fake:
        yield fake


def answered(**changes: Any) -> Answer:
    """A registration that is done; ``changes`` replace what it says, and ``...`` leaves it out."""
    return recorded("badge_connect", "registration_done", **changes)


class Flow:
    """One person's authorization at a host."""

    def __init__(self, user: Any, host: str = HOST, redirect_uri: str = SITE, **more: Any) -> None:
        self.known = {"user": user, "provider": "badges", "browser_secret": new_secret()}
        self.url = start_authorization(
            **self.known, redirect_uri=redirect_uri, inputs={"host": host}, **more
        )
        self.client_id = query_of(self.url)["client_id"]

    def finish_with(self, code: str) -> ConnectedAccount:
        """End it at the callback with a code of the test's own."""
        params = {"state": query_of(self.url)["state"], "code": code}
        return complete_authorization(**self.known, params=params).account

    def finish(self, fake: FakeProvider) -> ConnectedAccount:
        params = fake.authorize(self.url, subject="ada")
        return complete_authorization(**self.known, params=params).account
