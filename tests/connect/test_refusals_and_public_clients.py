"""What a server's words in the callback mean, and a client that has no secret."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import AuthorizationRequest, Outcome, Revocation
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import finish, query_of, start
from tests.named_server import name_server

pytestmark = pytest.mark.django_db

PUBLIC = {"token_endpoint_auth_method": "none"}


@pytest.mark.parametrize(
    "word",
    [
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "login_required",
        "user_denied",
    ],
)
def test_a_refusal_in_whatever_word_is_a_calm_page(
    client_of_ada: Client, badgr: FakeProvider, word: str
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    response = finish(client_of_ada, {**params, "error": word})
    assert response.status_code == 200
    assert "You did not connect it" in response.content.decode()


def test_the_page_of_a_refused_request_names_the_option_of_pkce(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    response = finish(client_of_ada, {**params, "error": "invalid_request"})
    assert response.status_code == 502
    assert "code_challenge_method" in response.content.decode()


@pytest.mark.parametrize("scopes", [["openid", "email"], ["email"]])
def test_a_nonce_is_sent_whenever_openid_is_asked_for(
    settings: Any, client_of_ada: Client, fake_provider: Callable[..., FakeProvider], scopes: Any
) -> None:
    name_server(settings, "plainly", SCOPES=scopes)
    fake_provider("plainly")
    asked = query_of(start(client_of_ada, "plainly"))
    assert ("nonce" in asked) is ("openid" in scopes)
    assert AuthorizationRequest.objects.get().oidc_nonce == asked.get("nonce", "")


@pytest.mark.parametrize("body_format", ["form", "json"])
def test_a_public_clients_grant_is_withdrawn(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider], body_format: str
) -> None:
    options = {**PUBLIC, "revocation_request_format": body_format}
    name_server(settings, "public", options, CLIENT_SECRET="")
    fake = fake_provider("public")
    disconnect(connect_account(fake, ada))
    revoke_pending()
    [sent] = fake.sent_to("revocation")
    assert sent.fields["client_id"] == "id"
    assert "client_secret" not in sent.fields
    assert Revocation.objects.get().outcome == Outcome.REVOKED
    assert not fake.grants[0].is_alive


def test_a_declared_bare_revocation_names_no_client(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "bare", {"revocation_auth_method": "bare"})
    fake = fake_provider("bare")
    disconnect(connect_account(fake, ada))
    revoke_pending()
    [sent] = fake.sent_to("revocation")
    assert {"client_id", "client_secret"} & set(sent.fields) == set()
    assert "Authorization" not in sent.headers
    assert Revocation.objects.get().outcome == Outcome.REVOKED
