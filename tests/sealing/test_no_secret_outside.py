"""One walk through every flow and failure with marked secrets, then a look into every sink."""

import json
import pickle
from collections.abc import Iterator
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core import mail, serializers
from django.core.cache import caches
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.forms import model_to_dict
from django.template import Context, Template
from django.test import Client
from rest_framework.serializers import ModelSerializer

from connected_accounts import tasks
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import dpop
from connected_accounts.operations.keys_in_use import SEALED
from connected_accounts.provider_state.pauses import resume
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.storage import _hand_over
from connected_accounts.secret import Secret
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.testing import (
    CANARY,
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Redirect,
    Timeout,
)
from connected_accounts.web import throttle
from tests.journeys import connect, expire, finish, start
from tests.sinks import (
    ADMINS,
    Sinks,
    all_logs,
    all_messages,
    note_answer,
    note_database,
    note_error,
    sentry,
)

pytestmark = pytest.mark.django_db

CACHED = (
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
)


@pytest.fixture
def sinks(
    settings: Any, provider_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sinks]:
    monkeypatch.setattr(throttle, "wait_for", lambda *args, **kwargs: 0)  # not the subject here
    settings.ADMINS = ADMINS
    settings.MIDDLEWARE = [CACHED[0], *settings.MIDDLEWARE, CACHED[1]]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    for alias in ("badgr", "bitbadges"):
        provider_settings(alias, CLIENT_SECRET=f"{CANARY}client-secret")
    found = Sinks()
    with all_logs(found), all_messages(found), sentry(found):
        yield found


FAULTS = [
    Timeout(),
    ConnectionRefused(),
    DropAnswer(),
    Redirect("https://evil.example/"),
    Answer(502, body="<html>"),
    Answer(200, body="not json"),
    Answer(200, json={"access_token": "", "error": "x"}),
    Answer(401, json={"error": "invalid_client"}),
    Answer(400, json={"error": "invalid_grant"}),
    Answer(400, json={"error": f"{CANARY}echoed", "error_description": f"{CANARY}echoed"}),
    Answer(200, json={"access_token": f"{CANARY}line\nbreak", "token_type": "Bearer"}),
    Answer(200, json={"access_token": f"{CANARY}x", "token_type": f"{CANARY}mac"}),
]


def note_copies(sinks: Sinks) -> None:
    """Each way in which a row is copied by those who do not know what is in it."""
    for model, _ in SEALED:
        everything = type("All", (), {"model": model, "fields": "__all__"})
        drf: Any = type("AllFields", (ModelSerializer,), {"Meta": everything})
        for row in model._base_manager.defer(None):
            fields = [field.name for field in model._meta.fields]
            sinks.add("repr, str and vars", repr(row), str(row), vars(row))
            sinks.add("model_to_dict", model_to_dict(row, fields), model_to_dict(row))
            sinks.add("pickle", pickle.dumps(row), pickle.dumps(row.__dict__))
            sinks.add("REST framework, __all__", drf(row).data)
            for form in ("json", "xml", "jsonl"):
                sinks.add("serializers", serializers.serialize(form, [row]))
        sinks.add("values", list(model._base_manager.values()))
    out = StringIO()
    call_command("dumpdata", stdout=out)
    sinks.add("dumpdata", out.getvalue())


def note_templates(sinks: Sinks, account: ConnectedAccount, settings: Any) -> None:
    settings.DEBUG = True  # else the tag shows nothing
    source = "{% load connected_accounts %}{% user_connections as all %}{{ account }}{% debug %}"
    context = {"account": account, "user": account.user, "token": account.token}
    sinks.add("{% debug %}", Template(source).render(Context(context)))
    settings.DEBUG = False


def note_constraints(sinks: Sinks, account: ConnectedAccount) -> None:
    """What the database says of a row that it refuses: PostgreSQL quotes all of it."""
    row = ConnectedAccount.objects.with_token().get(pk=account.pk)
    for change in ({"provider": None}, {"label": None}, {"provider": "x" * 5000}):
        for name, value in change.items():
            setattr(row, name, value)
        with pytest.MonkeyPatch.context(), transaction.atomic():
            try:
                with transaction.atomic():
                    row.save()
                    transaction.set_rollback(True)  # SQLite does not mind a long text
            except DatabaseError as error:
                note_error(sinks, error)
                sinks.add("constraint errors", error)
        row = ConnectedAccount.objects.with_token().get(pk=account.pk)


def note_admin(sinks: Sinks, django_user_model: Any, account: ConnectedAccount) -> None:
    """All pages of the admin and both actions, for all that is there, and its history."""
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root"))
    for model in ("connectedaccount", "revocation", "event", "providerstate"):
        where = f"/admin/connected_accounts/{model}/"
        note_answer(sinks, client.get(where), "admin")
        note_answer(sinks, client.get(where, {"q": "ada"}), "admin")
        for pk in (1, account.pk):
            for page in ("change", "history", "delete"):
                note_answer(sinks, client.get(f"{where}{pk}/{page}/", follow=True), "admin")
    for action in ("refresh_now", "disconnect_and_revoke"):
        chosen: dict[str, Any] = {"action": action, "_selected_action": [account.pk]}
        where = "/admin/connected_accounts/connectedaccount/"
        note_answer(sinks, client.post(where, chosen), "admin")
        chosen["confirmed"] = "yes"
        sent = client.post("/admin/connected_accounts/connectedaccount/", chosen, follow=True)
        note_answer(sinks, sent, "admin")
    note_answer(sinks, client.get("/admin/"), "admin")


def note_tasks(sinks: Sinks, account: ConnectedAccount) -> None:
    """Each task's message, and what its result would be in a backend."""
    arguments: dict[Any, tuple[Any, ...]] = {
        tasks.refresh_due_accounts: (),
        tasks.drain_refreshes: ("badgr",),
        tasks.refresh_account: (account.pk,),
        tasks.revoke_pending_tokens: (),
        tasks.purge: (),
    }
    for task, given in arguments.items():
        task.apply_async(given)
        result = task.apply(given)
        sinks.add("Celery results", vars(result), result.result, result.traceback)
    _hand_over(account, account.open_token())  # the one task that carries a token


@pytest.fixture
def proof_keys(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The private half of each key that a connection gets (RFC 9449)."""
    made: set[str] = set()
    new = dpop.new_proof_key

    def noted() -> Secret:
        key = new()
        made.add(json.loads(key.reveal())["d"])
        return key

    monkeypatch.setattr(dpop, "new_proof_key", noted)
    return made


def signatures(fake: FakeProvider) -> set[str]:
    """The end of each proof that was sent: the rest of one says nothing that is secret."""
    proofs = [request.headers["DPoP"] for request in fake.requests if "DPoP" in request.headers]
    return {proof.rpartition(".")[2] for proof in proofs}


@pytest.mark.parametrize(
    ("alias", "options"), [("badgr", {}), ("bitbadges", {}), ("badgr", {"dpop": True})]
)
def test_no_secret_is_seen_outside(
    sinks: Sinks,
    client_of_ada: Client,
    django_user_model: Any,
    alias: str,
    options: dict[str, Any],
    settings: Any,
    provider_settings: Any,
    proof_keys: set[str],
) -> None:
    flows = 0
    provider_settings(alias, OPTIONS=options)
    with FakeProvider(alias, proof_nonce="of-the-server" if options else "") as fake:

        def fails(work: Any) -> None:
            nonlocal flows
            flows += 1
            with pytest.raises(ConnectedAccountsError) as caught:
                work()
            note_error(sinks, caught.value)

        for endpoint in ("token", "identity"):
            for fault in (None, *FAULTS):
                if fault is not None:
                    fake.script(endpoint, fault)
                params = fake.authorize(start(client_of_ada, alias), subject="ada")
                note_answer(sinks, finish(client_of_ada, params, alias))
                note_answer(sinks, finish(client_of_ada, params, alias))  # replayed
                flows += 2
        params = fake.authorize(start(client_of_ada, alias), deny=True)
        note_answer(sinks, finish(client_of_ada, params, alias))
        params = fake.authorize(start(client_of_ada, alias), subject="ada")
        other = Client()
        other.force_login(django_user_model.objects.create_user("eve"))
        note_answer(sinks, finish(other, params, alias))
        finish(Client(), params, alias)  # to the login page, and back here by this address
        note_answer(sinks, finish(client_of_ada, params | {"state": "forged"}, alias))
        flows += 4
        account = ConnectedAccount.objects.get()
        for fault in FAULTS:
            fake.unavailable(fault)  # a lost answer is asked for again at once
            fails(partial(refresh, account))
            fake.available()
            account = connect(client_of_ada, fake, alias)
        resume(alias)  # which rejected the site's credentials
        for fault in (Timeout(), Answer(502, body="<html>")):
            expire(account)
            fake.unavailable(fault)
            fails(partial(get_access_token, account))
            fake.available()
            account = connect(client_of_ada, fake, alias)
        account = connect(client_of_ada, fake, alias)
        fails(lambda: get_session(account).get("https://evil.example/"))
        session = get_session(account)
        sinks.add("sessions", repr(session), vars(session), session.token, session.headers)
        note_constraints(sinks, account)
        note_templates(sinks, ConnectedAccount.objects.with_token().get(), settings)
        note_tasks(sinks, account)
        note_database(sinks)
        note_copies(sinks)
        for address in ("", f"{account.pk}/reconnect/", f"{account.pk}/disconnect/"):
            note_answer(sinks, client_of_ada.get(f"/connections/{address}"))
        for address in ("accounts/", f"accounts/{account.pk}/history/", "providers/"):
            note_answer(sinks, client_of_ada.get(f"/api/connections/{address}"))
        note_answer(sinks, client_of_ada.get("/api/connections/revocations/"))
        # A key that is lost, and tokens that do not open.
        keys = settings.FIELD_ENCRYPTION_KEY
        settings.FIELD_ENCRYPTION_KEY = ["YS1rZXktdGhhdC1ub2JvZHktaGFzLTAxMjM0NTY3ODk="]
        fails(lambda: refresh(account))
        fails(lambda: get_access_token(account))
        settings.FIELD_ENCRYPTION_KEY = keys
        out = StringIO()
        for command in (["rotate_token_keys"], ["connections_status"], ["check"]):
            call_command(*command, stdout=out)
        sinks.add("commands", out.getvalue())
        note_admin(sinks, django_user_model, account)
        for fault in (*FAULTS, None):
            row = connect(client_of_ada, fake, alias)
            disconnect(row)
            if fault is not None:
                fake.script("revocation", fault, fault)
            tasks.revoke_pending_tokens.apply().get()
            flows += 1
        note_answer(sinks, client_of_ada.get("/connections/"))
        note_database(sinks)
        note_copies(sinks)
        sinks.add("mail", *(message.message() for message in mail.outbox))
        sinks.add("cache", vars(caches["default"]))
        verifiers = {r.fields.get("code_verifier", CANARY) for r in fake.sent_to("token")}
        secrets = {*fake.secrets, *verifiers, *settings.FIELD_ENCRYPTION_KEY}
        secrets |= proof_keys | signatures(fake)
    assert bool(proof_keys) is bool(signatures(fake)) is bool(options)
    assert len(secrets) > 100
    assert {"admin", "cache", "logs", "mail", "pages", "Sentry"} <= set(sinks.texts)
    print(f"\n{alias}: {len(secrets)} secrets", sinks.report(flows, secrets), sep="")
    assert sinks.hits(secrets) == []


def test_the_search_finds_what_it_looks_for_in_every_form() -> None:
    import base64
    from urllib.parse import quote

    secret = "a b/c+äöü-0123456789"
    for hidden in (
        secret,
        secret[:12],
        quote(secret, safe=""),
        secret.encode().hex(),
        *(base64.b64encode(b"y" * n + secret.encode() + b"z" * m).decode()
          for n in range(4) for m in range(4)),
        base64.urlsafe_b64encode(b"{" + secret.encode() + b"}").decode(),
    ):  # fmt: skip
        sinks = Sinks()
        sinks.add("logs", f"something {hidden} else")
        assert sinks.hits({secret}), hidden
    sinks.add("logs", f"with {CANARY}in it")
    assert sinks.hits(set())
    quiet = Sinks()
    quiet.add("logs", "nothing at all")
    assert quiet.hits({secret}) == []


def test_oauthlibs_session_logs_no_token_wherever_it_is_used(sinks: Sinks) -> None:
    from requests_oauthlib import OAuth2Session

    from connected_accounts.oauth2 import transport

    address = get_provider("badgr").endpoints().token_endpoint
    token = {"access_token": f"{CANARY}x", "refresh_token": f"{CANARY}y", "token_type": "Bearer"}
    session = OAuth2Session("badgr-client")
    with FakeProvider("badgr") as fake:
        fake.script("token", Answer(200, json=token), Answer(200, json=token))
        session.mount("https://", transport.adapter())
        session.fetch_token(address, code=f"{CANARY}code", client_secret=f"{CANARY}secret")
        session.refresh_token(address, refresh_token=f"{CANARY}y")
    assert sinks.hits(set()) == []


@pytest.mark.parametrize("name", ["fetch_token", "refresh_token", "token_from_fragment"])
def test_a_session_of_ours_fetches_no_token_by_oauthlibs_way(
    name: str, sinks: Sinks, client_of_ada: Client
) -> None:
    with FakeProvider("badgr") as fake:
        session = get_session(connect(client_of_ada, fake))
        with pytest.raises(TypeError, match="services only"):
            getattr(session, name)("https://evil.example/", code="c")
