"""Starting an authorization: what the button does, and what nothing else can make it do."""

import re

import pytest
from django.test import Client

from connected_accounts.connect.authorization import VERIFIER_PURPOSE
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.oauth2.pkce import code_challenge
from connected_accounts.sealing import unseal
from tests.journeys import connect, query_of, start

pytestmark = pytest.mark.django_db

CONNECT = "/connections/badgr/connect/"


def test_get_asks_and_starts_nothing(client_of_ada: Client) -> None:
    response = client_of_ada.get(CONNECT)
    assert response.status_code == 200
    assert "See the badges in your backpack" in response.content.decode()
    assert not AuthorizationRequest.objects.exists()
    assert "connected_accounts" not in response.cookies


def test_post_without_csrf_token_is_refused(ada) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(CONNECT).status_code == 403
    assert not AuthorizationRequest.objects.exists()


def test_post_leaves_for_the_provider_with_303(client_of_ada: Client) -> None:
    query = query_of(start(client_of_ada))
    row = AuthorizationRequest.objects.get()
    verifier = unseal(row.code_verifier, purpose=VERIFIER_PURPOSE, bound_to=row.nonce_digest)
    assert query == {
        "response_type": "code",
        "client_id": "badgr-client",
        "redirect_uri": "http://testserver/connections/badgr/callback/",
        "scope": "r:profile r:backpack",
        "state": query["state"],
        "code_challenge": code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{20,}", query["state"])


def test_nothing_else_in_the_request_changes_the_authorization_url(client_of_ada: Client) -> None:
    plain = query_of(start(client_of_ada))
    meddled = query_of(
        start(
            client_of_ada,
            redirect_uri="https://evil.example/",
            state="x",
            prompt="none",
            client_id="other",
            code_challenge="x",
            response_type="token",
        )
    )
    for name in ("state", "code_challenge"):
        plain.pop(name), meddled.pop(name)
    assert meddled == plain


def test_the_cookie_is_ours_http_only_lax_and_serves_all_flows(client_of_ada: Client) -> None:
    start(client_of_ada)
    cookie = client_of_ada.cookies["connected_accounts_token"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["max-age"] == 600
    first = cookie.value
    start(client_of_ada)
    assert client_of_ada.cookies["connected_accounts_token"].value == first


def test_over_https_the_cookie_is_secure_and_host_bound(client_of_ada: Client) -> None:
    response = client_of_ada.post(CONNECT, secure=True)
    cookie = response.cookies["__Host-connected_accounts_token"]
    assert (cookie["secure"], cookie["domain"], cookie["path"]) == (True, "", "/")


def test_neither_state_nor_cookie_tell_anything(client_of_ada: Client, ada) -> None:
    query = query_of(start(client_of_ada, next="/secret-page/"))
    row = AuthorizationRequest.objects.get()
    seen = query["state"] + client_of_ada.cookies["connected_accounts_token"].value
    for private in (ada.username, ada.email, "secret-page", row.nonce_digest, str(ada.pk) + ":"):
        assert private not in seen
    assert query["state"].split(".")[0] not in row.nonce_digest


def test_a_forged_host_does_not_change_the_redirect_uri(client_of_ada: Client, settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {
        "REDIRECT_BASE_URL": "https://app.example.org"
    }
    response = client_of_ada.post(CONNECT, headers={"host": "evil.example"})
    query = query_of(response["Location"])
    assert query["redirect_uri"] == "https://app.example.org/connections/badgr/callback/"


def test_an_optional_scope_can_be_asked_for(client_of_ada: Client, provider_settings) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    query = query_of(start(client_of_ada, scope=["rw:backpack"]))
    assert query["scope"] == "r:profile r:backpack rw:backpack"


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_scope_the_site_does_not_use_is_refused(client_of_ada: Client, method: str) -> None:
    response = getattr(client_of_ada, method)(f"{CONNECT}?scope=rw:issuer")
    assert response.status_code == 400
    assert not AuthorizationRequest.objects.exists()


def test_an_unknown_provider_is_404(client_of_ada: Client) -> None:
    for way in (client_of_ada.get, client_of_ada.post):
        assert way("/connections/nobody/connect/").status_code == 404
    assert client_of_ada.get("/connections/nobody/callback/").status_code == 404


def test_a_badly_configured_provider_is_a_page_and_hidden_from_the_list(
    client_of_ada: Client, provider_settings
) -> None:
    provider_settings("badgr", CLIENT_ID="")
    assert client_of_ada.get(CONNECT).status_code == 503
    assert "not ready yet" in client_of_ada.get(CONNECT).content.decode()
    page = client_of_ada.get("/connections/").content.decode()
    assert "Connect to BitBadges" in page
    assert "Connect to Badgr" not in page


def test_signed_out_users_go_to_login_and_come_back(client: Client) -> None:
    response = client.post(CONNECT, {"next": "/after/", "scope": "r:profile"})
    assert response.status_code == 303
    assert response["Location"] == (
        "/accounts/login/?next=/connections/badgr/connect/%3Fnext%3D%252Fafter%252F"
        "%26scope%3Dr%253Aprofile"
    )
    for address in ("", "badgr/connect/", "1/reconnect/", "1/disconnect/", "badgr/callback/?x=1"):
        response = client.get(f"/connections/{address}")
        assert response.status_code == 303
        assert response["Location"].startswith("/accounts/login/?next=/connections/")


def test_the_endpoints_own_query_is_kept(client_of_ada: Client, provider_settings) -> None:
    provider_settings(
        "badgr",
        OPTIONS={
            "authorization_endpoint": "https://badgr.com/authorize?tenant=a%20b&state=fixed",
            "authorization_params": {"prompt": "consent"},
        },
    )
    query = query_of(start(client_of_ada))
    assert query["tenant"] == "a b"
    assert query["prompt"] == "consent"
    assert query["state"] != "fixed"


def test_an_empty_list_of_scopes_sends_none_and_an_absent_one_the_default(
    client_of_ada: Client, provider_settings
) -> None:
    provider_settings("bitbadges", SCOPES=[])
    assert "scope" not in query_of(start(client_of_ada, "bitbadges"))
    page = client_of_ada.get("/connections/bitbadges/connect/").content.decode()
    assert "At BitBadges you choose what this site may do." in page
    provider_settings("bitbadges", SCOPES=None)
    assert query_of(start(client_of_ada, "bitbadges"))["scope"] == "readProfile"


def test_every_start_has_its_own_state_verifier_and_challenge(client_of_ada: Client) -> None:
    queries = [query_of(start(client_of_ada)) for _ in range(20)]
    for name in ("state", "code_challenge"):
        assert len({query[name] for query in queries}) == 20


def test_reconnect_keeps_the_optional_scopes_the_account_had(
    client_of_ada: Client, badgr, provider_settings
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    account = connect(client_of_ada, badgr, scope=["rw:backpack"])
    response = client_of_ada.post(f"/connections/{account.pk}/reconnect/")
    assert query_of(response["Location"])["scope"] == "r:profile r:backpack rw:backpack"


def test_another_users_account_is_as_unknown_as_one_that_is_not(
    client_of_ada: Client, client_of_bob: Client, badgr
) -> None:
    account = connect(client_of_ada, badgr)
    for action in ("reconnect", "disconnect"):
        for way in (client_of_bob.get, client_of_bob.post):
            assert way(f"/connections/{account.pk}/{action}/").status_code == 404
            assert way(f"/connections/{account.pk + 999}/{action}/").status_code == 404
    assert ConnectedAccount.objects.get() == account
