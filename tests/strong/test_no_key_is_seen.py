"""What a strong client signs with, and what it signed, is in no sink: one walk through its life and
its failures at a server that demands everything, over TLS, then a look into every sink."""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core import mail
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client

from connected_accounts import tasks
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import discovery, dpop, jose
from connected_accounts.operations.doctor import diagnosis
from connected_accounts.provider_state.pauses import resume
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.testing import CANARY
from connected_accounts.tokens import endpoint
from tests.journeys import expire, finish, set_row, start
from tests.sealing.test_no_secret_in_living_frames import watch
from tests.sealing.test_no_secret_outside import (
    note_admin,
    note_copies,
    note_tasks,
    note_templates,
    proof_keys,
    sinks,
)
from tests.sinks import Sinks, note_answer, note_database, note_error
from tests.strong.certificates import Authority
from tests.strong.conftest import Use, connect, site_keys
from tests.strong.server import StrongServer

__all__ = ["proof_keys", "sinks", "watch"]
pytestmark = pytest.mark.django_db

OPTIONS = {"token_endpoint_auth_method": "private_key_jwt", "dpop": True}
REFUSALS: list[tuple[int, dict[str, Any]] | None] = [
    None,
    (502, {}),
    (200, {"access_token": "", "error": "x"}),
    (200, {"access_token": f"{CANARY}plain", "token_type": "Bearer"}),
    (401, {"error": "invalid_client"}),
    (400, {"error": "invalid_grant"}),
    (400, {"error": f"{CANARY}echoed", "error_description": f"{CANARY}echoed"}),
]


@dataclass
class Bank:
    """A server, and what the site has there."""

    server: StrongServer
    entry: dict[str, Any]
    use: Use
    proof_keys: set[str]

    def put(self, **entry: Any) -> None:
        self.use(self.server, OPTIONS, **{**self.entry, **entry})

    def secrets(self) -> set[str]:
        """All that nobody may see: of what was signed the signature, which is its only secret."""
        server = self.server
        found = server.secrets | self.proof_keys
        found |= {signed.rpartition(".")[2] for signed in server.signed}
        found |= {form["code_verifier"] for form in server.sent("/token") if "code" in form}
        for pem in (self.entry["CLIENT_KEY"], Path(self.entry["CLIENT_CERTIFICATE"]).read_text()):
            found |= private_parts(pem)
        return found


def private_parts(pem: str) -> set[str]:
    """How the private half of an elliptic curve's key may be written."""
    pem = pem[pem.index("-----BEGIN PRIVATE KEY") :].strip()
    key: Any = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    raw = number.to_bytes(32, "big")
    jwk = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    # The first line is the private half; the others are the public one.
    return {pem, pem.splitlines()[1][20:], jwk, raw.hex(), str(number)}


@pytest.fixture
def bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Use, proof_keys: set[str]
) -> Iterator[Bank]:
    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    entry = {
        "CLIENT_KEY": jose.new_key().private_pem().reveal(),
        "CLIENT_CERTIFICATE": str(authority.issue("site")),
    }
    demands = ("assertion", "certificate", "pushed", "proof")
    tls = {"tls": authority.issue("server"), "authority": authority.file}
    dpop.forget_nonces()
    with StrongServer(*demands, keys=site_keys, **tls) as server:
        server.nonce = "of-the-server"
        yield Bank(server, entry, use, proof_keys)
    dpop.forget_nonces()


Fails = Callable[[Callable[[], Any]], None]


def live(bank: Bank, client: Client, note: Callable[[Any], None], fails: Fails) -> None:
    """Connect, refresh, use, disconnect: each as it should be, and with each failure."""
    server = bank.server
    bank.put()
    for refusal in REFUSALS:
        server.always["/par"] = refusal
        note(client.post("/connections/bank/connect/"))
        body: Any = {"content_type": "application/json"}
        note(client.post("/api/connections/providers/bank/connect/", **body))
        del server.always["/par"]
        for path in ("/token", "/me"):
            params = server.authorize(start(client, "bank"))
            server.always[path] = refusal
            note(finish(client, params, "bank"))
            note(finish(client, params, "bank"))  # replayed
            del server.always[path]
            resume("bank")
        account = connect(client, server)
        for work in (refresh, get_access_token):
            expire(account)
            server.always["/token"] = refusal
            fails(partial(work, account))
            del server.always["/token"]
            resume("bank")
            account = connect(client, server)
        server.always["/me"] = refusal
        note(client.post(f"/connections/{account.pk}/test/"))
        note(client.post(f"/api/connections/accounts/{account.pk}/test/", **body))
        del server.always["/me"]
        disconnect(connect(client, server))
        server.always["/revoke"] = refusal
        tasks.revoke_pending_tokens.apply().get()
        del server.always["/revoke"]
        tasks.revoke_pending_tokens.apply().get()
    account = connect(client, server)
    server.end_access_tokens()
    get_session(account).get(f"{server.issuer}/me")
    fails(lambda: get_session(account).get("https://evil.example/"))


def misconfigured(bank: Bank, client: Client, note: Callable[[Any], None], fails: Fails) -> None:
    """Keys and files that are wrong, or that the server does not take."""
    account = connect(client, bank.server)
    known, bank.server.keys = bank.server.keys, lambda: {"keys": []}
    fails(lambda: refresh(account))
    resume("bank")
    bank.server.keys = known
    algorithms = "token_endpoint_auth_signing_alg_values_supported"
    bank.server.told[algorithms] = ["PS256"]
    discovery.clear_cache()
    fails(lambda: refresh(account))
    del bank.server.told[algorithms]
    discovery.clear_cache()
    resume("bank")
    other = jose.new_key().private_pem().reveal()
    cut = bank.entry["CLIENT_KEY"].replace("PRIVATE KEY", f"PRIVATE {CANARY}KEY")
    for wrong in (
        {"CLIENT_KEY": f"{CANARY}no key"},
        {"CLIENT_KEY": f'{{"kty": "oct", "k": "{CANARY}"}}'},
        {"CLIENT_KEY": f'{{"kty": "EC", "crv": "P-256", "d": "{CANARY}"}}'},
        {"CLIENT_KEY": cut},
        {"CLIENT_KEY": [other, bank.entry["CLIENT_KEY"]]},  # not known there
        {"CLIENT_CERTIFICATE": "/nowhere/site.pem"},
    ):
        bank.put(**wrong)
        note(client.post("/connections/bank/connect/"))
        note(client.get("/connections/jwks/"))
        fails(lambda: refresh(account))
        resume("bank")
        for arguments in (["check"], ["check_provider", "bank"]):
            fails(partial(call_command, *arguments, stdout=StringIO(), stderr=StringIO()))
    bank.put()


def commands(sinks: Sinks) -> None:
    for arguments in (
        ["check", "--deploy"],
        ["check_provider", "bank"],
        ["check_provider", "bank", "--json"],
        ["check_provider", "bank", "--request-token"],
        ["connections_status"],
        ["rotate_token_keys"],
    ):
        out = StringIO()
        with suppress(SystemExit):
            call_command(*arguments, stdout=out, stderr=out)
        sinks.add("commands", out.getvalue())


def let_out(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the app show what it signs with, each in one way that a change of its code could."""
    signed, read, said = endpoint.client_assertion, jose._read, diagnosis._with_proof

    def logged(*args: Any) -> Secret:
        made = signed(*args)
        logging.getLogger("connected_accounts").debug("sends %s", made.reveal())
        return made

    def quoting(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise ConfigurationError("client_key", f"not a key: {text}") from None

    def telling(provider: Any, finding: Any) -> Any:
        certificate = Path(bank.entry["CLIENT_CERTIFICATE"]).read_text()
        return diagnosis.ok("client", f"{said(provider, finding).message} {certificate}")

    monkeypatch.setattr(endpoint, "client_assertion", logged)
    monkeypatch.setattr(jose, "_read", quoting)
    monkeypatch.setattr(diagnosis, "_with_proof", telling)
    whole = jose.SigningKey.private_jwk
    monkeypatch.setattr(jose.SigningKey, "public_jwk", lambda key: json.loads(whole(key).reveal()))


LET_OUT = {
    *("admin", "API", "commands", "database", "dumpdata", "exceptions, locals too"),
    *("logs", "mail", "pages", "Sentry"),
}


@pytest.mark.parametrize("is_let_out", [False, True])
def test_no_key_and_no_assertion_is_seen_outside(
    is_let_out: bool,
    sinks: Sinks,
    bank: Bank,
    client_of_ada: Client,
    django_user_model: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where the app lets them out they are found, in each sink."""
    if is_let_out:
        let_out(bank, monkeypatch)
    note = partial(note_answer, sinks)
    failed = 0

    def fails(work: Callable[[], Any]) -> None:
        nonlocal failed
        try:
            work()
        except (Exception, SystemExit) as error:
            failed += 1
            note_error(sinks, error)

    live(bank, client_of_ada, note, fails)
    misconfigured(bank, client_of_ada, note, fails)
    commands(sinks)
    account = connect(client_of_ada, bank.server)
    if is_let_out:
        set_row(account, label=max(private_parts(bank.entry["CLIENT_KEY"]), key=len)[40:100])
    session = get_session(account)
    sinks.add("sessions", repr(session), vars(session), session.token, session.headers)
    config = get_provider("bank").config
    sinks.add("configuration", repr(config), config._asdict())
    note_templates(sinks, ConnectedAccount.objects.with_token().get(), settings)
    note_tasks(sinks, account)
    for address in ("", "jwks/", f"{account.pk}/reconnect/", f"{account.pk}/history/"):
        note(client_of_ada.get(f"/connections/{address}"))
    for address in ("accounts/", "providers/", "revocations/"):
        note(client_of_ada.get(f"/api/connections/{address}"), "API")
    note_database(sinks)
    note_copies(sinks)
    note_admin(sinks, django_user_model, account)
    sinks.add("mail", *(message.message() for message in mail.outbox))
    sinks.add("cache", vars(caches["default"]))
    secrets = bank.secrets()
    assert len(secrets) > 200
    assert failed > 20
    print(sinks.report(failed, secrets))
    found = {hit.partition(": ")[0] for hit in sinks.hits(secrets)}
    assert found >= LET_OUT if is_let_out else not found, sorted(found)


# --- Crashes ------------------------------------------------------------------------------------


class Broken(Exception):
    """A fault of our own, or of a library."""


def breaking(*args: Any, **kwargs: Any) -> Any:
    raise Broken


@pytest.mark.parametrize(
    "place",
    [
        "connected_accounts.oauth2.jose.load_pem_private_key",
        "connected_accounts.oauth2.jose.jwt.encode",
        "connected_accounts.tokens.client_assertion.Secret",
        "connected_accounts.oauth2.request.requests.Request",
        "connected_accounts.oauth2.transport.fetch",
        "requests.adapters.HTTPAdapter.send",
        "connected_accounts.oauth2.dpop.urlunsplit",
    ],
)
def test_a_crash_where_something_is_signed_or_sent_shows_no_key(
    place: str, sinks: Sinks, bank: Bank, client_of_ada: Client, settings: Any
) -> None:
    bank.put()
    account = connect(client_of_ada, bank.server)
    settings.DEBUG = True
    client_of_ada.raise_request_exception = False
    crashes = 0

    def attempt(work: Callable[[], Any], *, is_command: bool = False) -> None:
        nonlocal crashes
        jose.signing_key.cache_clear()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(place, breaking)
                response = work()
        except (Exception, SystemExit) as error:
            crashes += 1
            note_error(sinks, error)
        else:
            if not is_command:
                note_answer(sinks, response)
                crashes += response.status_code >= 500

    params = bank.server.authorize(start(client_of_ada, "bank"))
    attempt(lambda: client_of_ada.post("/connections/bank/connect/"))
    attempt(lambda: client_of_ada.get("/connections/bank/callback/", params))
    attempt(lambda: client_of_ada.get("/connections/jwks/"))
    attempt(lambda: refresh(account))
    attempt(lambda: get_session(account).get("me"))
    out = StringIO()
    for arguments in (["check"], ["check_provider", "bank"]):
        attempt(partial(call_command, *arguments, stdout=out, stderr=out), is_command=True)
    sinks.add("commands", out.getvalue())
    sinks.add("mail", *(message.message() for message in mail.outbox))
    assert crashes
    assert sinks.hits(bank.secrets()) == []
