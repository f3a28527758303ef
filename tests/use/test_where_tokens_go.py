"""A token goes to the provider's own host, over TLS that was checked, and nowhere else."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connected_accounts.exceptions import ConfigurationError, ProviderUnavailable
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.secret import Secret
from tests.conftest import http_answer

pytestmark = pytest.mark.usefixtures("own_connections")
TOKEN = "a-token-that-must-stay-here"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])


# --- A server with a certificate ----------------------------------------------------------------


SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass
class Authority:
    """Signs certificates; ``bundle`` is what a client must trust to believe them."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.bundle = self.folder / f"{id(self)}.pem"
        self.bundle.write_bytes(_pem(self._sign(self.key, NAME, None, days=1)))

    def _sign(self, key: Any, subject: x509.Name, address: str | None, days: int) -> Any:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(NAME)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=10))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), True)
        )
        # From Python 3.13 on a client wants all that RFC 5280 does.
        own, above = key.public_key(), self.key.public_key()
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), False)
        if address is None:
            made = made.add_extension(SIGNS_CERTIFICATES, True)
        else:
            names = [x509.IPAddress(ip_address(address))]
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
        return made.sign(self.key, hashes.SHA256())

    def context(self, address: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        plain = serialization.NoEncryption()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        file = self.folder / f"{id(key)}.server.pem"
        certificate = self._sign(key, subject, address, days)
        file.write_bytes(key.private_bytes(*form, plain) + _pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _pem(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def whole_request(line: socket.socket) -> bytes:
    """Head and body, which may come apart: closing on what is not read yet cuts the answer off."""
    request = line.recv(65536)
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if end and length else 0
    while missing > 0 and (more := line.recv(missing)):
        request, missing = request + more, missing - len(more)
    return request


@dataclass
class TLSServer:
    """Answers every connection with 200, and keeps what it was sent inside of TLS."""

    context: ssl.SSLContext
    received: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self.listener.accept()
                with suppress(OSError), self.context.wrap_socket(line, server_side=True) as tls:
                    tls.settimeout(5)
                    self.received.append(whole_request(tls))
                    tls.sendall(http_answer(Connection="close"))

    def stop(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_server() -> Iterator[Callable[[ssl.SSLContext], TLSServer]]:
    servers: list[TLSServer] = []

    def start(context: ssl.SSLContext) -> TLSServer:
        servers.append(TLSServer(context))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def post(url: str) -> transport.Answer:
    headers = {"X-Api-Key": TOKEN}
    return transport.fetch(requests.Request("POST", url, data={"a": TOKEN}, headers=headers))


def session(base_url: str) -> ProviderSession:
    return ProviderSession(
        client_id="client",
        base_url=base_url,
        origins={origin_of(base_url)},
        access_token=lambda: Secret(TOKEN),
    )


# --- TLS ----------------------------------------------------------------------------------------


def test_a_certificate_that_is_in_order_is_believed(
    authority: Authority, tls_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the refusals below are refusals of something."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    server = tls_server(authority.context())
    assert post(server.url).status == 200
    assert session(server.url).get("/x").status_code == 200
    assert [TOKEN.encode() in sent for sent in server.received] == [True, True]


@pytest.mark.parametrize("fault", ["expired", "wrong_host", "unknown_authority"])
def test_a_certificate_that_is_not_in_order_is_sent_nothing(
    authority: Authority, tls_server: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    other = authority if fault != "unknown_authority" else Authority(authority.folder)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.bundle))
    context = authority.context(
        address="127.0.0.2" if fault == "wrong_host" else "127.0.0.1",
        days=-1 if fault == "expired" else 1,
    )
    server = tls_server(context)
    with pytest.raises(ProviderUnavailable) as caught:
        post(server.url)
    assert (caught.value.code, caught.value.sent) == ("tls", False)
    with pytest.raises(requests.exceptions.SSLError):
        session(server.url).get("/x")
    assert b"".join(server.received) == b""


def test_a_bearer_is_not_sent_where_certificates_are_not_checked(serve: Any) -> None:
    server = serve()
    asked = session(server.url)
    with pytest.raises(ConfigurationError) as caught:
        asked.get("/x", verify=False)
    assert caught.value.code == "insecure"
    asked.verify = False
    with pytest.raises(ConfigurationError):
        asked.send(asked.prepare_request(requests.Request("GET", f"{server.url}/x")))
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://provider.example/token",
        "http://localhost:8000/token",
        "http://10.0.0.1/token",
        "http://[::ffff:10.0.0.1]/token",
        "ftp://127.0.0.1/token",
        "//127.0.0.1/token",
        "https://user:word@127.0.0.1/token",
    ],
)
def test_what_is_not_https_is_not_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_exchange", lambda *args: pytest.fail("it was sent"))
    with pytest.raises(ProviderUnavailable) as caught:
        post(url)
    assert (caught.value.code, caught.value.sent) == ("bad_request", False)


# --- Proxies ------------------------------------------------------------------------------------


def test_a_proxy_for_https_sees_where_to_and_nothing_else(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(http_answer(b"", 502))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProviderUnavailable) as caught:
        post("https://provider.invalid/token")
    assert caught.value.sent is False
    with pytest.raises(requests.RequestException):
        session("https://provider.invalid").get("/x")
    assert {request.method for request in proxy.requests} == {"CONNECT"}
    assert {request.target for request in proxy.requests} == {"provider.invalid:443"}
    seen = "".join(f"{r.target}{r.headers}{r.body!r}" for r in proxy.requests)
    assert TOKEN not in seen
    assert "authorization" not in seen
