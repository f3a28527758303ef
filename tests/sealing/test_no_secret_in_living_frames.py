"""A log line, a signal and an event are seen with all that still runs: handlers of trackers write
down the local variables of each frame above them. None of ours holds a secret by then."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db.models.signals import post_save
from django.test import Client

import connected_accounts
from connected_accounts import signals, tasks
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.provider_state.pauses import resume
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import CANARY, Answer, FakeProvider, Timeout
from connected_accounts.web import throttle
from tests.journeys import connect, expire, finish, start
from tests.sinks import Sinks

pytestmark = pytest.mark.django_db

OURS = str(Path(connected_accounts.__file__).parent)
THE_KIT = str(Path(connected_accounts.__file__).parent / "testing")


def living_frames() -> Iterator[FrameType]:
    """The frames of the package above this one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS) and not file.startswith(THE_KIT):
            yield frame
        frame = frame.f_back


def shown(value: Any) -> str:
    """A value as a tracker writes it down: of a request its dictionaries too, of an exception its
    arguments."""
    if isinstance(value, WSGIRequest):
        raw = getattr(value, "_body", b"")
        parts = (value, value.GET, value.POST, value.META, value.COOKIES, raw, value.FILES)
        return "".join(map(repr, parts))
    if isinstance(value, dict):
        return "".join(f"{key!r}: {shown(one)}" for key, one in value.items())
    if isinstance(value, list | tuple | set):
        return "".join(map(shown, value))
    return repr(value)


class Watch(logging.Handler):
    """Notes the local variables of all that runs when something is told."""

    def __init__(self) -> None:
        super().__init__(level=1)
        self.sinks = Sinks()
        self.told = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("connected_accounts", "django.request", "django.security")):
            self.look()

    def receive(self, sender: Any, **kwargs: Any) -> None:
        self.look()

    def look(self) -> None:
        self.told += 1
        for frame in living_frames():
            where = f"{frame.f_code.co_filename[len(OURS) :]}:{frame.f_code.co_name}"
            for name, value in frame.f_locals.items():
                self.sinks.add(f"{where}, {name}", shown(value))

    def variables_with(self, secrets: Iterable[str]) -> set[str]:
        """The variables that held a secret, each with its file and function."""
        assert self.told > 20
        return {hit.rpartition(": ")[0] for hit in self.sinks.hits(secrets)}


@pytest.fixture
def watch(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(throttle, "wait_for", lambda *args, **kwargs: 0)  # not the subject here
    found = Watch()
    ours = [getattr(signals, name) for name in signals.__all__]
    for signal in ours:
        signal.connect(found.receive)
    post_save.connect(found.receive, sender=Event)
    loggers = [logging.getLogger(name) for name in ("connected_accounts", "django")]
    for logger in loggers:
        logger.addHandler(found)
    logging.getLogger("connected_accounts").setLevel(1)
    yield found
    logging.getLogger("connected_accounts").setLevel(logging.NOTSET)
    for logger in loggers:
        logger.removeHandler(found)
    post_save.disconnect(found.receive, sender=Event)
    for signal in ours:
        signal.disconnect(found.receive)


FAULTS = [
    Timeout(),
    Answer(502, body="<html>"),
    Answer(200, body="not json"),
    Answer(401, json={"error": "invalid_client"}),
    Answer(400, json={"error": "invalid_grant"}),
]


def test_a_callback_is_told_of_when_its_secrets_are_gone(
    watch: Watch, client_of_ada: Client, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr)
    states = set()
    for fault in FAULTS:
        for endpoint in ("token", "identity"):
            badgr.script(endpoint, fault)
            params = badgr.authorize(start(client_of_ada), subject="ada")
            states |= {params["state"], params["code"]}
            finish(client_of_ada, params)
            finish(client_of_ada, params)  # replayed
            badgr._scripts[endpoint].clear()
    forged = badgr.authorize(start(client_of_ada)) | {"state": f"{CANARY}forged"}
    finish(client_of_ada, forged)
    cookies = {m.value for name, m in client_of_ada.cookies.items() if "connected" in name}
    verifiers = {r.fields.get("code_verifier", CANARY) for r in badgr.sent_to("token")}
    assert watch.variables_with({*badgr.secrets, *states, *cookies, *verifiers}) == set()


def test_what_was_entered_is_gone_when_a_connection_by_it_is_told_of(
    watch: Watch, fake_provider: Any, client_of_ada: Client, settings: Any
) -> None:
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": {"bits": bits}}
    fake: FakeProvider = fake_provider("bits")
    fake.add_client("adas", f"{CANARY}entered", subject="ada")
    url = "/api/connections/providers/bits/connect/"
    for secret in (f"{CANARY}entered", f"{CANARY}wrong"):
        for fault in (None, *FAULTS):
            for way in ("form", "JSON"):
                entered = {"client_id": "adas", "client_secret": secret}
                if fault is not None:
                    fake.script("token", fault)
                if way == "form":
                    client_of_ada.post("/connections/bits/connect/", entered)
                else:
                    body: Any = {"inputs": entered}
                    client_of_ada.post(url, body, content_type="application/json")
                fake._scripts["token"].clear()
    assert watch.variables_with(fake.secrets) == set()


def test_refreshing_and_disconnecting_are_told_of_without_their_tokens(
    watch: Watch,
    client_of_ada: Client,
    badgr: FakeProvider,
    django_capture_on_commit_callbacks: Any,
) -> None:
    account = connect(client_of_ada, badgr)

    def tried(work: Callable[[ConnectedAccount], Any]) -> None:
        try:
            work(account)
        except ConnectedAccountsError:
            resume("badgr")

    for fault in (None, *FAULTS):
        for work in (refresh, get_access_token, _drain):
            account = connect(client_of_ada, badgr)
            expire(account)
            ConnectedAccount.objects.filter(pk=account.pk).update(refresh_at=account.expires_at)
            if fault is not None:
                badgr.unavailable(fault)
            tried(work)
            badgr.available()
    for fault in (None, *FAULTS):
        disconnect(connect(client_of_ada, badgr))
        if fault is not None:
            badgr.script("revocation", fault, fault)
        tasks.revoke_pending_tokens.apply().get()
    assert watch.variables_with(badgr.secrets) == set()


def _drain(account: ConnectedAccount) -> None:
    tasks.drain_refreshes.apply(("badgr",)).get()
