"""The request to a token endpoint: one way of client authentication, and nothing in the URL."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2.request import basic_auth, build_request
from connected_accounts.secret import Secret

URL = "https://provider.example/token"
ODD = "s:%+ é/&=?#\"'\\漢"


def prepared(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "body_format": "form",
        "auth_method": "client_secret_post",
        "basic_auth_encoding": "form",
        "client_id": "client",
        "client_secret": Secret(ODD),
        "headers": {},
    } | changes
    data = values.pop("data", {"grant_type": "refresh_token", "refresh_token": "old"})
    return build_request(URL, data, **values).prepare()


def form(request: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body, True).items()}


def test_a_secret_in_the_body_arrives_as_it_is() -> None:
    request = prepared()
    assert form(request) == {
        "grant_type": "refresh_token",
        "refresh_token": "old",
        "client_id": "client",
        "client_secret": ODD,
    }
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in request.headers


def test_a_json_body_holds_the_same() -> None:
    request = prepared(body_format="json")
    assert json.loads(request.body)["client_secret"] == ODD
    assert request.headers["Content-Type"] == "application/json"


def test_basic_authentication_leaves_the_client_out_of_the_body() -> None:
    request = prepared(auth_method="client_secret_basic")
    assert form(request) == {"grant_type": "refresh_token", "refresh_token": "old"}
    scheme, _, pair = request.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    client_id, _, secret = base64.b64decode(pair).decode().partition(":")
    assert (unquote_plus(client_id), unquote_plus(secret)) == ("client", ODD)


@pytest.mark.parametrize("client_id", ["client", "a:b", "a b+c%", "ключ"])
def test_form_encoding_survives_every_character(client_id: str) -> None:
    pair = base64.b64decode(basic_auth(client_id, Secret(ODD), "form").split()[1]).decode()
    assert pair.isascii()
    assert pair.count(":") == 1
    assert [unquote_plus(half) for half in pair.split(":")] == [client_id, ODD]


def test_raw_encoding_sends_the_secret_as_it_is_written() -> None:
    pair = base64.b64decode(basic_auth("client", Secret(ODD), "raw").split()[1]).decode()
    assert pair == f"client:{ODD}"


def test_a_client_id_with_a_colon_cannot_be_sent_raw() -> None:
    with pytest.raises(ConfigurationError) as caught:
        basic_auth("a:b", Secret(ODD), "raw")
    assert ODD not in str(caught.value)


def test_a_public_client_names_itself_without_a_secret() -> None:
    request = prepared(auth_method="none")
    assert form(request)["client_id"] == "client"
    assert "client_secret" not in form(request)
    assert "Authorization" not in request.headers


def test_a_bare_token_is_revoked_without_a_client() -> None:
    request = prepared(auth_method="bare", data={"token": "t"}, body_format="json")
    assert json.loads(request.body) == {"token": "t"}


@pytest.mark.parametrize("body_format", ["form", "json"])
def test_a_public_client_names_itself_when_it_revokes(body_format: str) -> None:
    request = prepared(auth_method="none", data={"token": "t"}, body_format=body_format)
    body = json.loads(request.body) if body_format == "json" else form(request)
    assert body == {"token": "t", "client_id": "client"}


def test_a_space_is_sent_so_that_every_decoder_reads_it() -> None:
    pair = base64.b64decode(basic_auth("a b", Secret("c d+e"), "form").split()[1]).decode()
    assert pair == "a%20b:c%20d%2Be"


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic", "none"])
@pytest.mark.parametrize("body_format", ["form", "json"])
def test_nothing_stands_in_the_url(method: str, body_format: str) -> None:
    request = prepared(auth_method=method, body_format=body_format)
    assert (request.method, request.url) == ("POST", URL)


def test_the_callers_data_and_headers_are_left_alone() -> None:
    data, headers = {"grant_type": "refresh_token"}, {"X-Key": "k"}
    request = prepared(data=data, headers=headers, auth_method="client_secret_basic")
    assert request.headers["X-Key"] == "k"
    assert (data, headers) == ({"grant_type": "refresh_token"}, {"X-Key": "k"})
