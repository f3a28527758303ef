"""A person's identity token, and the assertion that the sign-in gives for it, are in no sink: one
walk through their life and their failures, then a look into every sink."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import StringIO
from itertools import count, product
from typing import Any

import pytest
from django.core import mail
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import Client

from connected_accounts import tasks
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.provider_state.pauses import resume
from connected_accounts.secret import Secret
from connected_accounts.services import (
    connect_directly,
    disconnect,
    get_access_token,
    get_session,
    refresh,
)
from connected_accounts.testing import CANARY
from connected_accounts.tokens import identity_assertion
from tests.journeys import expire
from tests.mcp.guarded import Guarded
from tests.mcp.test_identity_assertion import PING, configure, identity_token
from tests.sealing.test_no_secret_outside import (
    note_admin,
    note_copies,
    note_tasks,
    note_templates,
    sinks,
)
from tests.sinks import Sinks, note_answer, note_database, note_error

__all__ = ["configure", "sinks"]
pytestmark = pytest.mark.django_db

JSON: dict[str, Any] = {"content_type": "application/json"}
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
# Of the sign-in, which is asked for an assertion, and of the server, which is handed it.
REFUSALS: list[tuple[int, Any, dict[str, str]]] = [
    (502, b"<html>", {}),
    (200, b"not json", {}),
    (200, {"access_token": "", "issued_token_type": ID_JAG}, {}),
    (200, {"access_token": f"{CANARY}odd", "issued_token_type": "x", "token_type": "mac"}, {}),
    (401, {"error": "invalid_client"}, {}),
    (400, {"error": "invalid_grant"}, {}),
    (400, {"error": f"{CANARY}echoed", "error_description": f"{CANARY}echoed"}, {}),
]


class People:
    """Persons of the organisation: each connect brings an identity token that was never seen."""

    def __init__(self, guarded: Guarded, user: Any) -> None:
        self.guarded, self.user, self.turn = guarded, user, count()
        self.shown: set[str] = set()

    def values(self, *, good: bool = True) -> dict[str, str]:
        token = identity_token(name=f"{CANARY}{next(self.turn)}")
        self.shown.add(token)
        if good:
            self.guarded.people.append(token)
        return {"server": self.guarded.server, "id_token": token}

    def connect(self, **kwargs: Any) -> ConnectedAccount:
        made, _ = connect_directly(user=self.user, provider="mcp", values=self.values(), **kwargs)
        return made

    def secrets(self) -> set[str]:
        """All that was shown or given; of an identity token each part, as it has no secret end."""
        asked = self.guarded.asked("/token")
        found = {str(one.body["assertion"]) for one in asked if "assertion" in one.body}
        return found | self.shown | {*self.guarded.grants} | {"secret-at-sign-in"}


@pytest.fixture
def people(sinks: Sinks, configure: Callable[[], None], guarded: Guarded, ada: Any) -> People:
    configure()  # after the census has set its own
    return People(guarded, ada)


Fails = Callable[[Callable[[], Any]], None]


def live(people: People, client: Client, note: Callable[[Any], None], fails: Fails) -> None:
    """Connect, refresh, use, disconnect: each as it should be, and with each failure."""
    guarded, page = people.guarded, "/connections/mcp/connect/"
    api = "/api/connections/providers/mcp/connect/"
    note(client.get(page))
    for good in (True, False):
        note(client.post(page, people.values(good=good)))
        note(client.post(api, {"values": people.values(good=good)}, **JSON))
    note(client.post(page, {**people.values(), "server": "https://10.0.0.1/"}))
    for path, refusal in product(("/sign-in/token", "/token"), REFUSALS):
        guarded.answers[path] = refusal
        note(client.post(page, people.values()))
        note(client.post(api, {"values": people.values()}, **JSON))
        fails(people.connect)
        del guarded.answers[path]
        resume("mcp")
        account = people.connect()
        expire(account)
        guarded.answers[path] = refusal
        fails(partial(refresh, account))
        fails(partial(get_access_token, account))
        del guarded.answers[path]
        resume("mcp")
    account = people.connect(account=people.connect())
    get_session(account).post(guarded.server, json=PING).raise_for_status()
    note(client.post(f"/connections/{account.pk}/test/"))
    fails(lambda: get_session(account).get("https://evil.example/"))


def look_everywhere(
    people: People, sinks: Sinks, client: Client, django_user_model: Any, settings: Any
) -> None:
    account = people.connect()
    note_templates(sinks, ConnectedAccount.objects.with_token().get(pk=account.pk), settings)
    note_tasks(sinks, account)
    note_database(sinks)
    note_copies(sinks)
    for address in ("connections/", f"connections/{account.pk}/history/"):
        note_answer(sinks, client.get(f"/{address}"))
        note_answer(sinks, client.get(f"/api/{address}"))
    for arguments in (["check"], ["check_provider", "mcp"], ["connections_status"]):
        out = StringIO()
        with suppress(SystemExit, CommandError):
            call_command(*arguments, stdout=out, stderr=out)
        sinks.add("commands", out.getvalue())
    note_admin(sinks, django_user_model, account)
    disconnect(people.connect())
    tasks.revoke_pending_tokens.apply().get()
    note_database(sinks)
    sinks.add("mail", *(message.message() for message in mail.outbox))
    sinks.add("cache", vars(caches["default"]))


def let_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the app show both, each in one way that a change of its code could."""
    asked, life = identity_assertion._assertion, identity_assertion._life_of

    def logged(*args: Any) -> Secret:
        made = asked(*args)
        logging.getLogger("connected_accounts").debug("sends %s", made.reveal())
        return made

    def telling(id_token: Secret) -> Any:
        logging.getLogger("connected_accounts").debug("ends: %s", id_token.reveal())
        return life(id_token)

    monkeypatch.setattr(identity_assertion, "_assertion", logged)
    monkeypatch.setattr(identity_assertion, "_life_of", telling)


@pytest.mark.parametrize("leaks", [False, True], ids=["as it is", "let out"])
def test_no_identity_token_and_no_assertion_is_seen_outside(
    sinks: Sinks,
    people: People,
    client_of_ada: Client,
    django_user_model: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    leaks: bool,
) -> None:
    flows = 0

    def fails(work: Callable[[], Any]) -> None:
        nonlocal flows
        flows += 1
        with pytest.raises(ConnectedAccountsError) as caught:
            work()
        note_error(sinks, caught.value)

    if leaks:
        let_out(monkeypatch)
    live(people, client_of_ada, lambda answer: note_answer(sinks, answer), fails)
    look_everywhere(people, sinks, client_of_ada, django_user_model, settings)
    secrets = people.secrets()
    assert len(secrets) > 80
    assert {"admin", "logs", "mail", "pages", "Sentry", "database"} <= set(sinks.texts)
    found = sinks.hits(secrets)
    print("\n", len(secrets), " secrets", sinks.report(flows, secrets), sep="")
    if leaks:
        shown = {hit.partition(": ")[2] for hit in found}
        assert any(one[:12] in shown for one in people.shown)
        assert any(
            str(one.body["assertion"])[:12] in shown for one in people.guarded.asked("/token")
        )
        return
    assert found == []
