"""How a server comes by the site's keys, and an operator by a new one."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from connected_accounts.oauth2 import jose
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.services import refresh
from tests.strong.conftest import Use, connect
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db


def key() -> str:
    return jose.new_key().private_pem().reveal()


def test_a_site_that_registers_itself_brings_its_keys(
    use: Use, client_of_ada: Client, app_settings: Any
) -> None:
    with StrongServer("assertion") as server:
        register = {"registration_endpoint": f"{server.issuer}/register"}
        use(server, register, CLIENT_KEY=key(), CLIENT_ID="")
        app_settings(REDIRECT_BASE_URL="http://127.0.0.1:8000")  # which nobody can reach
        account = connect(client_of_ada, server)
        refresh(account)
        assert account.client_id == server.client_id
        assert server.registered["token_endpoint_auth_method"] == "private_key_jwt"
        assert not server.refusals
        assert "d" not in server.registered["jwks"]["keys"][0]


def test_a_public_address_of_the_keys_is_registered_in_their_place(use: Use) -> None:
    with StrongServer() as server:
        use(server, {"token_endpoint_auth_method": "private_key_jwt"}, CLIENT_KEY=key())
    provider = get_provider("bank")
    told = provider.registration("https://site.example/c/bank/callback/", [])
    assert told["jwks_uri"] == "https://site.example/c/jwks/"
    assert "jwks" not in told
    # Where the site's callback is another's, the address is not known.
    assert "jwks" in provider.registration("https://site.example/done", [])


def test_the_metadata_document_of_a_site_with_keys_says_where_they_are(settings: Any) -> None:
    entry = {"BACKEND": "connected_accounts.providers.mcp.MCP", "CLIENT_KEY": key()}
    base = "https://site.example"
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": base, "PROVIDERS": {"mcp": entry}}
    document = Client().get("/connections/mcp/client.json").json()
    assert document["token_endpoint_auth_method"] == "private_key_jwt"
    assert document["jwks_uri"] == f"{base}/connections/jwks/"
    del entry["CLIENT_KEY"]
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": base, "PROVIDERS": {"mcp": entry}}
    document = Client().get("/connections/mcp/client.json").json()
    assert document["token_endpoint_auth_method"] == "none"
    assert "jwks_uri" not in document


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "RS384", "EdDSA"])
@pytest.mark.parametrize("form", [[], ["--jwk"]])
def test_the_command_makes_a_key_that_can_be_used(algorithm: str, form: list[str]) -> None:
    out, told = StringIO(), StringIO()
    arguments = ["--algorithm", algorithm, *form]
    call_command("make_client_key", *arguments, stdout=out, stderr=told)
    made = jose.signing_key(Secret(out.getvalue()))
    assert algorithm in made.algorithms
    assert made.kid in told.getvalue()


class _Broken(StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_key_is_in_no_frame_of_an_output_that_breaks() -> None:
    with pytest.raises(BrokenPipeError) as raised:
        call_command("make_client_key", stdout=_Broken(), stderr=StringIO())
    frames = [entry.frame for entry in raised.traceback]
    assert frames[-1].code.name == "write"
    assert not [frame for frame in frames if "PRIVATE KEY" in repr(frame.f_locals)]


def test_an_algorithm_that_nobody_knows_is_refused_with_those_that_are() -> None:
    with pytest.raises(CommandError, match="ES256, ES384, PS256"):
        call_command("make_client_key", "--algorithm", "HS256")
