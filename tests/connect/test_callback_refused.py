"""Coming back from the provider: everything that must not finish an authorization."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import InvalidState
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.oauth2 import state as state_module
from connected_accounts.services import complete_authorization, start_authorization
from connected_accounts.testing import FakeProvider
from tests.journeys import finish, start

pytestmark = pytest.mark.django_db

COOKIE = "connected_accounts_token"


def rows() -> list[Any]:
    """Everything a refused callback must leave as it is."""
    return [
        list(ConnectedAccount.objects.order_by("pk").values()),
        list(AuthorizationRequest.objects.order_by("pk").values()),
    ]


def exchanges(fake: FakeProvider) -> int:
    return len(fake.sent_to("token"))


def test_replaying_a_finished_callback_changes_nothing(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    finish(client_of_ada, params)
    before = rows()
    for _ in range(3):
        response = finish(client_of_ada, params)
        assert response.status_code == 400
        assert "finished already" in response.content.decode()
    assert rows() == before
    assert exchanges(badgr) == 1


def test_an_expired_request_is_refused_and_try_again_keeps_next(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, next="/badges/"), subject="ada")
    AuthorizationRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    before = rows()
    response = finish(client_of_ada, params)
    assert response.status_code == 400
    assert 'href="/connections/badgr/connect/?next=%2Fbadges%2F"' in response.content.decode()
    assert rows() == before
    assert exchanges(badgr) == 0


def test_who_is_so_late_that_the_cookie_has_ended_is_told_so(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    """A browser drops the cookie at the very moment at which its request ends."""
    started: Any = client_of_ada.post("/connections/badgr/connect/", {"next": "/badges/"})
    begun = AuthorizationRequest.objects.get()
    life = (begun.expires_at - begun.created_at).total_seconds()
    assert started.cookies[COOKIE]["max-age"] == life
    params = badgr.authorize(started["Location"], subject="ada")
    AuthorizationRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    del client_of_ada.cookies[COOKIE]
    response = finish(client_of_ada, params)
    assert response.status_code == 400
    assert "a little too long" in response.content.decode()
    assert 'href="/connections/badgr/connect/?next=%2Fbadges%2F"' in response.content.decode()
    assert exchanges(badgr) == 0
    AuthorizationRequest.objects.update(consumed_at=timezone.now())
    assert "finished already" in finish(client_of_ada, params).content.decode()


def test_another_user_is_refused_and_the_owners_flow_stays_usable(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    start(client_of_bob)
    before = rows()
    assert finish(client_of_bob, params).status_code == 403
    # Even with the owner's own cookie.
    client_of_bob.cookies[COOKIE] = client_of_ada.cookies[COOKIE].value
    assert finish(client_of_bob, params).status_code == 403
    assert rows() == before
    assert exchanges(badgr) == 0
    assert finish(client_of_ada, params).status_code == 303


def test_another_browser_of_the_same_user_is_refused(
    client_of_ada: Client, ada: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    other = Client()
    other.force_login(ada)
    assert finish(other, params).status_code == 403
    start(other)
    assert finish(other, params).status_code == 403
    assert exchanges(badgr) == 0
    assert finish(client_of_ada, params).status_code == 303


@pytest.mark.parametrize(
    ("state", "cookie"),
    list(product(["absent", "empty", "null", "wrong", "right"], repeat=2)),
)
def test_only_the_right_state_with_the_right_cookie_passes(
    client_of_ada: Client, badgr: FakeProvider, state: str, cookie: str
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    right = client_of_ada.cookies[COOKIE].value
    values = {"empty": "", "null": "null", "wrong": state_module.new_secret()}
    if state == "absent":
        del params["state"]
    elif state != "right":
        params["state"] = values[state]
    if cookie == "absent":
        del client_of_ada.cookies[COOKIE]
    else:
        client_of_ada.cookies[COOKIE] = values.get(cookie, right)
    response = finish(client_of_ada, params)
    if (state, cookie) == ("right", "right"):
        assert response.status_code == 303
    else:
        assert response.status_code == (403 if state == "right" else 400)
        assert not ConnectedAccount.objects.exists()
        assert exchanges(badgr) == 0


def test_a_state_of_one_provider_is_refused_at_another(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert finish(client_of_ada, params, "bitbadges").status_code == 400
    assert exchanges(badgr) == 0
    assert finish(client_of_ada, params).status_code == 303


@pytest.mark.parametrize(
    "query",
    [
        "code=x&code=y&state={state}",
        "code=x&state={state}&state={state}",
        "code=x&error=access_denied&state={state}",
        "code=a%00b&state={state}",
        "code=a%0d%0ab&state={state}",
        "state={state}",
        "code=&state={state}",
        "code=x",
        "code=x&state={state}x",
        "code=x&state=" + "x" * 9000,
        "code=" + "x" * 9000 + "&state={state}",
        "error=access_denied",
        "",
    ],
)
def test_malformed_answers_are_400_and_leave_the_flow_usable(
    client_of_ada: Client, badgr: FakeProvider, query: str
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    before = rows()
    address = f"/connections/badgr/callback/?{query.format(state=params['state'])}"
    response = client_of_ada.get(address)
    assert response.status_code == 400
    assert "Try again" in response.content.decode()
    assert rows() == before
    assert exchanges(badgr) == 0
    assert finish(client_of_ada, params).status_code == 303


def test_every_changed_character_of_the_state_is_refused(
    client_of_ada: Client, badgr: FakeProvider, unlimited: None
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    good = params["state"]
    for position, character in enumerate(good):
        changed = "A" if character != "A" else "B"
        params["state"] = good[:position] + changed + good[position + 1 :]
        assert finish(client_of_ada, params).status_code == 400
    assert exchanges(badgr) == 0


def test_other_values_this_site_signed_are_no_state(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    nonce = params["state"].split(".")[0]
    for signer in (Signer(), Signer(sep="."), Signer(sep=".", salt="other")):
        response = finish(client_of_ada, params | {"state": signer.sign(nonce)})
        assert response.status_code == 400


def test_head_and_post_do_not_spend_the_state(client_of_ada: Client, badgr: FakeProvider) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert client_of_ada.head("/connections/badgr/callback/", params).status_code == 405
    assert client_of_ada.post("/connections/badgr/callback/", params).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client_of_ada.cookies
    assert strict.post("/connections/badgr/callback/", params).status_code == 405
    assert finish(client_of_ada, params).status_code == 303


def test_settings_that_changed_meanwhile_end_the_flow(
    client_of_ada: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    provider_settings("badgr", OPTIONS={"token_endpoint": "https://elsewhere.example/token"})
    assert finish(client_of_ada, params).status_code == 400
    assert exchanges(badgr) == 0


def test_a_key_that_was_lost_meanwhile_ends_the_flow(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    settings.FIELD_ENCRYPTION_KEY = ["YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="]
    assert finish(client_of_ada, params).status_code == 400
    assert exchanges(badgr) == 0


@pytest.mark.parametrize("secret", ["my-browser-secret", "x" * 64, "é"])
def test_any_browser_secret_binds_a_flow(ada: Any, badgr: FakeProvider, secret: str) -> None:
    url = start_authorization(
        user=ada,
        provider="badgr",
        redirect_uri="https://site.example/callback/",
        browser_secret=secret,
    )
    params = badgr.authorize(url)
    finishing = {"user": ada, "provider": "badgr", "params": params}
    for wrong in ("", "another"):
        with pytest.raises(InvalidState) as caught:
            complete_authorization(browser_secret=wrong, **finishing)
        assert caught.value.code == "other_browser"
    assert complete_authorization(browser_secret=secret, **finishing).created


def test_without_a_browser_secret_nothing_is_started(ada: Any) -> None:
    with pytest.raises(ValueError, match="browser_secret"):
        start_authorization(user=ada, provider="badgr", redirect_uri="x", browser_secret="")
