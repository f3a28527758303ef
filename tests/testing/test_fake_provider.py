"""The fake provider: what tests of this app, and of sites that use it, may rely on."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import connected_accounts.testing
from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import Outcome
from connected_accounts.testing import (
    CANARY,
    OMITTED,
    AuthorizationPageError,
    FakeProvider,
)
from connected_accounts.tokens.identity import identify
from tests.providers.fake_site import ALIASES, SITE, VERIFIER, Site, configure, reconfigure


@pytest.fixture(autouse=True)
def _configured(settings: Any) -> None:
    configure(settings)


@pytest.fixture(params=ALIASES)
def site(request: pytest.FixtureRequest) -> Site:
    return Site(request.param)


@pytest.fixture
def fake(site: Site) -> Iterator[FakeProvider]:
    with FakeProvider(site.alias) as fake:
        yield fake


@pytest.fixture
def plain() -> Site:
    return Site("plain")


def test_all_is_true():
    names = connected_accounts.testing.__all__

    assert sorted(names) == sorted(connected_accounts.testing._HOMES)
    for name in names:
        home = f"connected_accounts.testing.{connected_accounts.testing._HOMES[name]}"
        assert getattr(connected_accounts.testing, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no_such_name"):
        connected_accounts.testing.no_such_name  # noqa: B018


# The way through, in every dialect.


def test_a_person_agrees_and_the_code_becomes_tokens(site: Site, fake: FakeProvider):
    answer = fake.authorize(site.url(), subject="ada", label="ada@example.org")

    assert answer["state"] == "the-state"
    token = site.exchange(answer["code"])

    assert token.access_token.reveal().startswith(CANARY)
    assert token.refresh_token is not None
    assert token.expires_in == pytest.approx(86400, abs=5)
    assert identify(site.provider, site.provider.endpoints(), token).subject == "ada"
    [grant] = fake.grants
    assert (grant.subject, grant.is_alive) == ("ada", True)


def test_a_person_says_no(site: Site, fake: FakeProvider):
    answer = fake.authorize(site.url(), deny=True)

    assert (answer["error"], answer["state"]) == ("access_denied", "the-state")
    assert "code" not in answer
    assert fake.grants == []


def test_a_person_may_grant_less_than_was_asked_for(plain: Site):
    with FakeProvider("plain") as fake:
        assert plain.exchange(fake.authorize(plain.url())["code"]).scope == ("one", "two")
        token = plain.exchange(fake.authorize(plain.url(), scopes=["one"])["code"])

    assert token.scope == ("one",)


def test_badgr_tells_what_was_granted_and_why_not():
    site = Site("badgr")
    with FakeProvider("badgr") as fake:
        agreed, denied = fake.authorize(site.url()), fake.authorize(site.url(), deny=True)
        assert agreed["scope"] == "r:profile r:backpack"
        assert denied["error_reason"] == "user_denied"
        assert fake.authorize(site.url(state=None))["state"] == "null"


@pytest.mark.parametrize(
    "fault",
    [
        {"client_id": "another"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "/callback/"},
        {"redirect_uri": f"{SITE}#fragment"},
    ],
)
def test_nobody_is_sent_back_by_a_wrong_client_or_redirect_uri(
    site: Site, fake: FakeProvider, fault: dict[str, str | None]
):
    with pytest.raises(AuthorizationPageError):
        fake.authorize(site.url(**fault))


def test_another_address_or_a_parameter_given_twice_is_an_error(site: Site, fake: FakeProvider):
    for url in (site.url().replace("https://", "https://www."), f"{site.url()}&state=2"):
        with pytest.raises(AuthorizationPageError):
            fake.authorize(url)


def test_a_redirect_uri_has_to_be_registered_where_the_test_says_which_are(plain: Site):
    with FakeProvider("plain", redirect_uris=[SITE]) as fake:
        assert "code" in fake.authorize(plain.url())
        with pytest.raises(AuthorizationPageError):
            fake.authorize(plain.url(redirect_uri=f"{SITE}?more"))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
    ],
)
def test_any_other_fault_comes_back_as_an_error(
    plain: Site, fault: dict[str, str | None], error: str
):
    with FakeProvider("plain") as fake:
        assert fake.authorize(plain.url(**fault)) == {"error": error, "state": "the-state"}


# Codes, tokens, rotation.


def test_a_code_is_good_once(site: Site, fake: FakeProvider):
    code = fake.authorize(site.url())["code"]
    site.exchange(code)

    with pytest.raises((ReauthorizationRequired, ProviderUnavailable)):
        site.exchange(code)


def test_a_code_runs_out(site: Site, fake: FakeProvider):
    code = fake.authorize(site.url())["code"]
    fake.expire_codes()

    with pytest.raises(ReauthorizationRequired):
        site.exchange(code)
    fake.behaviour.code_lifetime = 0
    with pytest.raises(ReauthorizationRequired):
        site.connect(fake)


@pytest.mark.parametrize("change", [{"code_verifier": "w" * 43}, {"code_verifier": ""}])
def test_the_verifier_is_compared(plain: Site, change: dict[str, str]):
    with FakeProvider("plain") as fake, pytest.raises(ReauthorizationRequired):
        plain.exchange(fake.authorize(plain.url())["code"], **change)


def test_a_verifier_nobody_asked_for_is_refused():
    site = Site("bitbadges")
    with FakeProvider("bitbadges") as fake, pytest.raises(ReauthorizationRequired):
        site.exchange(fake.authorize(site.url())["code"], code_verifier=VERIFIER)


def test_the_redirect_uri_is_compared(site: Site, fake: FakeProvider):
    with pytest.raises((ReauthorizationRequired, ClientRejected, UnexpectedResponse)):
        site.exchange(fake.authorize(site.url())["code"], redirect_uri=f"{SITE}other")


def test_a_wrong_client_secret_is_refused(site: Site, fake: FakeProvider, settings: Any):
    document = site.connect(fake)
    reconfigure(settings, site.alias, CLIENT_SECRET="wrong")

    with pytest.raises(ClientRejected):
        site.refresh(document)


@pytest.mark.parametrize("alias", ["badgr", "bitbadges", "plain"])
def test_the_client_may_come_in_the_header(alias: str, settings: Any):
    site = Site(alias)
    by_header = {"token_endpoint_auth_method": "client_secret_basic"}
    reconfigure(settings, alias, OPTIONS=by_header)
    with FakeProvider(alias) as fake:
        site.connect(fake)

        assert "client_secret" not in fake.requests[0].fields


def test_a_refresh_rotates_and_the_old_tokens_die(site: Site, fake: FakeProvider):
    first = site.connect(fake)

    second = site.refresh(first)

    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert fake.grants[0].access_token == second["access_token"]
    assert fake.presentations == {first["refresh_token"]: 1}


def test_a_spent_refresh_token_ends_the_grant_and_is_counted(site: Site, fake: FakeProvider):
    first = site.connect(fake)
    second = site.refresh(first)

    for document in (first, second, first):
        with pytest.raises(ReauthorizationRequired):
            site.refresh(document)

    assert fake.reuses == 1
    assert not fake.grants[0].is_alive
    assert fake.presentations[first["refresh_token"]] == 3


def test_without_rotation_the_refresh_token_stays_the_same(site: Site, fake: FakeProvider):
    fake.behaviour.rotates = False
    first = site.connect(fake)

    second = site.refresh(first)

    assert second["refresh_token"] == first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert fake.presentations[first["refresh_token"]] == 1
    site.refresh(second)


def test_refresh_tokens_can_be_left_out_of_answers(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    fake.behaviour.omit_refresh_token = True

    again = site.refresh(document)

    assert again["refresh_token"] == document["refresh_token"]
    site.refresh(again)
    assert site.connect(fake)["refresh_token"] is None


@pytest.mark.parametrize(
    ("value", "life"), [(90, 90), ("90", 90), (OMITTED, None), (None, None), ("soon", None)]
)
def test_the_life_of_a_token_is_what_the_test_says(
    site: Site, fake: FakeProvider, value: Any, life: int | None
):
    fake.behaviour.expires_in = value

    assert site.connect(fake)["expires_in"] == (life and pytest.approx(life, abs=5))


def test_a_withdrawn_grant_cannot_be_refreshed(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    fake.withdraw()

    with pytest.raises(ReauthorizationRequired):
        site.refresh(document)
    assert fake.reuses == 0


def test_a_revoked_grant_cannot_be_refreshed(site: Site, fake: FakeProvider):
    document = site.connect(fake)

    assert site.revoke(document) is Outcome.REVOKED
    assert not fake.grants[0].is_alive
    with pytest.raises(ReauthorizationRequired):
        site.refresh(document)
    tells = site.alias in ("bitbadges", "first")
    assert site.revoke(document) is (Outcome.ALREADY_GONE if tells else Outcome.REVOKED)
