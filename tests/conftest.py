"""What every test may use: an owner, a stored account, a loopback server, no other network.

With ``CONNECTED_ACCOUNTS_REQUIRE_SERVICES=1`` a skipped test is a failed one, so that a missing
service or browser does not go unseen. A reason that begins with ``optional`` is let through.
"""

import ipaddress
import itertools
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

STRICT = os.environ.get("CONNECTED_ACCOUNTS_REQUIRE_SERVICES") == "1"


# --- A skip that must not happen ----------------------------------------------------------------


def _fail_instead(report: Any) -> None:
    """Turn a skip into a failure, unless it is an expected failure or about something optional."""
    if not (STRICT and report.skipped) or hasattr(report, "wasxfail"):
        return
    where = report.longrepr
    reason = str(where[2] if isinstance(where, tuple) else where).removeprefix("Skipped: ")
    if not reason.startswith("optional"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although every service must be there: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    _fail_instead(report)
    return report


# --- The order of files, where several processes share them --------------------------------------

# Folders and files whose tests start processes or browsers, and wait for them.
WAITING = {"example", "tasks", "sites", "importers", "browser", "test_histories.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that wait come first, then those with the most tests: a long file that came last would
    let the other processes idle. Inside a file the order stays."""
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)

        def place(item: pytest.Item) -> tuple[bool, int]:
            waits = not WAITING.isdisjoint({item.path.parent.name, item.path.name})
            return not waits, -tests[item.path]

        items.sort(key=place)


# --- The network --------------------------------------------------------------------------------

SERVICES = {
    urlsplit(os.environ[name]).hostname
    for name in ("DATABASE_URL", "CELERY_BROKER_URL")
    if os.environ.get(name)
}


def _may_be_called(host: Any) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    if not host or host == "localhost" or host in SERVICES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def nothing_known_of_the_database() -> None:
    """What is remembered of the database, a test's own database does not have: the cache goes
    by the numbers of rows, which begin again with each test."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(scope="session")
def written_settings() -> str:
    """The app's settings as the file has them."""
    from django.conf import settings

    return repr(settings.CONNECTED_ACCOUNTS)


@pytest.fixture(autouse=True)
def settings_are_left_as_written(written_settings: str) -> Iterator[None]:
    """Fail a test that changes the dictionaries of the settings in place, as ``|=`` does: nothing
    sets them back, and the tests after it have them."""
    from django.conf import settings

    yield
    assert repr(settings.CONNECTED_ACCOUNTS) == written_settings


@pytest.fixture(autouse=True)
def no_outside_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that calls another machine, or asks for the address of one.

    A name under ``.invalid`` exists nowhere (RFC 6761): looking it up fails, the test does not.
    """
    called: list[str] = []
    addresses: set[str] = set()
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if _may_be_called(host):
            found = look_up(host, *args, **kwargs)
            addresses.update(str(entry[4][0]) for entry in found)
            return found
        if not str(host).endswith(".invalid"):
            called.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, "tests look up no name")

    def guarded(name: str) -> Callable[[socket.socket, Any], Any]:
        connect = getattr(socket.socket, name)

        def guard(self: socket.socket, address: Any) -> Any:
            inside = self.family not in (socket.AF_INET, socket.AF_INET6)
            if inside or address[0] in addresses or _may_be_called(address[0]):
                return connect(self, address)
            called.append(str(address[0]))
            raise ConnectionRefusedError("tests call no other machine")

        return guard

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", guarded("connect"))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded("connect_ex"))
    yield
    if called:
        pytest.fail(f"The test called another machine: {', '.join(called)}")


@dataclass
class Received:
    """A request as it arrived. ``line`` is the number of the connection that it came over."""

    line: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answerer = Callable[[Received, socket.socket], bytes | None]


@dataclass
class Server:
    """A TCP server on a loopback port whose answers a test writes, byte for byte.

    ``answer`` gets each request and its socket; it returns what to send, or None to hang up. A
    ``greeting`` is sent as soon as somebody connects.
    """

    answer: Answerer
    greeting: bytes = b""
    requests: list[Received] = field(default_factory=list)
    lines: list[socket.socket] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.netloc = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.netloc}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self.lines.append(line)
                thread = threading.Thread(target=self._serve, args=(line, len(self.lines)))
                thread.daemon = True
                self._threads.append(thread)
                thread.start()

    def _serve(self, line: socket.socket, number: int) -> None:
        with suppress(OSError), line, line.makefile("rb") as reader:
            line.sendall(self.greeting)
            while len(start := reader.readline().decode("latin-1").split()) == 3:
                pairs = iter(lambda: reader.readline().decode("latin-1").strip(), "")
                headers = {k.lower(): v.strip() for k, _, v in (p.partition(":") for p in pairs)}
                body = reader.read(int(headers.get("content-length", 0)))
                received = Received(number, start[0], start[1], headers, body)
                self.requests.append(received)
                answer = self.answer(received, line)
                if answer is None:
                    with suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)
                    return
                line.sendall(answer)

    def stop(self) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self.lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


def http_answer(body: bytes | str = b"{}", status: int = 200, **headers: str) -> bytes:
    """One HTTP/1.1 answer; ``Retry_After="5"`` is a header ``Retry-After``."""
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Length": str(len(content))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@pytest.fixture
def answering() -> Callable[..., bytes]:
    """``http_answer``, for a server's script."""
    return http_answer


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A factory of loopback servers: ``serve(lambda request, line: b"HTTP/1.1 …")``."""
    servers: list[Server] = []

    def start(answer: Answerer | bytes | None = None, greeting: bytes = b"") -> Server:
        said = http_answer() if answer is None else answer
        answerer = said if callable(said) else lambda request, line: said
        servers.append(Server(answerer, greeting))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def own_connections() -> Iterator[None]:
    """Connections to providers that are this test's alone, and closed behind it."""
    from connected_accounts.oauth2 import transport

    previous = transport.install_adapter(transport.PooledAdapter())
    yield
    mine = transport.install_adapter(previous)
    if isinstance(mine, transport.PooledAdapter):
        mine.poolmanager.clear()


@pytest.fixture
def nothing_discovered(own_connections: None) -> Iterator[None]:
    """What servers said of themselves in other tests is forgotten, and so is what they say here."""
    from connected_accounts.oauth2 import discovery, dpop

    discovery.clear_cache()
    dpop.forget_nonces()
    yield
    discovery.clear_cache()
    dpop.forget_nonces()


# --- Rows ---------------------------------------------------------------------------------------


@pytest.fixture
def now() -> datetime:
    """One moment for the whole test."""
    return timezone.now()


@pytest.fixture
def user(django_user_model: Any, db: None) -> Any:
    """A person of the site, without a password; ``client.force_login`` signs them in."""
    return django_user_model.objects.create_user("ada", "ada@site.example")


@pytest.fixture
def make_account(db: None, now: datetime) -> Callable[..., Any]:
    """Store accounts: ``make_account(user=…, provider="badgr", access_token="…", **columns)``.

    ``refresh_token`` and further keys in ``document`` go into the sealed token document;
    ``token=None`` stores no token at all. Without a ``user`` the account is the site's own.
    """
    from connected_accounts.database.functions import subject_digest
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.owners import owner_key
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.sealing import seal_document

    numbers = itertools.count(1)

    def make(
        user: Any = None,
        provider: str = "badgr",
        *,
        access_token: str = "stored-access-token",
        refresh_token: str | None = "stored-refresh-token",
        document: dict[str, Any] | None = None,
        **columns: Any,
    ) -> Any:
        backend = get_provider(provider)
        number = next(numbers)
        sealed = {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "id_token": None,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token_expires_in": None,
            "redirect_uri": "https://site.example/callback/",
        } | (document or {})
        values = {
            "subject": f"subject-{number}",
            "label": f"person{number}@provider.example",
            "scopes_wanted": list(backend.scopes),
            "scopes_requested": list(backend.scopes),
            "scopes_granted": list(backend.scopes),
            "connected_at": now,
            "expires_at": now + timedelta(hours=1),
            "refresh_at": now + timedelta(minutes=40),
            "client_id": backend.config.client_id,
            "endpoint_fingerprint": backend.endpoints(columns.get("inputs")).token_fingerprint(),
            "host": backend.bound(inputs=columns.get("inputs")).host,
        }
        account = ConnectedAccount(user=user, provider=provider, **values | columns)
        account.owner_key = account.owner_key or owner_key(user)
        account.subject_digest = subject_digest(account.subject)
        if "token" not in columns:
            account.token = seal_document(sealed, account)
        account.save(force_insert=True)
        return account

    return make


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """``meanwhile(happens)``: between the provider's next answer to a refresh and its storing."""
    from connected_accounts.refresh import outcomes

    settle = outcomes.settle

    def plan(happens: Callable[[], Any]) -> None:
        def happen_and_settle(attempt: Any, outcome: Any) -> Any:
            monkeypatch.setattr(outcomes, "settle", settle)
            happens()
            return settle(attempt, outcome)

        monkeypatch.setattr(outcomes, "settle", happen_and_settle)

    return plan


# --- People, browsers and fake providers ---------------------------------------------------------


@pytest.fixture
def ada(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada-lovelace", "ada@site.example", "password")


@pytest.fixture
def bob(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob-builder", "bob@site.example", "password")


@pytest.fixture
def client_of_ada(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture
def client_of_bob(bob: Any) -> Client:
    client = Client()
    client.force_login(bob)
    return client


@pytest.fixture
def badgr(fake_provider: Callable[..., FakeProvider]) -> FakeProvider:
    return fake_provider("badgr")


@pytest.fixture
def bitbadges(fake_provider: Callable[..., FakeProvider]) -> FakeProvider:
    return fake_provider("bitbadges")


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    """Ada's at Badgr, connected just now."""
    return connect(client_of_ada, badgr)


@pytest.fixture
def provider_settings(settings: Any) -> Callable[..., None]:
    """Change the settings of one provider: ``provider_settings("badgr", EXCLUSIVE=True)``."""

    def change(alias: str, **values: Any) -> None:
        whole = settings.CONNECTED_ACCOUNTS
        providers = whole["PROVIDERS"] | {alias: whole["PROVIDERS"][alias] | values}
        settings.CONNECTED_ACCOUNTS = whole | {"PROVIDERS": providers}

    return change


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Without a cache nothing is counted, so that a test may fail as often as it likes."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@pytest.fixture
def app_settings(settings: Any) -> Callable[..., None]:
    """Change top-level settings: ``app_settings(STATE_MAX_AGE=60)``."""

    def change(**values: Any) -> None:
        settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | values

    return change


@pytest.fixture
def account_at(settings: Any, make_account: Any) -> Callable[..., ConnectedAccount]:
    """An account at a server of one's own, whose token endpoint is at ``url``; keys of its token
    document by name."""

    def make(url: str, **document: Any) -> ConnectedAccount:
        options = {
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "identity_source": "token_response",
            "subject_path": "account",
        }
        entry = {"BACKEND": "connected_accounts.providers.generic.OAuth2", "CLIENT_ID": "client"}
        settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {
            "PROVIDERS": {"plain": entry | {"OPTIONS": options}}
        }
        account: ConnectedAccount = make_account(
            provider="plain", subject="ada-at-the-provider", document=document
        )
        return account

    return make
