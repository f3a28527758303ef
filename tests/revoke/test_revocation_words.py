"""A revocation tells the truth: what the server said, and what was withdrawn."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Kind, Outcome, Revocation
from connected_accounts.oauth2 import discovery
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect
from connected_accounts.testing import Answer, FakeProvider, connect_account
from connected_accounts.web.revocations import revocations_of
from connected_accounts.web.timeline import timeline
from tests.journeys import connect
from tests.named_server import name_server

pytestmark = pytest.mark.django_db

Fakes = Callable[..., FakeProvider]


@pytest.fixture
def disconnected(settings: Any, fake_provider: Fakes, ada: Any) -> Callable[..., FakeProvider]:
    """An account at a server of one's own that was disconnected, before anybody was asked."""

    def make(options: dict[str, Any] | None = None, **behaviour: Any) -> FakeProvider:
        name_server(settings, "server", options)
        fake = fake_provider("server", **behaviour)
        disconnect(connect_account(fake, ada))
        return fake

    return make


def outcome() -> tuple[str, str]:
    row = Revocation.objects.get()
    return row.outcome, row.last_error


NO_SUCH_TOKEN = [
    Answer(400, {"error": "invalid_request", "error_description": "token not found"}),
    Answer(400, {"error": "invalid_token"}),
    Answer(400, {"error": "unknown_token"}),
    Answer(404, {"error": "token_not_found"}),
    Answer(400, {"message": "The grant does not exist."}),
    Answer(403, body="No such token"),
    Answer(400, {"errors": [{"detail": "Token has been revoked"}]}),
]


@pytest.mark.parametrize("answer", NO_SUCH_TOKEN, ids=lambda a: str(a.json or a.body))
def test_what_is_said_of_a_made_up_token_too_means_gone(
    disconnected: Callable[..., FakeProvider], answer: Answer
) -> None:
    fake = disconnected()
    fake.script("revocation", answer, answer)
    revoke_pending()
    assert outcome() == (Outcome.ALREADY_GONE, "")
    token, made_up = (sent.fields["token"] for sent in fake.sent_to("revocation"))
    assert token in fake.secrets
    assert made_up not in fake.secrets


def test_a_yes_that_proves_nothing_is_not_called_withdrawn(
    disconnected: Callable[..., FakeProvider], client_of_ada: Client
) -> None:
    fake = disconnected({"revocation_confirms": False})
    revoke_pending()
    assert outcome() == (Outcome.UNCONFIRMED, "")
    row = Revocation.objects.get()
    assert (row.token, row.next_attempt_at) == (None, None)
    assert len(fake.sent_to("revocation")) == 1
    [line] = revocations_of([row.owner_key], timezone.now())
    assert (line.by_hand, "does not tell" in line.words) == (True, True)
    assert "was withdrawn" not in client_of_ada.get("/connections/").content.decode()
    whose = {"owner_key": row.owner_key, "provider": row.provider, "subject": row.subject}
    told = timeline(ConnectedAccount(**whose))[0]
    assert (told.kind, told.mood, "does not tell" in told.words) == (Kind.REVOKED, "neutral", True)


def test_a_token_that_is_quoted_makes_no_difference(
    disconnected: Callable[..., FakeProvider],
) -> None:
    fake = disconnected()

    def quoting(seen: Any) -> Answer:
        return Answer(
            400, {"error": "invalid_request", "hint": f"unknown token {seen.fields['token']}"}
        )

    fake._dialect.revocation = quoting  # type: ignore[method-assign]
    revoke_pending()
    assert outcome() == (Outcome.ALREADY_GONE, "")
    assert "canary" not in str(Event.objects.values_list("detail", flat=True))


OTHERS: list[tuple[list[Answer], str, int]] = [
    # It says another thing of one that never was: then it knows ours, and does not want to.
    (
        [Answer(400, {"error": "token_invalid_here"}), Answer(200)],
        Outcome.PENDING,
        2,
    ),
    # Nothing is said of tokens: it may be the request that is wrong.
    ([Answer(400, {"error": "invalid_request"})], Outcome.PENDING, 1),
    ([Answer(400)], Outcome.PENDING, 1),
    ([Answer(400, {"error": "invalid token_type_hint"})], Outcome.PENDING, 1),
    ([Answer(401, {"error": "invalid_client"})], Outcome.PENDING, 1),
    ([Answer(429, {"error": "token not found"})], Outcome.PENDING, 1),
    ([Answer(503, {"error": "token not found"})], Outcome.PENDING, 1),
    ([Answer(404), Answer(404)], Outcome.UNSUPPORTED, 2),
]


@pytest.mark.parametrize(("answers", "expected", "calls"), OTHERS)
def test_what_proves_nothing_is_not_taken_for_gone(
    disconnected: Callable[..., FakeProvider], answers: list[Answer], expected: str, calls: int
) -> None:
    fake = disconnected()
    fake.script("revocation", *answers)
    revoke_pending()
    assert outcome()[0] == expected
    assert len(fake.sent_to("revocation")) == calls


def test_declared_words_need_no_second_call(disconnected: Callable[..., FakeProvider]) -> None:
    fake = disconnected({"already_revoked_text": "weg"})
    fake.script("revocation", Answer(400, {"error": "Token ist WEG"}))
    revoke_pending()
    assert outcome() == (Outcome.ALREADY_GONE, "")
    assert len(fake.sent_to("revocation")) == 1


def test_an_access_token_withdrawn_beside_a_refresh_token_that_cannot_be_is_not_the_end(
    disconnected: Callable[..., FakeProvider],
) -> None:
    fake = disconnected()
    fake.script("revocation", Answer(401, {"error": "unsupported_token_type"}))
    revoke_pending()
    assert [sent.fields["token_type_hint"] for sent in fake.sent_to("revocation")] == [
        "refresh_token",
        "access_token",
    ]
    assert outcome() == (Outcome.UNSUPPORTED, "")


def test_where_there_is_an_access_token_alone_it_is_the_end(
    disconnected: Callable[..., FakeProvider],
) -> None:
    disconnected(omit_refresh_token=True)
    revoke_pending()
    assert outcome() == (Outcome.REVOKED, "")


# --- What people read


@pytest.mark.parametrize("known", ["endpoints", "issuer"])
def test_nothing_is_being_withdrawn_where_there_is_no_way_to(
    settings: Any, fake_provider: Fakes, ada: Any, client_of_ada: Client, known: str
) -> None:
    options: dict[str, Any] = {"revocation_endpoint": None}
    if known == "issuer":
        options["issuer"] = "https://server.example"
        told = {"issuer": "https://server.example"}
        discovery.cached_document("issuer:https://server.example", lambda: (told, 60.0))
    name_server(settings, "server", options)
    account = connect_account(fake_provider("server"), ada)
    asked = client_of_ada.get(f"/connections/{account.pk}/disconnect/").content.decode()
    assert "offers no way to withdraw" in asked
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    page = client_of_ada.get("/connections/").content.decode()
    assert "is being withdrawn" not in page
    assert "offers no way to withdraw" in page


HISTORY = {
    Outcome.REVOKED: "The permission was withdrawn at the service.",
    Outcome.ALREADY_GONE: "The service had ended the permission already.",
    Outcome.UNSUPPORTED: "The service offers no way to withdraw the permission from here.",
}


@pytest.mark.parametrize("ended", HISTORY)
def test_the_history_says_withdrawn_only_where_it_was(
    client_of_ada: Client, badgr: FakeProvider, ended: Outcome
) -> None:
    disconnect(connect(client_of_ada, badgr))
    if ended is Outcome.ALREADY_GONE:
        badgr.script("revocation", Answer(400, {"error": "invalid_grant"}))
    elif ended is Outcome.UNSUPPORTED:
        badgr.script("revocation", Answer(404), Answer(404))
    revoke_pending()
    account: ConnectedAccount = connect(client_of_ada, badgr)
    history = client_of_ada.get(f"/connections/{account.pk}/history/").content.decode()
    assert {words for words in HISTORY.values() if words in history} == {HISTORY[ended]}
