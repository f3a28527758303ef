"""A client that proves itself by a key: at every endpoint, for every grant, with a new assertion
for each try. Over real HTTP, at a server that verifies."""

from collections.abc import Iterator

import pytest
from django.test import Client

from connected_accounts.exceptions import ClientRejected, ProviderError
from connected_accounts.models import ConnectedAccount, Outcome, Revocation
from connected_accounts.oauth2 import discovery, jose
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, refresh
from tests.strong.conftest import Use, connect, site_keys
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[StrongServer]:
    with StrongServer("assertion", keys=site_keys) as started:
        yield started


def test_every_request_of_a_whole_life_has_its_own_assertion(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, CLIENT_KEY=jose.new_key().private_pem().reveal())
    account = connect(client_of_ada, server)
    refresh(account)
    disconnect(account)
    revoke_pending()
    assert Revocation.objects.get().outcome == Outcome.REVOKED
    assert [path for path, _, _ in server.calls] == ["/token", "/me", "/token", "/revoke"]
    assert len({one["jti"] for one in server.assertions}) == 3
    assert not server.refusals
    forms = [form for path, form, _ in server.calls if path != "/me"]
    assert all("client_secret" not in form for form in forms)


@pytest.mark.parametrize("algorithm", [a for a in jose.ALGORITHMS if a != "Ed25519"])
def test_the_server_verifies_each_algorithm(
    server: StrongServer, use: Use, client_of_ada: Client, algorithm: str
) -> None:
    # PyJWT knows Ed25519 as EdDSA alone.
    server.told["token_endpoint_auth_signing_alg_values_supported"] = [algorithm]
    use(server, CLIENT_KEY=jose.new_key(algorithm).private_jwk().reveal())
    connect(client_of_ada, server)
    assert server.assertions[0]["alg"] == algorithm


def test_the_option_names_the_algorithm(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    key = jose.new_key("RS256").private_pem().reveal()
    use(server, {"token_endpoint_auth_signing_alg": "RS256"}, CLIENT_KEY=key)
    connect(client_of_ada, server)
    assert server.assertions[0]["alg"] == "RS256"


def test_the_audience_is_the_issuer_or_by_option_the_token_endpoint(
    use: Use, client_of_ada: Client
) -> None:
    key = jose.new_key().private_pem().reveal()
    with StrongServer("assertion", keys=site_keys, audience="token_endpoint") as server:
        use(server, {"client_assertion_audience": "token_endpoint"}, CLIENT_KEY=key)
        refresh(connect(client_of_ada, server))
        use(server, CLIENT_KEY=key)
        with pytest.raises(ClientRejected):
            refresh(ConnectedAccount.objects.get())
    assert "Audience" in server.refusals[0]


def test_a_lost_answer_is_asked_for_again_with_another_assertion(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, CLIENT_KEY=jose.new_key().private_pem().reveal())
    account = connect(client_of_ada, server)
    server.script = [None]
    refresh(account)
    code, first, second = (form["client_assertion"] for form in server.sent("/token"))
    assert len({code, first, second}) == 3


def test_a_rotation_of_keys_disconnects_nobody(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    old, new = (jose.new_key().private_pem().reveal() for _ in range(2))
    use(server, CLIENT_KEY=[old])
    account = connect(client_of_ada, server)
    use(server, CLIENT_KEY=[old, new])  # both are published
    refresh(account)
    before = server.assertions[-1]["kid"]
    use(server, CLIENT_KEY=[new, old])  # the first signs
    refresh(account)
    assert server.assertions[-1]["kid"] != before
    use(server, CLIENT_KEY=new)
    refresh(account)
    account.refresh_from_db()
    assert account.status == "active"
    assert account.client_id == "strong"


def test_a_key_that_the_server_does_not_know_is_a_refused_client_and_no_lost_account(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, CLIENT_KEY=jose.new_key().private_pem().reveal())
    account = connect(client_of_ada, server)
    published = site_keys()
    server.keys = lambda: published
    use(server, CLIENT_KEY=jose.new_key().private_pem().reveal())
    with pytest.raises(ClientRejected):
        refresh(account)
    account.refresh_from_db()
    assert account.status == "active"


def test_the_public_page_shows_no_private_half(use: Use, server: StrongServer) -> None:
    keys = [jose.new_key(name).private_jwk().reveal() for name in ("ES256", "RS256", "EdDSA")]
    use(server, CLIENT_KEY=keys)
    answer = Client().get("/connections/jwks/")  # nobody is signed in
    assert answer.status_code == 200
    shown = answer.json()["keys"]
    assert [key["kty"] for key in shown] == ["EC", "RSA", "OKP"]
    assert not any({"d", "p", "q", "dp", "dq", "qi", "k"} & set(key) for key in shown)
    assert all(key["use"] == "sig" and key["kid"] for key in shown)
    assert "max-age=300" in answer["Cache-Control"]


def test_a_server_that_takes_other_algorithms_now_ends_no_account(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, CLIENT_KEY=jose.new_key().private_pem().reveal())
    account = connect(client_of_ada, server)
    server.told["token_endpoint_auth_signing_alg_values_supported"] = ["PS256"]
    discovery.clear_cache()
    sent = len(server.sent("/token"))
    with pytest.raises(ProviderError) as caught:
        refresh(account)
    account.refresh_from_db()
    assert (account.status, account.last_error) == ("active", "client_key")
    assert isinstance(caught.value, ClientRejected)
    assert len(server.sent("/token")) == sent
