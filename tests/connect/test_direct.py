"""Connecting without a redirect: client credentials and personal tokens, by form."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    ProviderState,
    Revocation,
)
from connected_accounts.refresh.drain import drain
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import Answer, FakeProvider, Timeout
from tests.journeys import expire

pytestmark = pytest.mark.django_db

BACKEND = "connected_accounts.providers.generic.OAuth2"
HOST = "https://machine.example"
ENDPOINTS = {
    "authorization_endpoint": f"{HOST}/authorize",
    "token_endpoint": f"{HOST}/token",
    "userinfo_endpoint": f"{HOST}/me",
    "api_base_url": HOST,
    "name": "Machine",
}
TOKEN = Answer(200, json={"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600})
TOKEN_2 = Answer(200, json={"access_token": "token-2", "token_type": "Bearer", "expires_in": 3600})
ME = Answer(200, json={"sub": "customer-1", "email": "c@example.org"})
REFUSED = Answer(401, json={"error": "invalid_client"})
CREDENTIALS = {"client_id": "mine", "client_secret": "my-secret"}


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> None:
    client = {"BACKEND": BACKEND, "CLIENT_ID": "the-site", "CLIENT_SECRET": "site-secret"}
    machine = {**ENDPOINTS, "grant_type": "client_credentials"}
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {
            "machine": {**client, "OPTIONS": machine},
            "pasted": {
                "BACKEND": BACKEND,
                "OPTIONS": {**ENDPOINTS, "grant_type": "personal_token"},
            },
        }
    }


@pytest.fixture
def machine() -> Iterator[FakeProvider]:
    with FakeProvider("machine") as fake:
        yield fake


@pytest.fixture
def pasted() -> Iterator[FakeProvider]:
    with FakeProvider("pasted") as fake:
        yield fake


def connected(user: Any, fake: FakeProvider) -> ConnectedAccount:
    fake.script("token", TOKEN)
    fake.script("identity", ME)
    values = CREDENTIALS if user is not None else {}
    account, created = connect_directly(user=user, provider="machine", values=values)
    assert created
    fake.requests.clear()
    return account


def stored_token(account: ConnectedAccount) -> str:
    token: str = ConnectedAccount.objects.get(pk=account.pk).open_token()["access_token"]
    return token


# --- The form -----------------------------------------------------------------------------------


def test_the_connect_page_asks_for_the_credentials_and_hides_the_secret(client_of_ada: Client):
    page = client_of_ada.get("/connections/machine/connect/").content.decode()
    assert 'name="client_id"' in page
    assert '<input type="password" name="client_secret"' in page
    assert "Connect to Machine" in client_of_ada.get("/connections/").content.decode()


def test_a_bare_button_leads_to_the_form_without_errors(client_of_ada: Client):
    page = client_of_ada.post("/connections/machine/connect/", {"next": "/there/"}).content.decode()
    assert 'name="client_secret"' in page
    assert "ca-error" not in page
    assert 'value="/there/"' in page


def test_a_person_connects_with_credentials_of_their_own(
    client_of_ada: Client, ada: Any, machine: FakeProvider
):
    machine.script("token", TOKEN)
    machine.script("identity", ME)
    response = client_of_ada.post(
        "/connections/machine/connect/", {**CREDENTIALS, "next": "/there/"}
    )
    assert (response.status_code, response["Location"]) == (303, "/there/")
    account = ConnectedAccount.objects.get()
    assert (account.user, account.subject, account.client_id) == (ada, "customer-1", "mine")
    assert stored_token(account) == "token-1"
    row = ProviderClient.objects.get()
    assert (row.owner_key, row.client_id) == (f"user:{ada.pk}", "mine")
    [sent] = machine.sent_to("token")
    assert sent.fields["grant_type"] == "client_credentials"
    assert sent.fields["client_secret"] == "my-secret"


def test_wrong_credentials_say_so_on_the_form_and_store_nothing(
    client_of_ada: Client, machine: FakeProvider
):
    machine.script("token", REFUSED)
    response = client_of_ada.post("/connections/machine/connect/", CREDENTIALS)
    page = response.content.decode()
    assert response.status_code == 200
    assert "does not accept this" in page
    assert "my-secret" not in page
    assert not ConnectedAccount.objects.exists()
    assert not ProviderClient.objects.exists()
    assert not ProviderState.objects.exclude(paused_until=None).exists()


def test_credentials_whose_token_is_refused_store_nothing(
    client_of_ada: Client, machine: FakeProvider
):
    machine.script("token", TOKEN)
    machine.script("identity", Answer(401, json={"error": "invalid_token"}))
    page = client_of_ada.post("/connections/machine/connect/", CREDENTIALS).content.decode()
    assert "does not accept this" in page
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("outage", [Timeout(), Answer(503, body="<h1>down</h1>")])
def test_an_outage_is_no_fault_of_the_credentials(
    client_of_ada: Client, machine: FakeProvider, outage: Any
):
    machine.script("token", outage)
    response = client_of_ada.post("/connections/machine/connect/", CREDENTIALS)
    assert response.status_code == 502
    assert not ProviderClient.objects.exists()


BAD = ["", "with space", "line\nbreak", "cr\r", "nul\x00", "ü", "x" * 5000]


@pytest.mark.parametrize("secret", BAD)
def test_a_secret_that_cannot_be_sent_is_not_sent(
    client_of_ada: Client, machine: FakeProvider, secret: str
):
    data = {"client_id": "mine", "client_secret": secret}
    response = client_of_ada.post("/connections/machine/connect/", data)
    assert response.status_code == 200
    assert "ca-error" in response.content.decode()
    assert not machine.requests
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("token", ["a token", "line\nbreak", "\nfirst", "nul\x00", "ü", ""])
def test_a_personal_token_that_cannot_be_sent_is_not_sent(
    client_of_ada: Client, pasted: FakeProvider, token: str
):
    response = client_of_ada.post("/connections/pasted/connect/", {"personal_token": token})
    assert response.status_code == 200
    assert "ca-error" in response.content.decode()
    assert not pasted.requests
    with pytest.raises(ConfigurationError, match="personal_token"):
        connect_directly(user=None, provider="pasted", values={"personal_token": token})


def test_the_fields_must_be_exactly_those_of_the_provider(ada: Any, machine: FakeProvider):
    for values in ({}, {"client_id": "x"}, {**CREDENTIALS, "host": "evil.example"}):
        with pytest.raises(ConfigurationError):
            connect_directly(user=ada, provider="machine", values=values)
    with pytest.raises(ConfigurationError):
        connect_directly(user=None, provider="machine", values=CREDENTIALS)
    assert not machine.requests


# --- Renewing -----------------------------------------------------------------------------------


def test_renewing_means_asking_again(ada: Any, machine: FakeProvider):
    account = connected(ada, machine)
    assert account.refresh_at is not None
    machine.script("token", TOKEN_2)
    refresh(account)
    [sent] = machine.sent_to("token")
    assert sent.fields["grant_type"] == "client_credentials"
    assert "refresh_token" not in sent.fields
    assert stored_token(account) == "token-2"


def test_on_use_it_is_renewed_when_asked_for_and_by_no_beat(
    ada: Any, machine: FakeProvider, provider_settings: Any
):
    provider_settings("machine", REFRESH_POLICY="on_use")
    account = connected(ada, machine)
    assert account.refresh_at is None
    expire(account)
    drain("machine")
    assert not machine.requests
    machine.script("token", TOKEN_2)
    assert get_access_token(account) == "token-2"


def test_ahead_it_is_kept_warm_by_beat(ada: Any, machine: FakeProvider):
    account = connected(ada, machine)
    machine.script("token", TOKEN_2)
    assert drain("machine", now=timezone.now() + timedelta(hours=1)).refreshed == 1
    assert stored_token(account) == "token-2"


def test_a_persons_refused_credentials_end_that_connection_and_nothing_else(
    ada: Any, bob: Any, machine: FakeProvider
):
    account, other = connected(ada, machine), connected(bob, machine)
    machine.script("token", REFUSED)
    with pytest.raises(ReauthorizationRequired, match="credentials_rejected"):
        refresh(account)
    assert (account.status, account.reason) == ("reconnect_required", "credentials_rejected")
    assert ProviderState.objects.get(provider="machine").paused_until is None
    for _ in range(3):
        with pytest.raises(ReauthorizationRequired):
            get_access_token(account)
    drain("machine", now=timezone.now() + timedelta(minutes=1))
    assert len(machine.sent_to("token")) == 1
    other.refresh_from_db()
    assert other.status == "active"


def test_the_sites_refused_credentials_are_reported_and_stop_nobody(
    ada: Any, machine: FakeProvider
):
    account = connected(None, machine)
    users = connected(ada, machine)
    machine.script("token", REFUSED)
    with pytest.raises(ClientRejected):
        refresh(account)
    assert (account.status, account.failure_count) == ("active", 1)
    assert Event.objects.filter(kind=Kind.CLIENT_REJECTED).count() == 1
    assert ProviderState.objects.get(provider="machine").paused_until is None
    machine.script("token", TOKEN_2)
    refresh(users)
    assert stored_token(users) == "token-2"


def test_connecting_again_with_a_new_secret_heals_the_account(
    client_of_ada: Client, ada: Any, machine: FakeProvider
):
    account = connected(ada, machine)
    machine.script("token", REFUSED)
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    machine.script("token", TOKEN_2)
    machine.script("identity", ME)
    values = {**CREDENTIALS, "client_secret": "rotated"}
    response = client_of_ada.post(f"/connections/{account.pk}/reconnect/", values)
    assert response.status_code == 303
    account.refresh_from_db()
    assert (account.status, account.reason) == ("active", "")
    assert ProviderClient.objects.count() == 1
    machine.script("token", TOKEN)
    refresh(account)
    assert machine.sent_to("token")[-1].fields["client_secret"] == "rotated"


def test_connecting_again_as_another_customer_changes_nothing(
    client_of_ada: Client, ada: Any, machine: FakeProvider
):
    account = connected(ada, machine)
    machine.script("token", TOKEN_2)
    machine.script("identity", Answer(200, json={"sub": "customer-2"}))
    response = client_of_ada.post(f"/connections/{account.pk}/reconnect/", CREDENTIALS)
    assert response.status_code == 409
    assert stored_token(account) == "token-1"
    assert ConnectedAccount.objects.count() == 1


def test_disconnecting_forgets_a_persons_own_credentials(ada: Any, machine: FakeProvider):
    account = connected(ada, machine)
    disconnect(account)
    assert Revocation.objects.get().outcome == "pending"
    revoke_pending_tokens.apply()
    assert Revocation.objects.get().outcome == "unsupported"
    assert not ProviderClient.objects.exists()


# --- Personal tokens ----------------------------------------------------------------------------


def paste(client: Client, fake: FakeProvider, token: str = "pasted-token") -> ConnectedAccount:
    fake.script("identity", ME)
    response = client.post("/connections/pasted/connect/", {"personal_token": token})
    assert response.status_code == 303, response.content
    return ConnectedAccount.objects.get()


def test_a_personal_token_is_proved_by_one_call_and_never_refreshed(
    client_of_ada: Client, pasted: FakeProvider
):
    account = paste(client_of_ada, pasted)
    assert [request.endpoint for request in pasted.requests] == ["identity"]
    assert (account.expires_at, account.refresh_at) == (None, None)
    assert get_access_token(account) == "pasted-token"
    with pytest.raises(ReauthorizationRequired, match="no_refresh_token"):
        refresh(account)
    assert account.status == "active"
    assert len(pasted.requests) == 1


def test_a_personal_token_that_is_refused_is_not_stored(
    client_of_ada: Client, pasted: FakeProvider
):
    pasted.script("identity", Answer(401))
    page = client_of_ada.post("/connections/pasted/connect/", {"personal_token": "wrong"})
    assert "does not accept this" in page.content.decode()
    assert not ConnectedAccount.objects.exists()


def test_a_personal_token_that_died_needs_the_person_after_one_more_look(
    client_of_ada: Client, pasted: FakeProvider
):
    account = paste(client_of_ada, pasted)
    pasted.script("api", Answer(401))
    pasted.script("identity", Answer(401))
    with pytest.raises(ReauthorizationRequired, match="credentials_rejected"):
        get_session(account).get("things")
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "credentials_rejected")
    sent = len(pasted.requests)
    with pytest.raises(ReauthorizationRequired):
        get_session(account).get("things")
    assert len(pasted.requests) == sent


@pytest.mark.parametrize("look", [ME, Answer(503), Timeout()])
def test_one_refused_call_is_no_proof_that_a_token_died(
    client_of_ada: Client, pasted: FakeProvider, look: Any
):
    account = paste(client_of_ada, pasted)
    pasted.script("api", Answer(401))
    pasted.script("identity", look)
    with pytest.raises(ReauthorizationRequired, match="no_refresh_token"):
        get_session(account).get("things")
    account.refresh_from_db()
    assert account.status == "active"


def test_nothing_is_stored_when_the_provider_does_not_answer(ada: Any, machine: FakeProvider):
    machine.script("token", Timeout())
    with pytest.raises(ProviderUnavailable):
        connect_directly(user=ada, provider="machine", values=CREDENTIALS)
    assert not ConnectedAccount.objects.exists()


# --- Scopes -------------------------------------------------------------------------------------


def test_a_scope_that_is_asked_for_besides_is_sent_and_kept(
    client_of_ada: Client, machine: FakeProvider, provider_settings: Any
):
    provider_settings("machine", SCOPES=["read"], OPTIONAL_SCOPES=["write"])
    machine.script("token", TOKEN)
    machine.script("identity", ME)
    data = {**CREDENTIALS, "scope": "write"}
    assert client_of_ada.post("/connections/machine/connect/", data).status_code == 303
    assert machine.sent_to("token")[-1].fields["scope"] == "read write"
    assert ConnectedAccount.objects.get().scopes_requested == ["read", "write"]


@pytest.mark.parametrize("alias", ["machine", "pasted"])
def test_a_scope_that_the_site_does_not_use_is_refused_before_anything_is_sent(
    client_of_ada: Client, machine: FakeProvider, alias: str
):
    values = {"machine": CREDENTIALS, "pasted": {"personal_token": "x"}}[alias]
    data = {**values, "scope": "nope"}
    assert client_of_ada.post(f"/connections/{alias}/connect/", data).status_code == 400
    assert not machine.requests
    assert not ConnectedAccount.objects.exists()


def test_a_client_id_that_cannot_be_sent_is_a_fault_of_the_form(
    client_of_ada: Client, settings: Any
):
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {"bits": {"BACKEND": "connected_accounts.providers.bits.Bits"}}
    }
    data = {"client_id": "a:b", "client_secret": "secret"}
    with FakeProvider("bits") as bits:
        response = client_of_ada.post("/connections/bits/connect/", data)
    assert response.status_code == 200
    assert "colon" in response.content.decode()
    assert not bits.requests
