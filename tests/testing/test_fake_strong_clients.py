"""The fake provider takes a client's assertions and pushed requests, and refuses bad ones."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey

from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import jose
from connected_accounts.services import get_access_token
from connected_accounts.testing import AuthorizationPageError, FakeProvider, connect_account
from connected_accounts.testing.adapter import ASSERTION_TYPE
from tests.journeys import connect, expire, finish, query_of, start, stored
from tests.tokens.dpop_site import ALIAS, ENTRY

pytestmark = pytest.mark.django_db

ISSUER = "https://login.bank.example"
TOKEN = f"{ISSUER}/token"
PAR = f"{ISSUER}/par"
KEY = ECKey.generate_key("P-256")
PUSHES = {
    "pushed_authorization_request_endpoint": PAR,
    "require_pushed_authorization_requests": True,
}


def use(settings: Any, *keys: str, **options: Any) -> None:
    known = {**ENTRY["OPTIONS"], "dpop": False, **options}
    entry = {**ENTRY, "OPTIONS": known}
    if keys:
        del entry["CLIENT_SECRET"]
        entry["CLIENT_KEY"] = list(keys)
        known["token_endpoint_auth_method"] = "private_key_jwt"
    settings.CONNECTED_ACCOUNTS = {
        "REDIRECT_BASE_URL": "https://site.example",
        "PROVIDERS": {ALIAS: entry},
    }


def pem(key: ECKey = KEY) -> str:
    return key.as_pem(private=True).decode()


@pytest.fixture
def strong(settings: Any) -> Iterator[FakeProvider]:
    use(settings, pem())
    with FakeProvider(ALIAS) as fake:
        yield fake


# --- Assertions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "EdDSA"])
def test_a_site_with_a_key_connects_and_refreshes(settings: Any, user: Any, algorithm: str) -> None:
    use(settings, jose.new_key(algorithm).private_pem().reveal())
    with FakeProvider(ALIAS, expires_in=3600) as fake:
        account = connect_account(fake, user)
        before = stored(account)["access_token"]
        expire(account)
        assert get_access_token(account) != before
        assert [sent.fields.get("client_secret") for sent in fake.sent_to("token")] == [None] * 2


def test_a_client_credentials_grant_spends_its_assertion_once(settings: Any) -> None:
    use(settings, pem(), grant_type="client_credentials", identity_source="none")
    with FakeProvider(ALIAS) as fake:
        assert post(fake, signed(), grant_type="client_credentials") == 200


def test_each_of_the_sites_keys_is_good(settings: Any) -> None:
    other = ECKey.generate_key("P-256")
    use(settings, pem(), pem(other))
    with FakeProvider(ALIAS) as fake:
        assert refused_for(fake, signed()) == "invalid_grant"
        assert refused_for(fake, signed(other)) == "invalid_grant"


def signed(key: ECKey = KEY, **claims: Any) -> str:
    now = int(time.time())
    usual = {"iss": "the-site", "sub": "the-site", "aud": TOKEN, "jti": "one", "exp": now + 60}
    told = {name: one for name, one in {**usual, **claims}.items() if one is not None}
    return jwt.encode({"alg": "ES256", "kid": key.thumbprint()}, told, key)


def post(fake: FakeProvider, assertion: str, **fields: Any) -> int:
    return _answer(fake, assertion, **fields).status


def refused_for(fake: FakeProvider, assertion: str, **fields: Any) -> str:
    """Why a refresh is refused; ``invalid_grant`` is said to a client that was believed."""
    asked = {"grant_type": "refresh_token", "refresh_token": "unknown", **fields}
    error: str = _answer(fake, assertion, **asked).json["error"]
    return error


def _answer(fake: FakeProvider, assertion: str, **fields: Any) -> Any:
    import requests

    form = {"client_id": "the-site", "client_assertion_type": ASSERTION_TYPE, **fields}
    form["client_assertion"] = assertion
    return fake._handle(requests.Request("POST", TOKEN, data=form).prepare())


BAD: dict[str, Callable[[], dict[str, Any]]] = {
    "another key": lambda: {"assertion": signed(ECKey.generate_key("P-256"))},
    "no JWT": lambda: {"assertion": "one.two.three"},
    "of nobody": lambda: {"assertion": signed(iss=None)},
    "of another client": lambda: {"assertion": signed(iss="other", sub="other")},
    "for another server": lambda: {"assertion": signed(aud="https://other.example/token")},
    "over": lambda: {"assertion": signed(exp=int(time.time()) - 10)},
    "for ever": lambda: {"assertion": signed(exp=None)},
    "for an hour": lambda: {"assertion": signed(exp=int(time.time()) + 3600)},
    "without a number": lambda: {"assertion": signed(jti=None)},
    "of another type": lambda: {"assertion": signed(), "client_assertion_type": "urn:other"},
    "under another name": lambda: {"assertion": signed(), "client_id": "other"},
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_assertion_is_refused(strong: FakeProvider, fault: str) -> None:
    assert refused_for(strong, **BAD[fault]()) == "invalid_client"


def test_an_assertion_is_good_once(strong: FakeProvider) -> None:
    assertion = signed()
    assert refused_for(strong, assertion) == "invalid_grant"
    assert refused_for(strong, assertion) == "invalid_client"


def test_a_secret_besides_is_refused(strong: FakeProvider) -> None:
    assert refused_for(strong, signed(), client_secret="x") == "invalid_request"


def test_a_client_that_was_removed_is_refused(strong: FakeProvider) -> None:
    strong.remove_client("the-site")
    assert refused_for(strong, signed()) == "invalid_client"


# --- Pushed requests ------------------------------------------------------------------------------


@pytest.fixture
def pushed(settings: Any) -> Iterator[FakeProvider]:
    use(settings, pem(), **PUSHES, dpop=True)
    with FakeProvider(ALIAS) as fake:
        yield fake


def test_a_pushed_request_is_agreed_to_by_its_name(
    client: Client, user: Any, pushed: FakeProvider
) -> None:
    client.force_login(user)
    account = connect(client, pushed, ALIAS)
    assert ConnectedAccount.objects.get() == account
    [sent] = pushed.sent_to("pushed_request")
    assert sent.fields["scope"] == "read"
    assert pushed.grants[0].scopes == ("read",)
    assert pushed.grants[0].thumbprint


def test_the_name_of_a_pushed_request_is_good_once_and_not_for_long(
    client: Client, user: Any, pushed: FakeProvider
) -> None:
    client.force_login(user)
    url = start(client, ALIAS)
    assert set(query_of(url)) == {"client_id", "request_uri"}
    assert finish(client, pushed.authorize(url), ALIAS).status_code == 303
    with pytest.raises(AuthorizationPageError, match="request_uri"):
        pushed.authorize(url)

    late = start(client, ALIAS)
    pushed.advance(minutes=2)
    with pytest.raises(AuthorizationPageError, match="request_uri"):
        pushed.authorize(late)


def test_a_request_that_had_to_be_pushed_is_an_error_in_the_browser(pushed: FakeProvider) -> None:
    asked = "response_type=code&client_id=the-site&redirect_uri=https%3A%2F%2Fsite.example%2Fback"
    with pytest.raises(AuthorizationPageError, match="pushed"):
        pushed.authorize(f"{ISSUER}/authorize?{asked}")


def test_another_clients_pushed_request_is_refused(
    client: Client, user: Any, pushed: FakeProvider
) -> None:
    client.force_login(user)
    url = start(client, ALIAS)
    pushed.add_client("other", "canary-secret")
    with pytest.raises(AuthorizationPageError, match="request_uri"):
        pushed.authorize(url.replace("client_id=the-site", "client_id=other"))


def test_a_faulty_request_and_a_wrong_client_are_refused_before_anybody_is_sent(
    settings: Any, client: Client, user: Any
) -> None:
    client.force_login(user)
    use(settings, **PUSHES)
    with FakeProvider(ALIAS) as fake:
        use(settings, **PUSHES, code_challenge_method="")
        assert client.post(f"/connections/{ALIAS}/connect/").status_code == 502
        fake.remove_client("the-site")
        use(settings, **PUSHES)
        assert client.post(f"/connections/{ALIAS}/connect/").status_code == 502
    assert [sent.endpoint for sent in fake.requests] == ["pushed_request"] * 2
