"""What the callback does when the provider, or the person, says no."""

from typing import Any

import pytest
import requests
from django.db import IntegrityError
from django.test import Client

from connected_accounts.connect import completion
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderState,
    Revocation,
)
from connected_accounts.providers.badgr import Badgr
from connected_accounts.services import disconnect
from connected_accounts.testing import Answer, ConnectionRefused, FakeProvider, Timeout
from tests.journeys import connect, finish, start

pytestmark = pytest.mark.django_db


def page(client: Client, params: dict[str, Any], status: int, alias: str = "badgr") -> str:
    response = finish(client, params, alias)
    assert response.status_code == status
    assert response["Cache-Control"] == "no-store, private"
    text: str = response.content.decode()
    return text


def test_a_refusal_is_a_calm_page(client_of_ada: Client, badgr: FakeProvider) -> None:
    params = badgr.authorize(start(client_of_ada, next="/badges/"), deny=True)
    text = page(client_of_ada, params, 200)
    assert "You did not connect it" in text
    assert "/connections/badgr/connect/?next=%2Fbadges%2F" in text
    assert not ConnectedAccount.objects.exists()


def test_a_refusal_with_a_forged_description_shows_none_of_it(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    hostile = "<script>alert(1)</script>javascript:\u202e"
    text = page(
        client_of_ada,
        {**params, "error_description": hostile, "error_uri": "https://evil.example"},
        200,
    )
    for piece in ("alert(1)", "evil.example", "\u202e"):
        assert piece not in text


@pytest.mark.parametrize(
    "error", ["server_error", "temporarily_unavailable", "invalid_scope", "x<b>"]
)
def test_other_error_answers_are_502_and_pause_nobody(
    client_of_ada: Client, badgr: FakeProvider, error: str
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    assert error not in page(client_of_ada, {**params, "error": error}, 502)


@pytest.mark.parametrize(
    "error", ["invalid_scope", "unauthorized_client", "unsupported_response_type"]
)
def test_what_is_refused_for_good_is_not_to_be_tried_again(
    client_of_ada: Client, badgr: FakeProvider, error: str
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    text = page(client_of_ada, {**params, "error": error}, 502)
    assert "The service does not allow what this site asks for" in text
    assert "Try again" not in text


@pytest.mark.parametrize("name", ["error", "error_description", "iss"])
def test_a_parameter_without_a_value_is_none(
    client_of_ada: Client, badgr: FakeProvider, name: str
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert finish(client_of_ada, {**params, name: ""}).status_code == 303
    params = badgr.authorize(start(client_of_ada), deny=True)
    assert "You did not connect it" in page(client_of_ada, {**params, "code": ""}, 200)


def test_nobody_can_pause_a_provider_by_writing_an_error_into_the_address(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    page(client_of_ada, {**params, "error": "unauthorized_client"}, 502)
    assert not ProviderState.objects.exclude(pause_reason="").exists()


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, body="<html>down</html>"),
        Answer(502, body="<html>bad gateway</html>"),
        Answer(429, json={"error": "slow down"}),
        Timeout(),
        ConnectionRefused(),
        Answer(200, body="<html>captive portal</html>"),
        Answer(200, json={"token_type": "Bearer"}),
        Answer(200, json={"access_token": "", "token_type": "Bearer"}),
        Answer(307, headers={"Location": "https://evil.example/token"}),
    ],
)
def test_a_provider_in_trouble_is_502_and_stores_nothing(
    client_of_ada: Client, badgr: FakeProvider, fault: Any
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    badgr.script("token", fault)
    assert "Try again" in page(client_of_ada, params, 502)
    assert not ConnectedAccount.objects.exists()
    assert not Revocation.objects.exists()


def test_a_code_the_provider_does_not_take_is_400(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    text = page(client_of_ada, {**params, "code": "made-up"}, 400)
    assert "did not accept the answer" in text


def test_rejected_client_credentials_are_told_to_the_admins_once(
    client_of_ada: Client, badgr: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        params = badgr.authorize(start(client_of_ada), subject="ada")
        badgr.script("token", Answer(401, json={"error": "invalid_client"}))
        page(client_of_ada, params, 502)
    assert Event.objects.filter(kind="client_rejected").count() == 1
    assert [r.message for r in caplog.records].count(
        "client credentials rejected: provider=badgr code=invalid_client; check CLIENT_ID and "
        "CLIENT_SECRET"
    ) == 1


@pytest.mark.parametrize(
    "fault",
    [Answer(503, body=""), Answer(200, json={"status": {}, "result": []}), Answer(200, json=[])],
)
def test_a_grant_whose_owner_cannot_be_told_is_withdrawn(
    client_of_ada: Client, badgr: FakeProvider, fault: Any
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    badgr.script("identity", fault)
    page(client_of_ada, params, 502)
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"


def test_a_reconnect_as_another_account_changes_nothing_and_says_so(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr, subject="one")
    before = ConnectedAccount.objects.values().get()
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    text = page(client_of_ada, badgr.authorize(url, subject="two"), 409)
    assert "That was another account" in text
    assert f"/connections/{account.pk}/reconnect/" in text
    assert ConnectedAccount.objects.values().get() == before
    assert Revocation.objects.get().subject == "two"


def test_a_reconnect_as_another_account_that_is_connected_too_leaves_that_one_alone(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges", subject="bb1one")
    connect(client_of_ada, bitbadges, "bitbadges", subject="bb1two")
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    page(client_of_ada, bitbadges.authorize(url, subject="bb1two"), 409, "bitbadges")
    assert not Revocation.objects.exists()


def test_an_account_disconnected_during_its_reconnect_is_connected_anew(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = connect(client_of_ada, badgr)
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    params = badgr.authorize(url, subject="ada")
    exchange = completion.exchange_code

    def exchange_and_disconnect(*args: Any, **kwargs: Any) -> Any:
        disconnect(ConnectedAccount.objects.get(pk=account.pk))
        return exchange(*args, **kwargs)

    monkeypatch.setattr(completion, "exchange_code", exchange_and_disconnect)
    assert finish(client_of_ada, params).status_code == 303
    assert ConnectedAccount.objects.get().pk != account.pk


def test_a_user_deleted_meanwhile_leaves_no_grant_behind(
    client_of_ada: Client, ada: Any, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    exchange = completion.exchange_code

    def exchange_and_delete(*args: Any, **kwargs: Any) -> Any:
        token = exchange(*args, **kwargs)
        type(ada).objects.filter(pk=ada.pk).delete()
        return token

    monkeypatch.setattr(completion, "exchange_code", exchange_and_delete)
    # Within a test's transaction the missing user shows at its end only; in life it is at once.
    monkeypatch.setattr(completion, "store_connection", refuse_to_store)
    page(client_of_ada, params, 400)
    assert Revocation.objects.get().outcome == "pending"


def refuse_to_store(*args: Any) -> None:
    raise IntegrityError("FOREIGN KEY constraint failed")


def test_what_a_backends_hook_trips_over_is_a_page_and_the_grant_is_withdrawn(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trouble in (KeyError("uid"), requests.ReadTimeout("secret"), RuntimeError("secret")):

        def fail(*args: Any, trouble: Exception = trouble) -> None:
            raise trouble

        monkeypatch.setattr(Badgr, "fetch_identity", fail)
        params = badgr.authorize(start(client_of_ada), subject="ada")
        assert "secret" not in page(client_of_ada, params, 502)
    assert Revocation.objects.filter(outcome="pending").count() == 3


def test_a_code_meant_for_another_client_does_not_pause_the_provider_for_all(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    params = bitbadges.authorize(start(client_of_ada, "bitbadges"), subject="bb1")
    answer = Answer(500, json={"errorMessage": "Invalid client ID or redirect URI."})
    bitbadges.script("token", answer)
    page(client_of_ada, params, 502, "bitbadges")
    assert not ProviderState.objects.exclude(pause_reason="").exists()
    assert Event.objects.filter(kind="client_rejected").count() == 1


def test_reconnect_brings_an_account_back_to_life(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    ConnectedAccount.objects.transition(
        status="reconnect_required", reason="revoked", refresh_at=None
    )
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    assert finish(client_of_ada, badgr.authorize(url, subject="ada")).status_code == 303
    account.refresh_from_db()
    assert (account.status, account.reason) == ("active", "")
    assert account.refresh_at is not None


def test_an_exclusive_provider_account_belongs_to_one_user(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    connect(client_of_ada, badgr, subject="shared")
    text = page(client_of_bob, badgr.authorize(start(client_of_bob), subject="shared"), 409)
    assert "in use already" in text
    assert "ada-lovelace" not in text
    assert "ada@" not in text
    assert ConnectedAccount.objects.count() == 1
    # The first user may connect it again.
    connect(client_of_ada, badgr, subject="shared")


def test_without_exclusive_two_users_may_share_a_provider_account(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr, subject="shared")
    connect(client_of_bob, badgr, subject="shared")
    assert ConnectedAccount.objects.count() == 2


def test_the_code_is_spent_once_and_the_request_with_it(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    badgr.script("token", Timeout())
    page(client_of_ada, params, 502)
    page(client_of_ada, params, 400)
    assert AuthorizationRequest.objects.get().consumed_at is not None
    assert len(badgr.sent_to("token")) == 1


@pytest.mark.django_db(transaction=True)
def test_a_failing_receiver_under_atomic_requests_does_not_lose_the_grant(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    from connected_accounts.signals import account_connected

    def fail(**kwargs: Any) -> None:
        raise RuntimeError("the host's receiver")

    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    account_connected.connect(fail)
    try:
        connect(client_of_ada, badgr)
    finally:
        account_connected.disconnect(fail)
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
    assert ConnectedAccount.objects.count() == 1
