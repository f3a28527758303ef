"""A client with a certificate: at each endpoint, and with each call of the API. Over real TLS."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core import checks
from django.test import Client

from connected_accounts.contrib.httpx import ConnectedAccountAuth
from connected_accounts.models import Outcome, ProviderClient, Revocation
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_session, refresh
from tests.strong.certificates import Authority
from tests.strong.conftest import Use, connect
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db

SITE = "https://app.example.org"
BY_CERTIFICATE = {"token_endpoint_auth_method": "tls_client_auth"}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.file))
    return made


@pytest.fixture
def server(authority: Authority) -> Iterator[StrongServer]:
    tls = {"tls": authority.issue("server"), "authority": authority.file}
    with StrongServer("certificate", "pushed", **tls) as started:
        yield started


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_every_request_of_a_whole_life_shows_the_certificate(
    server: StrongServer, authority: Authority, use: Use, client_of_ada: Client, method: str
) -> None:
    ours = str(authority.issue("site"))
    use(server, {"token_endpoint_auth_method": method}, CLIENT_CERTIFICATE=ours)
    account = connect(client_of_ada, server)
    refresh(account)
    assert get_session(account).get(f"{server.issuer}/me").json() == {"sub": "ada"}
    disconnect(account)
    revoke_pending()
    assert Revocation.objects.get().outcome == Outcome.REVOKED
    paths = [path for path, _, _ in server.calls]
    assert paths == ["/par", "/token", "/me", "/token", "/me", "/revoke"]
    assert len({certificate for _, _, certificate in server.calls}) == 1
    assert server.calls[0][2]
    assert server.sent("/token")[0]["client_id"] == "strong"
    assert "client_secret" not in server.sent("/token")[0]


def test_a_call_without_the_certificate_that_a_token_is_bound_to_is_refused(
    server: StrongServer, authority: Authority, use: Use, client_of_ada: Client
) -> None:
    use(server, BY_CERTIFICATE, CLIENT_CERTIFICATE=str(authority.issue("site")))
    account = connect(client_of_ada, server)
    auth = ConnectedAccountAuth(account)
    with httpx.Client(auth=auth, verify=auth.ssl_context()) as client:
        assert client.get(f"{server.issuer}/me").status_code == 200
    bearer = get_session(account)._access_token().reveal()
    stolen = {"Authorization": f"Bearer {bearer}"}
    with httpx.Client(verify=ssl.create_default_context(cafile=str(authority.file))) as client:
        assert client.get(f"{server.issuer}/me", headers=stolen).status_code == 401


def test_certificate_and_key_may_be_two_files(
    server: StrongServer, authority: Authority, use: Use, client_of_ada: Client, tmp_path: Path
) -> None:
    whole = authority.issue("site").read_text()
    parts = whole.partition("-----BEGIN PRIVATE KEY-----")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_text(parts[0])
    key.write_text(parts[1] + parts[2])
    use(server, BY_CERTIFICATE, CLIENT_CERTIFICATE=(certificate, str(key)))
    connect(client_of_ada, server)


def test_the_addresses_for_certificates_are_used_with_one_and_else_not(
    server: StrongServer, authority: Authority, use: Use, client_of_ada: Client
) -> None:
    names = ("token", "revocation", "userinfo", "pushed_authorization_request")
    real = server.metadata()
    server.told["mtls_endpoint_aliases"] = {f"{n}_endpoint": real[f"{n}_endpoint"] for n in names}
    server.told |= {f"{name}_endpoint": f"{server.issuer}/nothing-here" for name in names}
    use(server, BY_CERTIFICATE, CLIENT_CERTIFICATE=str(authority.issue("site")))
    connect(client_of_ada, server)
    use(server, {"token_endpoint_auth_method": "none"})
    assert client_of_ada.post("/connections/bank/connect/").status_code == 502


def test_a_refused_certificate_is_a_refused_client(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, {"token_endpoint_auth_method": "none"})
    response = client_of_ada.post("/connections/bank/connect/")
    assert "does not accept this site" in response.content.decode()


def test_the_metadata_lead_to_the_certificate_where_there_is_no_secret(
    server: StrongServer, authority: Authority, use: Use, client_of_ada: Client
) -> None:
    server.told["token_endpoint_auth_methods_supported"] = ["private_key_jwt", "tls_client_auth"]
    use(server, CLIENT_CERTIFICATE=str(authority.issue("site")))
    connect(client_of_ada, server)


@pytest.mark.parametrize("method", ["", "tls_client_auth"])
def test_a_site_that_registers_tells_whose_certificate_it_shows(
    server: StrongServer,
    authority: Authority,
    use: Use,
    client_of_ada: Client,
    settings: Any,
    method: str,
) -> None:
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"REDIRECT_BASE_URL": SITE}
    server.told["token_endpoint_auth_methods_supported"] = ["tls_client_auth"]
    options = {"registration_endpoint": f"{server.issuer}/register"}
    options |= {"token_endpoint_auth_method": method} if method else {}
    use(server, options, CLIENT_ID="", CLIENT_CERTIFICATE=str(authority.issue("site")))
    account = connect(client_of_ada, server)
    assert server.registered["token_endpoint_auth_method"] == "tls_client_auth"
    assert server.registered["tls_client_auth_subject_dn"] == "CN=site"
    refresh(account)
    use(server, options, CLIENT_ID="", CLIENT_CERTIFICATE="/nowhere/site.pem")
    ProviderClient.objects.all().delete()
    response = client_of_ada.post("/connections/bank/connect/")
    assert response.status_code == 500
    assert "/nowhere" not in response.content.decode()


def test_the_sites_own_description_tells_whose_certificate_it_shows(
    server: StrongServer, authority: Authority, use: Use, settings: Any
) -> None:
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"REDIRECT_BASE_URL": SITE}
    options = {"client_id_metadata_document": True}
    use(server, options, CLIENT_ID="", CLIENT_CERTIFICATE=str(authority.issue("site")))
    told = Client().get("/connections/bank/client.json").json()
    assert told["token_endpoint_auth_method"] == "tls_client_auth"
    assert told["tls_client_auth_subject_dn"] == "CN=site"


def check_ids() -> list[str]:
    return [message.id.rpartition(".")[2] for message in checks.run_checks()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("days", "content", "expected"),
    [(30, None, None), (7, None, "W029"), (-1, None, "W029"), (30, "nothing", "E037")],
)
def test_a_check_reads_the_files(
    server: StrongServer,
    authority: Authority,
    use: Use,
    days: float,
    content: str | None,
    expected: str | None,
) -> None:
    file = authority.issue("site", days=days)
    if content is not None:
        file.write_text(content)
    use(server, BY_CERTIFICATE, CLIENT_CERTIFICATE=str(file))
    found = [name for name in check_ids() if name in ("E037", "W029")]
    assert found == ([expected] if expected else [])


def test_a_file_that_is_not_there_is_named_by_the_check_and_to_nobody_else(
    server: StrongServer, use: Use, client_of_ada: Client
) -> None:
    use(server, BY_CERTIFICATE, CLIENT_CERTIFICATE="/nowhere/site.pem")
    said = [str(m) for m in checks.run_checks() if str(m.id).endswith("E037")]
    assert "/nowhere/site.pem: No such file" in said[0]
    response = client_of_ada.post("/connections/bank/connect/")
    assert response.status_code == 500
    assert "not set up correctly" in response.content.decode()
    assert "/nowhere" not in response.content.decode()


def test_a_method_without_its_means_is_an_error(server: StrongServer, use: Use) -> None:
    for method in ("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"):
        use(server, {"token_endpoint_auth_method": method})
        assert "E036" in check_ids()
