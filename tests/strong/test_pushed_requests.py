"""The authorization request goes to the server itself, and the browser carries a name for it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection, transaction
from django.test import Client

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import Event, Kind
from connected_accounts.oauth2 import jose
from connected_accounts.services import start_authorization
from connected_accounts.tokens import pushed_request
from tests.journeys import start
from tests.strong.conftest import Use, connect, site_keys
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db

PUBLIC = {"token_endpoint_auth_method": "none"}


@pytest.fixture
def server() -> Iterator[StrongServer]:
    with StrongServer("pushed") as started:
        yield started


def test_a_server_that_demands_it_gets_the_request_and_the_browser_a_name_for_it(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, PUBLIC)
    url = start(client_of_ada, "bank")
    asked = dict(parse_qsl(urlsplit(url).query))
    assert asked.keys() == {"client_id", "request_uri"}
    pushed = server.sent("/par")[0]
    assert pushed["scope"] == "profile"
    assert pushed["redirect_uri"] == "http://testserver/connections/bank/callback/"
    assert pushed["code_challenge_method"] == "S256"
    assert server.authorize(url)["state"] == pushed["state"]
    connect(client_of_ada, server)


@pytest.mark.parametrize("way", ["public", "secret", "assertion"])
def test_the_client_authenticates_there_as_at_the_token_endpoint(
    use: Use, client_of_ada: Client, way: str
) -> None:
    demands = ["pushed", *(["assertion"] if way == "assertion" else [])]
    secret = "s3cret" if way == "secret" else ""
    with StrongServer(*demands, keys=site_keys, secret=secret) as server:
        entry: dict[str, Any] = {"CLIENT_SECRET": secret}
        if way == "assertion":
            entry = {"CLIENT_KEY": jose.new_key().private_pem().reveal()}
        method = {"public": "none", "secret": "client_secret_post", "assertion": "private_key_jwt"}
        use(server, {"token_endpoint_auth_method": method[way]}, **entry)
        connect(client_of_ada, server)
        assert [path for path, _, _ in server.calls] == ["/par", "/token", "/me"]
        assert not server.refusals


def test_it_is_used_where_the_option_says_so_and_else_not(use: Use, client_of_ada: Client) -> None:
    with StrongServer() as server:
        use(server, PUBLIC)
        connect(client_of_ada, server)
        assert not server.sent("/par")
        use(server, PUBLIC | {"require_pushed_authorization_requests": True})
        connect(client_of_ada, server)
        assert len(server.sent("/par")) == 1


@pytest.mark.parametrize(
    ("answer", "status", "said", "code"),
    [
        ((400, {"error": "invalid_request"}), 502, "refused", "request_refused, status 400"),
        ((401, {"error": "invalid_client"}), 502, "does not accept this site", "invalid_client"),
        ((201, {"expires_in": 60}), 502, "refused", "request_refused, status 201"),
        ((201, {"request_uri": "urn:\nx"}), 502, "refused", "request_refused, status 201"),
        ((503, {}), 502, "not answering", "status_503"),
        (None, 502, "not answering", "connection_lost"),
    ],
)
def test_each_failure_has_its_page_and_its_trace(
    server: StrongServer,
    use: Use,
    client_of_ada: Client,
    answer: Any,
    status: int,
    said: str,
    code: str,
) -> None:
    use(server, PUBLIC)
    server.script = [answer]
    response = client_of_ada.post("/connections/bank/connect/")
    assert response.status_code == status
    assert said in response.content.decode()
    assert Event.objects.get(kind=Kind.CONNECT_FAILED).detail.startswith(code)


def test_a_server_that_demands_it_and_has_no_place_for_it_cannot_be_connected(
    use: Use, client_of_ada: Client
) -> None:
    with StrongServer("pushed", pushed_authorization_request_endpoint="") as server:
        use(server, PUBLIC)
        response = client_of_ada.post("/connections/bank/connect/")
    assert response.status_code == 502
    assert "cannot be connected" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_pushed_while_a_transaction_is_open(
    server: StrongServer, use: Use, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(server, PUBLIC)
    push, open_then = pushed_request.push_authorization_request, []

    def watched(*args: Any) -> str:
        open_then.append(connection.in_atomic_block)
        return push(*args)

    monkeypatch.setattr(pushed_request, "push_authorization_request", watched)
    asked: dict[str, Any] = {
        "user": ada,
        "provider": "bank",
        "redirect_uri": "https://testserver/callback/",
        "browser_secret": "browser",
    }
    start_authorization(**asked)
    assert open_then == [False]
    with transaction.atomic(), pytest.raises(ConfigurationError) as caught:
        start_authorization(**asked)
    assert caught.value.code == "in_transaction"
    assert len(server.sent("/par")) == 1
