"""Tokens that are bound to a key (RFC 9449): proofs, nonces, and what a thief of a token has."""

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest
import requests
from cryptography.fernet import Fernet
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from joserfc import jws
from joserfc.jwk import ECKey

from connected_accounts.contrib.httpx import ConnectedAccountAuth
from connected_accounts.exceptions import ReauthorizationRequired, UnexpectedResponse
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import dpop, transport
from connected_accounts.oauth2.dpop import BoundToken, asks_for_nonce, proof_header
from connected_accounts.providers.registry import get_provider
from connected_accounts.sealing import encryption_keys
from connected_accounts.secret import Secret
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.testing import Answer, DropAnswer, FakeProvider
from connected_accounts.use.connection_check import CheckOutcome, check_connection
from tests.journeys import connect, expire, finish, query_of, run, start, stored
from tests.tokens.dpop_site import ALIAS, API, bank, bound, use

__all__ = ["bank", "bound"]
pytestmark = pytest.mark.django_db


def claims(proof: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jws.extract_compact(proof.encode()).payload)
    return found


def header(proof: str) -> dict[str, Any]:
    return dict(jws.extract_compact(proof.encode()).headers())


def proofs(fake: FakeProvider, endpoint: str) -> list[str]:
    return [request.headers.get("DPoP", "") for request in fake.sent_to(endpoint)]


# --- The key ------------------------------------------------------------------------------------


def test_each_connection_has_a_key_of_its_own_and_a_reconnect_makes_a_new_one(
    client: Client, bank: FakeProvider, bound: ConnectedAccount
) -> None:
    other = connect(client, bank, ALIAS, subject="grace")
    keys = [stored(bound)["dpop_key"], stored(other)["dpop_key"]]
    url = client.post(f"/connections/{bound.pk}/reconnect/")["Location"]
    finish(client, bank.authorize(url, subject="ada"), ALIAS)

    keys.append(stored(bound)["dpop_key"])
    assert len(set(keys)) == 3
    get_session(bound).get("me").raise_for_status()


def test_the_authorization_request_names_the_key_so_that_a_stolen_code_is_worth_nothing(
    client: Client, user: Any, bank: FakeProvider
) -> None:
    client.force_login(user)
    url = start(client, ALIAS)
    params = bank.authorize(url, subject="ada")
    grant = bank._server.codes[params["code"]].grant
    assert query_of(url)["dpop_jkt"] == grant.thumbprint
    grant.thumbprint = "of-another-key"
    assert finish(client, params, ALIAS).status_code == 400


def test_a_refresh_is_proved_by_the_same_key_and_a_reseal_keeps_it(
    bank: FakeProvider, bound: ConnectedAccount, settings: Any
) -> None:
    key = stored(bound)["dpop_key"]
    refresh(bound)
    newest = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [newest, *encryption_keys()]
    call_command("rotate_token_keys", verbosity=0)
    settings.FIELD_ENCRYPTION_KEY = [newest]
    refresh(bound)
    assert stored(bound)["dpop_key"] == key
    assert {ECKey.import_key(header(p)["jwk"]).thumbprint() for p in proofs(bank, "token")} == {
        dpop.thumbprint(Secret(key))
    }


def test_a_grant_from_before_is_bound_by_its_next_refresh(
    client: Client, user: Any, bank: FakeProvider, settings: Any
) -> None:
    client.force_login(user)
    bank._dialect.provider.dpop = False
    use(settings, dpop=False)
    account = connect(client, bank, ALIAS)
    assert "dpop_key" not in stored(account)
    bank._dialect.provider.dpop = True
    use(settings)
    get_session(account).get("me").raise_for_status()
    refresh(account)
    assert "dpop_key" in stored(account)
    get_session(account).get("me").raise_for_status()


@pytest.mark.parametrize(("method", "kept"), [("client_secret_post", True), ("none", False)])
def test_the_refresh_token_of_before_is_kept_unless_it_is_bound_to_the_key_of_before(
    method: str,
    kept: bool,
    client: Client,
    bank: FakeProvider,
    bound: ConnectedAccount,
    settings: Any,
) -> None:
    before = stored(bound)
    use(settings, token_endpoint_auth_method=method)
    bank._dialect.provider.token_endpoint_auth_method = method
    bank.behaviour.omit_refresh_token = True
    url = client.post(f"/connections/{bound.pk}/reconnect/")["Location"]
    assert finish(client, bank.authorize(url, subject="ada"), ALIAS).status_code == 303
    after = stored(bound)
    assert after["dpop_key"] != before["dpop_key"]
    assert (after.get("refresh_token") == before["refresh_token"]) is kept


# --- The proof ----------------------------------------------------------------------------------


def test_a_proof_is_of_one_request_and_carries_the_public_half_only() -> None:
    key = dpop.new_proof_key()
    url = "https://user:word@Api.example/a%20b?token=1#part"
    made = [proof_header(key, "get", url, Secret("token"))["DPoP"] for _ in range(2)]
    said = [claims(proof) for proof in made]
    assert said[0]["htm"] == "GET"
    assert said[0]["htu"] == "https://Api.example/a%20b"
    assert said[0]["ath"] == "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A"
    assert said[0]["jti"] != said[1]["jti"]
    assert header(made[0])["typ"] == "dpop+jwt"
    assert set(header(made[0])["jwk"]) == {"kty", "crv", "x", "y"}
    assert json.loads(key.reveal())["d"] not in made[0]


def test_a_call_of_the_api_shows_the_token_with_a_proof_and_never_as_a_bearer(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    assert get_session(bound).get("me?page=2").status_code == 200
    sent = bank.sent_to("identity")[-1]
    token = stored(bound)["access_token"]
    assert sent.headers["Authorization"] == f"DPoP {token}"
    assert claims(sent.headers["DPoP"])["htu"] == f"{API}/me"
    assert get_session(bound).post("things", json={}).status_code == 404
    assert claims(proofs(bank, "api")[-1])["htm"] == "POST"


def test_a_stolen_token_is_refused_without_the_key(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    token = get_access_token(bound)
    stolen = [
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"DPoP {token}"},
        dpop.authorization(BoundToken(token, dpop.new_proof_key()), "GET", f"{API}/me"),
    ]
    for headers in stolen:
        answer = transport.fetch(requests.Request("GET", f"{API}/me", headers=headers))
        assert answer.status == 401
    assert get_session(bound).get("me").status_code == 200


def test_a_proof_that_was_seen_is_not_good_again(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    get_session(bound).get("me")
    headers = dict(bank.sent_to("identity")[-1].headers)
    answer = transport.fetch(requests.Request("GET", f"{API}/me", headers=headers))
    assert answer.status == 401


# --- A plain bearer where a bound token was asked for -------------------------------------------


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", None])
def test_a_plain_bearer_is_refused_and_nothing_is_connected(
    token_type: Any, client: Client, user: Any, bank: FakeProvider
) -> None:
    client.force_login(user)
    params = bank.authorize(start(client, ALIAS), subject="ada")
    answer = {"access_token": "plain", "token_type": token_type, "expires_in": 60}
    bank.script("token", Answer(200, json=answer))
    response = finish(client, params, ALIAS)
    assert response.status_code == 502
    assert not ConnectedAccount.objects.exists()
    assert not bank.sent_to("identity")


def test_a_refresh_that_answers_a_plain_bearer_changes_nothing(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    before = stored(bound)
    bank.script("token", Answer(200, json={"access_token": "plain", "token_type": "Bearer"}))
    with pytest.raises(UnexpectedResponse, match="not_bound"):
        refresh(bound)
    assert stored(bound) == before


# --- Nonces -------------------------------------------------------------------------------------


def test_a_nonce_that_is_asked_for_is_one_more_try_and_spends_nothing_twice(
    client: Client, user: Any, bank: FakeProvider
) -> None:
    bank.behaviour.proof_nonce = "first"
    client.force_login(user)
    account = connect(client, bank, ALIAS)
    bank.behaviour.proof_nonce = "second"
    token = stored(account)["refresh_token"]
    refresh(account)

    nonces = [claims(proof).get("nonce") for proof in proofs(bank, "token")]
    assert nonces == [None, "first", "first", "second"]
    assert bank.presentations[token] == 2  # that it came twice is no second spending of it
    assert bank.reuses == 0
    assert account.failure_count == 0
    assert (account.generation, account.attempt_started_at) == (1, None)
    get_session(account).get("me").raise_for_status()
    assert claims(proofs(bank, "identity")[-1])["nonce"] == "second"


def test_a_server_that_never_has_enough_nonces_is_asked_twice_and_no_account_ends(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    refusal = Answer(400, json={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": "next"})
    asked = len(bank.sent_to("token"))
    bank.script("token", *[refusal] * 5)
    with pytest.raises(UnexpectedResponse) as caught:
        refresh(bound)
    assert caught.value.sent is False
    assert len(bank.sent_to("token")) == asked + 2
    assert ConnectedAccount.objects.get(pk=bound.pk).status == "active"


def test_a_refresh_whose_second_try_gets_no_answer_is_replayed_as_any_other(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    bank.behaviour.proof_nonce = "n"
    bank.behaviour.reuse_window = 60
    ask = Answer(400, json={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": "n"})
    bank.script("token", ask, DropAnswer())
    refresh(bound)
    assert bank.reuses == 0
    assert get_session(bound).get("me").status_code == 200


def test_the_api_asks_for_a_nonce_of_its_own_and_the_call_is_sent_once_more(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    bank.behaviour.proof_nonce = "of-the-api"
    asked = len(bank.sent_to("identity"))
    assert get_session(bound).get("me").status_code == 200
    assert get_session(bound).get("me").status_code == 200
    nonces = [claims(proof).get("nonce") for proof in proofs(bank, "identity")[asked:]]
    assert nonces == [None, "of-the-api", "of-the-api"]
    assert len(bank.sent_to("token")) == 1  # the token was good all the time


def test_a_dead_token_is_renewed_also_where_a_nonce_is_asked_for(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    bank.advance(minutes=2)
    bank.expire_access_tokens()
    bank.behaviour.proof_nonce = "n"
    assert get_session(bound).get("me").status_code == 200
    assert check_connection(bound) is CheckOutcome.WORKS


def test_a_body_that_cannot_be_read_again_is_not_sent_again(
    bank: FakeProvider, bound: ConnectedAccount
) -> None:
    bank.behaviour.proof_nonce = "n"
    answer = get_session(bound).post("things", data=iter([b"a", b"b"]))
    assert answer.status_code == 401
    assert get_session(bound).post("things", data=iter([b"a"])).status_code == 404


def test_a_nonce_is_kept_by_origin_and_an_odd_one_is_not_kept() -> None:
    key = dpop.new_proof_key()
    dpop.forget_nonces()
    dpop.note_nonce("https://a.example/token", {"DPoP-Nonce": "of-a"})
    for odd in ("", 'a"b', "a b", "x" * 2000):
        dpop.note_nonce("https://b.example/token", {"DPoP-Nonce": odd})
    seen = [
        claims(proof_header(key, "POST", url)["DPoP"]).get("nonce")
        for url in ("https://A.example/other", "https://b.example/token", "http://a.example/")
    ]
    dpop.forget_nonces()
    assert seen == ["of-a", None, None]


def test_only_a_refusal_with_a_nonce_asks_for_it() -> None:
    asked, given = b'{"error": "use_dpop_nonce"}', {"DPoP-Nonce": "n"}
    challenge = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    assert asks_for_nonce(400, given, asked)
    assert asks_for_nonce(401, given | challenge)
    assert not asks_for_nonce(400, {}, asked)
    assert not asks_for_nonce(200, given, asked)
    assert not asks_for_nonce(400, given, b'{"error": "invalid_grant"}')
    assert not asks_for_nonce(401, given | {"WWW-Authenticate": 'DPoP error="invalid_token"'})


def test_both_tries_share_the_deadline_of_one_call(
    bank: FakeProvider, bound: ConnectedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.behaviour.proof_nonce = "n"
    given: list[float] = []
    fetch = transport.fetch

    def noting(request: Any, *, seconds: float, **kwargs: Any) -> Any:
        given.append(seconds)
        return fetch(request, seconds=seconds, **kwargs)

    monkeypatch.setattr(transport, "fetch", noting)
    refresh(bound)
    assert given[0] == 30
    assert given[1] < given[0]


# --- The clients of other libraries -------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["sync", "async"])
def test_httpx_shows_the_token_with_a_proof_and_gives_the_nonce_that_is_asked_for(
    way: str, bank: FakeProvider, bound: ConnectedAccount
) -> None:
    bank.behaviour.proof_nonce = "n"

    def serve(request: httpx.Request) -> httpx.Response:
        prepared = requests.Request(
            request.method, str(request.url), headers=dict(request.headers), data=request.content
        ).prepare()
        answer = bank._handle(prepared)
        return httpx.Response(answer.status, headers=answer.all_headers(), content=answer.content())

    options: Any = {"auth": ConnectedAccountAuth(bound), "transport": httpx.MockTransport(serve)}

    def call(method: str, path: str) -> int:
        async def in_loop() -> int:
            async with httpx.AsyncClient(**options) as client:
                return (await client.request(method, f"{API}/{path}", content=b"{}")).status_code

        if way == "async":
            return int(run(in_loop()))
        with httpx.Client(**options) as client:
            return client.request(method, f"{API}/{path}", content=b"{}").status_code

    assert call("GET", "me") == 200
    assert call("POST", "things") == 404
    bank.advance(minutes=2)
    bank.expire_access_tokens()
    bank.behaviour.proof_nonce = "another"
    assert call("GET", "me") == 200


# --- The end ------------------------------------------------------------------------------------


def test_a_grant_that_is_dead_needs_the_person(bank: FakeProvider, bound: ConnectedAccount) -> None:
    bank.withdraw()
    expire(bound)
    with pytest.raises(ReauthorizationRequired):
        get_session(bound).get("me")


def test_the_key_is_never_shown() -> None:
    key = dpop.new_proof_key()
    token = BoundToken("token", key)
    assert "***" in repr(token)
    assert "***" in str(token.key)


# --- Settings -----------------------------------------------------------------------------------


def faults() -> list[str]:
    return [fault.msg for fault in run_checks() if fault.id == "connected_accounts.E038"]


@pytest.mark.parametrize(
    "options",
    [
        {"bearer_method": "query"},
        {"access_token_header": "X-Token"},
        {"revocation_auth_method": "bearer"},
    ],
)
def test_a_token_that_travels_where_no_proof_can_is_an_error(
    options: dict[str, str], settings: Any
) -> None:
    use(settings)
    assert faults() == []
    use(settings, **options)
    assert len(faults()) == 1


def test_without_the_library_that_signs_the_settings_are_wrong(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connected_accounts.providers.options.find_spec", lambda name: None)
    use(settings, dpop=False)
    assert faults() == []
    use(settings)
    assert "not installed" in faults()[0]


def test_a_registration_asks_for_bound_tokens(settings: Any) -> None:
    use(settings)
    registered = get_provider(ALIAS).registration("https://site.example/callback", [])
    assert registered["dpop_bound_access_tokens"] is True
    use(settings, dpop=False)
    registered = get_provider(ALIAS).registration("https://site.example/callback", [])
    assert "dpop_bound_access_tokens" not in registered


def test_nothing_that_signs_is_loaded_for_a_plain_bearer() -> None:
    code = (
        "import django; django.setup(); import sys;"
        "import connected_accounts.services, connected_accounts.tasks;"
        "import connected_accounts.tokens.endpoint, connected_accounts.oauth2.session;"
        "assert not [name for name in sys.modules if name.startswith('joserfc')]"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
