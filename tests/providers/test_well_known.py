"""Five well-known services, expressed by settings alone: those of the documentation's own page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connected_accounts.exceptions import ClientRejected, InvalidState
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.state import new_secret
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    complete_authorization,
    disconnect,
    refresh,
    start_authorization,
)
from connected_accounts.testing import FakeProvider
from tests.providers.harness import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, recorded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "any-server.md"
ISSUERS = {"gitlab": "https://gitlab.com", "google": "https://accounts.google.com"}
# alias -> scopes asked for, granted, subject, label, what a disconnect comes to
EXPECTED = {
    "github": (["repo", "gist"], ["repo", "gist"], "583231", "octocat", "unsupported"),
    "gitlab": (None, ["openid"], "74", "ada", "revoked"),
    "google": (None, ["openid"], "10769150350006150715113082367", "ada@example.org", "revoked"),
    "slack": (
        ["commands", "incoming-webhook"],
        ["commands", "incoming-webhook"],
        "T9TK3CUKW",
        "Slack Softball Team",
        "unsupported",
    ),
    "discord": (["identify"], ["identify"], "80351110224678912", "Nelly", "revoked"),
}

pytestmark = pytest.mark.django_db


def documented() -> dict[str, dict[str, Any]]:
    """The settings that the page tells people to paste."""
    blocks = PAGE.read_text().split("```python\n")
    [block] = [b.partition("```")[0] for b in blocks if b.startswith("GITHUB")]
    found: dict[str, Any] = {}
    exec(block, found)
    return {name.lower(): value for name, value in found.items() if name.isupper()}


@pytest.fixture(params=sorted(EXPECTED))
def alias(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    name: str = request.param
    scopes = EXPECTED[name][0]
    entry = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "OPTIONS": documented()[name],
        **({} if scopes is None else {"SCOPES": scopes}),
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {name: entry}}
    discovery.clear_cache()
    if name in ISSUERS:
        metadata = recorded("well_known", f"{name}_metadata").json
        discovery.cached_document(f"issuer:{ISSUERS[name]}", lambda: (metadata, 3600.0))
    yield name
    discovery.clear_cache()


class Way:
    """One person's way to one service, with recorded answers."""

    def __init__(self, alias: str, user: Any, fake: FakeProvider) -> None:
        self.alias, self.user, self.fake = alias, user, fake
        self.secret = new_secret()
        self.url = start_authorization(
            user=user, provider=alias, redirect_uri=REDIRECT_URI, browser_secret=self.secret
        )

    def finish(self, token: str) -> ConnectedAccount:
        self.fake.script("token", recorded("well_known", f"{self.alias}_{token}"))
        if self.alias != "slack":
            self.fake.script("identity", recorded("well_known", f"{self.alias}_identity"))
        params = self.fake.authorize(self.url)
        return complete_authorization(
            user=self.user, provider=self.alias, browser_secret=self.secret, params=params
        ).account


@pytest.fixture
def way(alias: str, user: Any) -> Iterator[Way]:
    with FakeProvider(alias) as fake:
        yield Way(alias, user, fake)


def test_every_service_of_the_page_is_tried() -> None:
    assert set(documented()) == set(EXPECTED)


def test_a_person_connects_and_disconnects(way: Way) -> None:
    scopes, granted, subject, label, outcome = EXPECTED[way.alias]
    account = way.finish("token")
    assert (account.subject, account.label) == (subject, label)
    assert account.scopes_granted == granted
    separator = "," if way.alias == "slack" else " "
    asked = parse_qs(urlsplit(way.url).query)["scope"][0]
    assert asked == separator.join(scopes or ["openid"])
    if account.refresh_at is not None:
        way.fake.script("token", recorded("well_known", f"{way.alias}_token"))
        refresh(account)
    revocation = disconnect(account)
    revoke_pending()
    assert revocation is not None
    revocation.refresh_from_db()
    assert revocation.outcome == outcome


def test_a_dead_code_is_understood_whatever_its_status(way: Way) -> None:
    with pytest.raises(InvalidState) as caught:
        way.finish("refused")
    assert caught.value.code == "code_rejected"


def test_a_wrong_client_is_the_sites_fault(way: Way) -> None:
    with pytest.raises(ClientRejected):
        way.finish("client")


def test_google_is_asked_for_a_refresh_token(way: Way) -> None:
    query = parse_qs(urlsplit(way.url).query)
    assert ("access_type" in query) is (way.alias == "google")
