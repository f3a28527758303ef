"""The fake provider's dialects, beyond what the whole way through them shows."""

from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from connected_accounts.exceptions import ClientRejected, ProviderUnavailable, UnexpectedResponse
from connected_accounts.models import Outcome
from connected_accounts.oauth2 import transport
from connected_accounts.testing import Answer, FakeProvider
from tests.providers.fake_site import ALIASES, SITE, Site, configure, reconfigure


@pytest.fixture(autouse=True)
def _configured(settings: Any) -> None:
    configure(settings)


# The API.


@pytest.mark.parametrize("alias", ALIASES)
def test_the_api_is_scripted_and_refuses_a_bearer_that_is_dead(alias: str):
    site = Site(alias)
    with FakeProvider(alias) as fake:
        document = site.connect(fake)
        caller = site.session(document)
        fake.script("api", Answer(200, {"badges": 3}))

        assert caller.get("badges").json() == {"badges": 3}
        assert caller.get("badges").status_code == 404
        fake.expire_access_tokens()
        assert caller.get("badges").status_code == 401
        assert fake.sent_to("api")[0].bearer == document["access_token"]
        site.refresh(document)


@pytest.mark.parametrize("body", [{"data": b"\xff\x00"}, {"files": {"image": b"\x89PNG"}}])
def test_the_api_takes_bodies_that_are_no_fields(body: dict[str, Any]):
    site = Site("plain")
    with FakeProvider("plain") as fake:
        caller = site.session(site.connect(fake))
        fake.script("api", Answer(201))

        assert caller.post("images", **body).status_code == 201
        assert fake.sent_to("api")[0].fields == {}


def test_json_that_is_broken_is_no_fields_either():
    site = Site("bitbadges")
    with FakeProvider("bitbadges"):
        url = site.provider.endpoints().token_endpoint
        kind = {"Content-Type": "application/json"}
        answer = transport.fetch(requests.Request("POST", url, data="{", headers=kind))

    assert answer.status == 400


# Dialects.


def test_badgr_takes_a_form_at_addresses_with_and_without_a_slash():
    endpoints = Site("badgr").provider.endpoints()
    with FakeProvider("badgr"):
        for url in (endpoints.token_endpoint, f"{endpoints.token_endpoint}/"):
            answer = transport.fetch(requests.Request("POST", url, json={"grant_type": "x"}))
            assert b"missing username parameter" in answer.body
        without = endpoints.revocation_endpoint.rstrip("/")
        answer = transport.fetch(requests.Request("POST", without, data={"token": "one"}))
    assert (answer.status, answer.headers["Location"]) == (301, endpoints.revocation_endpoint)


def test_badgr_leaves_a_grant_half_alive_whose_access_token_was_revoked():
    site = Site("badgr")
    with FakeProvider("badgr") as fake:
        document = site.connect(fake)
        site.revoke({"access_token": document["access_token"]})

        with pytest.raises(ProviderUnavailable, match="status_500"):
            site.refresh(document)


def test_badgr_knows_a_person_by_its_older_address_too():
    site = Site("badgr")
    with FakeProvider("badgr") as fake:
        caller = site.session(site.connect(fake, subject="ada", label="ada@example.org"))

        assert caller.get("/v2/users/self").json()["result"][0]["entityId"] == "ada"
        assert caller.get("/v2/user/profile").status_code == 404
        assert caller.get("/v1/user/profile").json()["slug"] == "ada"


def test_bitbadges_finds_a_grant_to_revoke_by_its_access_token_only():
    site = Site("bitbadges")
    with FakeProvider("bitbadges") as fake:
        document = site.connect(fake)

        unknown = site.revoke({"refresh_token": document["refresh_token"]})

        assert unknown is Outcome.ALREADY_GONE
        assert fake.grants[0].is_alive


def test_bitbadges_says_200_to_a_dead_bearer_and_tells_the_address_today():
    site = Site("bitbadges")
    with FakeProvider("bitbadges") as fake:
        caller = site.session(site.connect(fake, subject="bb1one"))

        assert caller.post("auth/status", json={}).json()["bitbadgesAddress"] == "bb1one"
        fake.withdraw()
        assert caller.post("auth/status", json={}).json() == {"signedIn": False}


def test_bitbadges_wants_the_api_key_that_the_site_was_given(settings: Any):
    site = Site("first")
    with FakeProvider("first") as fake:
        document = site.connect(fake)
        reconfigure(settings, "first", OPTIONS={"api_key": "another"})

        with pytest.raises(ClientRejected, match="client_rejected"):
            site.refresh(document)


def test_the_first_dialect_of_bitbadges_gives_the_address_for_a_token_without_scopes():
    site = Site("first")
    with FakeProvider("first") as fake:
        code = fake.authorize(site.url(scope=None))["code"]

        with pytest.raises(UnexpectedResponse, match="token_is_the_public_address"):
            site.exchange(code)


def test_bime_refuses_in_the_words_of_its_dialect(settings: Any):
    for dialect, status, sent, told in BIME_REFUSALS:
        entry = {
            "BACKEND": "connected_accounts.providers.bime.Bime",
            "CLIENT_ID": "a-client",
            "CLIENT_SECRET": "a-secret",
            "OPTIONS": {"dialect": dialect},
        }
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": entry}}
        with FakeProvider("bime", inputs={"account": "acme"}):
            url = "https://acme.bime.io/oauth/token"
            client = {"client_id": "a-client", "client_secret": "a-secret"}
            answer = transport.fetch(requests.Request("POST", url, data=client | sent))
        assert (answer.status, told.encode() in answer.body) == (status, True), answer.body


BIME_REFUSALS = [
    ("", 401, {"grant_type": "authorization_code", "code": "x"}, '"error": "invalid_grant"'),
    ("", 401, {"grant_type": "refresh_token"}, "The provided authorization grant"),
    ("", 401, {"client_secret": "x"}, '"error": "invalid_client"'),
    ("", 401, {"grant_type": "password"}, '"error": "unsupported_grant_type"'),
    ("", 401, {"type": "web_server", "code": "x"}, '"error": "unsupported_grant_type"'),
    ("draft5", 400, {"type": "web_server", "code": "x"}, "error=bad_authorization_code"),
    ("draft5", 400, {"type": "refresh"}, "error=authorization_expired"),
    ("draft5", 400, {"client_secret": "x"}, "error=invalid_client_credentials"),
    ("draft5", 400, {"grant_type": "refresh_token"}, "error=unsupported_grant_type"),
]


def test_bime_takes_a_form_only_and_draft_5_a_flow_only(settings: Any):
    entry = {"BACKEND": "connected_accounts.providers.bime.Bime", "CLIENT_ID": "a-client"}
    draft5 = {**entry, "OPTIONS": {"dialect": "draft5"}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": draft5}}
    with FakeProvider("bime", inputs={"account": "acme"}) as fake:
        url = "https://acme.bime.io/oauth/token"
        answer = transport.fetch(requests.Request("POST", url, json={"type": "web_server"}))
        asked = {"response_type": "code", "client_id": "a-client", "redirect_uri": SITE}
        params = fake.authorize(f"https://acme.bime.io/oauth/authorize?{urlencode(asked)}")
    assert b"invalid_request" in answer.body
    assert params == {"error": "invalid_request"}
