"""One walk through every flow and failure with marked secrets, then a look into every sink."""

import base64
import logging
import pickle
import traceback
from collections.abc import Iterator
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest
from django.core import mail, serializers
from django.core.management import call_command
from django.db import connection
from django.forms import model_to_dict
from django.test import Client

from connected_accounts import tasks
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.testing import (
    CANARY,
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Redirect,
    Timeout,
)
from tests.journeys import finish, start

pytestmark = pytest.mark.django_db


class Sinks:
    """Everything that was written anywhere, by name."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}

    def add(self, sink: str, *texts: Any) -> None:
        self.texts.setdefault(sink, []).extend(str(text) for text in texts)

    def hits(self, secrets: set[str]) -> list[str]:
        needles = {CANARY, "-client-secret"}
        for secret in secrets:
            hidden = base64.b64encode(secret.encode()).decode().rstrip("=")
            needles |= {secret, quote(secret, safe=""), secret.encode().hex(), hidden[:24]}
        found = []
        for sink, texts in self.texts.items():
            for text in texts:
                found += [f"{sink}: {needle[:12]}" for needle in needles if needle in text]
        return found


class Everything(logging.Handler):
    """Keeps each record as text, with its arguments and its whole traceback."""

    def __init__(self, sinks: Sinks) -> None:
        super().__init__(level=1)
        self.sinks = sinks

    def emit(self, record: logging.LogRecord) -> None:
        # The client's own request is the browser's: its address holds the code by necessity.
        parts = {k: v for k, v in vars(record).items() if k not in ("request", "exc_info")}
        self.sinks.add("logs", record.getMessage(), parts)
        if record.exc_info:
            self.sinks.add("logs", *traceback.format_exception(*record.exc_info))


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    sinks = Sinks()
    handler, root = Everything(sinks), logging.getLogger()
    names = ["", *logging.Logger.manager.loggerDict]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(1)
    root.addHandler(handler)
    yield sinks
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def note_error(sinks: Sinks, error: BaseException) -> None:
    """An exception as loggers, trackers and result backends see it, locals of every frame too."""
    seen: BaseException | None = error
    while seen is not None:
        shown = traceback.TracebackException.from_exception(seen, capture_locals=False)
        sinks.add("exceptions", repr(seen), seen.args, vars(seen), *shown.format())
        seen = seen.__cause__ or seen.__context__


def note_answer(sinks: Sinks, response: Any) -> None:
    sinks.add("pages", response.content.decode(), dict(response.headers))
    sinks.add("cookies", *(f"{key}={morsel.value}" for key, morsel in response.cookies.items()))


def note_database(sinks: Sinks) -> None:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            sinks.add("database", *cursor.fetchall())


def note_copies(sinks: Sinks) -> None:
    for model in (ConnectedAccount, Revocation):
        for row in model._base_manager.defer(None):
            fields = [field.name for field in model._meta.fields]
            sinks.add("copies", repr(row), str(row), model_to_dict(row, fields), vars(row))
            sinks.add("copies", pickle.dumps(row))
            sinks.add("copies", serializers.serialize("json", [row]))
        sinks.add("copies", list(model._base_manager.values()))
    out = StringIO()
    call_command("dumpdata", "connected_accounts", stdout=out)
    sinks.add("dumpdata", out.getvalue())


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


@pytest.mark.parametrize("alias", ["badgr", "bitbadges"])
def test_no_secret_is_seen_outside(
    client_of_ada: Client, django_user_model: Any, sinks: Sinks, alias: str
) -> None:
    with FakeProvider(alias) as fake:
        for fault in (None, *FAULTS):
            params = fake.authorize(start(client_of_ada, alias), subject="ada")
            if fault is not None:
                fake.script("token", fault)
            note_answer(sinks, finish(client_of_ada, params, alias))
        account = ConnectedAccount.objects.get()
        for fault in FAULTS[:-4]:
            fake.script("token", fault)
            with pytest.raises(ConnectedAccountsError) as caught:
                refresh(account)
            note_error(sinks, caught.value)
        for fault in FAULTS[-3:]:
            fake.script("token", fault)
            with pytest.raises(ConnectedAccountsError) as caught:
                refresh(account)
            note_error(sinks, caught.value)
        with pytest.raises(ConnectedAccountsError) as caught:
            get_session(account).get("https://evil.example/")
        note_error(sinks, caught.value)
        session = get_session(account)
        sinks.add("copies", repr(session), vars(session), session.token, session.headers)
        note_database(sinks)
        note_copies(sinks)
        for address in ("", f"{account.pk}/reconnect/", f"{account.pk}/disconnect/"):
            note_answer(sinks, client_of_ada.get(f"/connections/{address}"))
        admin = Client()
        admin.force_login(django_user_model.objects.create_superuser("root"))
        note_answer(sinks, admin.get("/admin/connected_accounts/connectedaccount/"))
        disconnect(account)
        fake.script("revocation", *FAULTS[:5])
        tasks.revoke_pending_tokens.apply().get()
        note_database(sinks)
        note_copies(sinks)
        sinks.add("mail", *(message.message() for message in mail.outbox))
        secrets = fake.secrets
    assert len(secrets) > 10
    assert {"logs", "exceptions", "pages", "cookies", "database", "copies"} <= set(sinks.texts)
    assert sinks.hits(secrets) == []


def test_the_search_finds_what_it_looks_for() -> None:
    sinks = Sinks()
    sinks.add("logs", f"token={quote('a b/c', safe='')}")
    assert sinks.hits({"a b/c"})
