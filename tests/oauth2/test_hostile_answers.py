"""What a hostile server puts into addresses and answers is neither shown, logged nor kept."""

import logging
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.services import get_session
from connected_accounts.testing import Answer
from tests.journeys import connect, finish, start
from tests.oauth2.two_servers import EVIL, options, servers

__all__ = ["options", "servers"]  # fixtures

pytestmark = pytest.mark.django_db

# --- What a server says -------------------------------------------------------------------------

HOSTILE = [
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "line\r\nSet-Cookie: a=b",
    "one\nrefused provider=honest owner=user:1 reason=forged",
    "\u202egnihsihp",
    "{{ 7|add:7 }}{% debug %}",
    "x" * 5000,
    "https://evil.example/pay",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_an_error_says_is_neither_shown_nor_logged(
    client_of_ada: Client, servers: Any, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    said = {"error_description": text, "error_uri": text}
    for error in ("access_denied", "server_error", text[:100]):
        answer = {**params, **said, "error": error}
        response = finish(client_of_ada, answer, "honest")
        assert response.status_code in (200, 400, 502)
        assert text[:100] not in response.content.decode()
        params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    ours = [r for r in caplog.records if r.name.startswith("connected_accounts")]
    assert not [r for r in ours if text[:20] in r.getMessage() or "\n" in r.getMessage()]


def test_an_error_without_our_state_closes_nothing_and_says_nothing_of_the_provider(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    for forged in ({}, {"state": "x"}, {"state": params["state"][:-1] + "x"}):
        response = finish(client_of_ada, {"error": "access_denied", **forged}, "honest")
        assert response.status_code == 400
        assert "did not connect" not in response.content.decode()
    assert AuthorizationRequest.objects.get().consumed_at is None
    assert finish(client_of_ada, params, "honest").status_code == 303


def test_more_in_a_token_answer_than_we_asked_for_is_not_kept(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    honest.script(
        "token",
        Answer(
            200,
            json={
                "access_token": "an-access-token",
                "token_type": "bearer",
                "expires_in": 60,
                "client_secret": "echoed",
                "password": "echoed",
                "registration_access_token": "echoed",
            },
        ),
    )
    honest.script("identity", Answer(200, json={"sub": "ada", "email": "ada@x.example"}))
    assert finish(client_of_ada, params, "honest").status_code == 303
    kept = ConnectedAccount.objects.get().open_token()
    assert "echoed" not in str(kept)
    assert set(kept) == {
        "access_token",
        "refresh_token",
        "id_token",
        "token_type",
        "expires_in",
        "refresh_token_expires_in",
        "redirect_uri",
    }


@pytest.mark.parametrize(
    "label", [*HOSTILE[:2], "<img src=x onerror=alert(1)>", "data:text/html,x"]
)
def test_what_a_server_calls_an_account_is_text_on_every_page(
    client_of_ada: Client, servers: Any, django_user_model: Any, label: str
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject=label, label=label)
    assert finish(client_of_ada, params, "honest").status_code == 303
    account = ConnectedAccount.objects.get()
    root = Client()
    root.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    admin = "/admin/connected_accounts/connectedaccount/"
    pages = [
        *(
            client_of_ada.get(f"/connections/{p}")
            for p in ("", f"{account.pk}/disconnect/", f"{account.pk}/reconnect/")
        ),
        *(root.get(f"{admin}{p}") for p in ("", f"{account.pk}/change/", f"{account.pk}/delete/")),
    ]
    for page in pages:
        text = page.content.decode()
        assert page.status_code == 200
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert not re.search(r'(?:href|src)\s*=\s*["\']?\s*(?:javascript|data):', text)


def test_every_page_of_the_callback_loads_only_from_this_site(
    client_of_ada: Client, servers: Any, settings: Any
) -> None:
    honest, _ = servers
    pages = [finish(client_of_ada, {"code": "x"}, "honest")]
    params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    pages.append(finish(client_of_ada, params, "honest"))
    honest.unavailable()
    params = honest.authorize(start(client_of_ada, "honest"))
    pages.append(finish(client_of_ada, params, "honest"))
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    pages.append(finish(Client(), params, "honest"))
    for page in pages:
        loaded = re.findall(r'(?:src|href|url)\s*=\s*"?([^">]+)', page.content.decode())
        assert loaded
        assert all(urlsplit(link).netloc == "" for link in loaded), loaded
        assert "<script" not in page.content.decode()


def test_the_address_a_person_ends_on_holds_neither_code_nor_state(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest", next="/after/?page=2"), subject="ada")
    target = finish(client_of_ada, params, "honest")["Location"]
    assert target == "/after/?page=2"
    assert not {"code", "state"} & set(parse_qs(urlsplit(target).query))


def test_a_resource_server_that_redirects_to_the_attacker_gets_no_bearer_there(
    client_of_ada: Client, servers: Any
) -> None:
    honest, evil = servers
    account = connect(client_of_ada, honest, "honest")
    honest.script("api", Answer(307, headers={"Location": f"{EVIL}/userinfo"}))
    with pytest.raises(Exception, match="not on the provider's API host"):
        get_session(account).post("/things", data={"a": "b"})
    assert evil.requests == []
