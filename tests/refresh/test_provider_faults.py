"""Each fault that a provider can have, at a real socket, and what becomes of the account.

The table in ``docs/auditors/provider-faults.md`` names these tests.
"""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import (
    ConnectedAccountsError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.services import refresh
from tests.journeys import stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_connections")]

GOOD = {"access_token": "new-access-token", "refresh_token": "new-refresh-token"}


@pytest.fixture
def impatient(app_settings: Any) -> None:
    app_settings(HTTP_TIMEOUT=0.3, HTTP_DEADLINE=0.9)


def failed(account: ConnectedAccount) -> ConnectedAccountsError:
    """The error of a refresh that fails and will be tried again."""
    with pytest.raises((ProviderUnavailable, UnexpectedResponse)) as caught:
        refresh(account)
    error: ConnectedAccountsError = caught.value
    assert (account.status, account.reason, account.failure_count) == ("active", "", 1)
    assert account.last_error == error.code
    assert account.lease_until is None
    assert stored(account)["refresh_token"] == "stored-refresh-token"
    return error


def assert_tried_again(account: ConnectedAccount, *, may_be_spent: bool) -> None:
    """After about a minute, and remembering whether the refresh token may be gone."""
    assert 50 < (account.refresh_at - timezone.now()).total_seconds() <= 72
    assert (account.attempt_started_at is not None) is may_be_spent


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- No connection ------------------------------------------------------------------------------


def test_a_refused_connection_spends_nothing(account_at: Any) -> None:
    account = account_at(f"http://127.0.0.1:{unused_port()}")
    assert failed(account).code == "unreachable"
    assert_tried_again(account, may_be_spent=False)


def test_a_name_that_cannot_be_found_spends_nothing(account_at: Any) -> None:
    account = account_at("https://provider.invalid")
    assert failed(account).code == "unreachable"
    assert_tried_again(account, may_be_spent=False)


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """A server whose certificate nobody vouches for; it fails the test if it is sent anything."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    received: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(line, server_side=True) as safe:
                    received.append(safe.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert not any(received)


def test_a_certificate_that_nobody_vouches_for_gets_no_token(
    account_at: Any, untrusted: str
) -> None:
    account = account_at(untrusted)
    assert failed(account).code == "tls"
    assert_tried_again(account, may_be_spent=False)


def test_a_server_without_tls_gets_no_token(account_at: Any, serve: Any) -> None:
    server = serve(greeting=b"220 mail.example.org ESMTP\r\n")
    account = account_at(f"https://{server.netloc}")
    assert failed(account).code == "tls"
    assert_tried_again(account, may_be_spent=False)
    assert server.requests == []


def test_a_connection_that_is_not_accepted_in_time_spends_nothing(
    account_at: Any, impatient: None
) -> None:
    waiting: list[socket.socket] = []
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # its queue is full then, and the next one is not answered
            line = socket.socket()
            line.setblocking(False)
            line.connect_ex(full.getsockname())
            waiting.append(line)
        account = account_at(f"http://127.0.0.1:{full.getsockname()[1]}")
        error = failed(account)
    for line in waiting:
        line.close()
    assert error.code in ("timeout", "deadline")
    assert_tried_again(account, may_be_spent=False)


# --- No answer, or no whole one -----------------------------------------------------------------


def test_silence_after_the_request_may_have_spent_the_token(
    account_at: Any, serve: Any, impatient: None
) -> None:
    server = serve(lambda request, line: server.stopping.wait(20) and None)
    account = account_at(server.url)
    assert failed(account).code == "timeout"
    assert_tried_again(account, may_be_spent=True)


def test_a_dripping_body_ends_at_the_deadline(account_at: Any, serve: Any, impatient: None) -> None:
    def drip(request: Any, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        while not server.stopping.wait(0.1):
            line.sendall(b" ")

    server = serve(drip)
    account = account_at(server.url)
    assert failed(account).code == "deadline"
    assert_tried_again(account, may_be_spent=True)


def test_a_body_of_50_mb_is_not_read_to_its_end(account_at: Any, serve: Any) -> None:
    sent: list[int] = []

    def flood(request: Any, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            line.sendall(b"x" * 65536)
            sent.append(65536)

    account = account_at(serve(flood).url)
    assert failed(account).code == "too_large"
    assert sum(sent) < 20 * 1024 * 1024
    assert_tried_again(account, may_be_spent=True)


def test_truncated_json_may_have_spent_the_token(
    account_at: Any, serve: Any, answering: Any
) -> None:
    account = account_at(serve(answering(json.dumps(GOOD)[:-20])).url)
    assert failed(account).code == "not_json"
    assert_tried_again(account, may_be_spent=True)


def test_a_body_cut_off_by_the_connection_may_have_spent_the_token(
    account_at: Any, serve: Any
) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + json.dumps(GOOD).encode()[:40]
    account = account_at(serve(lambda request, line: line.sendall(half)).url)
    assert failed(account).code == "connection_lost"
    assert_tried_again(account, may_be_spent=True)


def test_a_bad_gateway_in_html_may_have_spent_the_token(
    account_at: Any, serve: Any, answering: Any
) -> None:
    page = answering("<h1>Bad Gateway</h1>", 502, Content_Type="text/html")
    account = account_at(serve(page).url)
    assert failed(account).code == "status_502"
    assert_tried_again(account, may_be_spent=True)


def test_a_page_of_html_with_status_200_is_no_answer(
    account_at: Any, serve: Any, answering: Any
) -> None:
    account = account_at(serve(answering("<h1>Please sign in</h1>")).url)
    assert failed(account).code == "not_json"
    assert_tried_again(account, may_be_spent=True)


# --- Too many, elsewhere ------------------------------------------------------------------------


def throttled(account_at: Any, serve: Any, answering: Any, **headers: str) -> timedelta:
    account = account_at(serve(answering("{}", 429, **headers)).url)
    with pytest.raises(ProviderUnavailable, match="status_429"):
        refresh(account)
    assert account.status == "active"
    assert account.attempt_started_at is None
    wait: timedelta = account.refresh_at - timezone.now()
    return wait


def test_too_many_requests_waits_for_the_seconds_it_is_told(
    account_at: Any, serve: Any, answering: Any
) -> None:
    wait = throttled(account_at, serve, answering, Retry_After="600")
    assert timedelta(seconds=590) < wait <= timedelta(seconds=720)
    # An end that is named is obeyed, and is no failure.
    assert not ConnectedAccount.objects.filter(failure_count__gt=0).exists()


def test_too_many_requests_waits_until_the_date_it_is_told(
    account_at: Any, serve: Any, answering: Any
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=20), usegmt=True)
    wait = throttled(account_at, serve, answering, Retry_After=date)
    assert timedelta(minutes=19) < wait <= timedelta(minutes=24)


@pytest.mark.parametrize("told", [{}, {"Retry_After": "soon"}, {"Retry_After": "-5"}])
def test_too_many_requests_without_a_wait_has_the_usual_one(
    account_at: Any, serve: Any, answering: Any, told: dict[str, str]
) -> None:
    wait = throttled(account_at, serve, answering, **told)
    assert timedelta(seconds=50) < wait <= timedelta(seconds=72)


def test_a_wait_of_years_is_believed_for_an_hour(
    account_at: Any, serve: Any, answering: Any
) -> None:
    wait = throttled(account_at, serve, answering, Retry_After="99999999")
    assert timedelta(minutes=59) < wait <= timedelta(minutes=72)


def test_a_redirect_is_not_followed_and_nothing_goes_elsewhere(
    account_at: Any, serve: Any, answering: Any
) -> None:
    elsewhere = serve(answering(json.dumps(GOOD)))
    server = serve(answering("", 307, Location=f"{elsewhere.url}/token"))
    account = account_at(server.url)
    assert failed(account).code == "redirect"
    assert_tried_again(account, may_be_spent=False)
    assert elsewhere.requests == []
