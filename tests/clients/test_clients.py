"""Client credentials that an admin enters: precedence, fall-back, and what staff see of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts.clients.credentials import client_in_use, clients_of, dependents_of
from connected_accounts.exceptions import (
    ClientRejected,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    ProviderState,
)
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect, finish, query_of, set_row, start

pytestmark = pytest.mark.django_db

CLIENTS = "/admin/connected_accounts/providerclient/"
REFUSED = Answer(401, json={"error": "invalid_client"})


@pytest.fixture
def client_of_admin(django_user_model: Any) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    return client


def enter(client: Client, client_id: str, secret: str, provider: str = "badgr") -> ProviderClient:
    """As an admin does, in the admin."""
    data = {"provider": provider, "client_id": client_id, "new_secret": secret}
    response = client.post(f"{CLIENTS}add/", data)
    assert response.status_code == 302, response.content
    return ProviderClient.objects.latest("pk")


def secrets_of(client_id: str) -> list[str]:
    found = clients_of(get_provider("badgr"), client_id, "user:1")
    return [client.client_secret.reveal() for client in found]


def body_secrets(fake: FakeProvider) -> list[str]:
    return [request.fields["client_secret"] for request in fake.sent_to("token")]


def test_what_an_admin_enters_goes_before_settings(client_of_admin: Client, client_of_ada: Client):
    assert query_of(start(client_of_ada))["client_id"] == "badgr-client"
    enter(client_of_admin, "entered", "entered-secret")
    assert query_of(start(client_of_ada))["client_id"] == "entered"
    enter(client_of_admin, "newest", "newest-secret")
    assert query_of(start(client_of_ada))["client_id"] == "newest"


def test_a_provider_without_a_client_id_waits_for_the_admin(
    client_of_admin: Client, client_of_ada: Client, provider_settings: Any
):
    provider_settings("badgr", CLIENT_ID="", CLIENT_SECRET="")
    assert "Connect to Badgr" not in client_of_ada.get("/connections/").content.decode()
    assert client_of_ada.get("/connections/badgr/connect/").status_code == 503
    assert client_of_ada.post("/connections/badgr/connect/").status_code == 503

    enter(client_of_admin, "entered", "entered-secret")
    assert "Connect to Badgr" in client_of_ada.get("/connections/").content.decode()
    assert query_of(start(client_of_ada))["client_id"] == "entered"


def test_an_open_authorization_ends_with_the_client_it_began_with(
    client_of_admin: Client, client_of_ada: Client, badgr: FakeProvider
):
    params = badgr.authorize(start(client_of_ada))
    enter(client_of_admin, "entered", "entered-secret")

    assert finish(client_of_ada, params).status_code == 303
    assert ConnectedAccount.objects.get().client_id == "badgr-client"


def test_accounts_of_the_old_client_go_on_being_refreshed_with_it(
    client_of_admin: Client, account: ConnectedAccount, badgr: FakeProvider
):
    enter(client_of_admin, "another", "another-secret")

    refresh(account)

    assert account.status == "active"
    assert body_secrets(badgr)[-1] == "badgr-client-secret"
    revoked = account
    revoked.delete()
    revoke_pending_tokens.apply()
    assert badgr.sent_to("revocation")[-1].fields["client_id"] == "badgr-client"


def test_a_new_secret_is_tried_first_and_the_old_one_if_it_is_refused(
    client_of_admin: Client, account: ConnectedAccount, badgr: FakeProvider
):
    row = enter(client_of_admin, "badgr-client", "too-new")
    badgr.script("token", REFUSED)

    refresh(account)

    assert body_secrets(badgr)[-2:] == ["too-new", "badgr-client-secret"]
    assert account.status == "active"
    row.refresh_from_db()
    assert row.refused_at is not None
    assert ProviderState.objects.get(provider="badgr").paused_until is None
    assert Event.objects.filter(kind=Kind.CLIENT_REJECTED).count() == 1


def test_the_provider_is_paused_when_every_pair_is_refused_for_two_accounts(
    client_of_admin: Client, account: ConnectedAccount, client_of_bob: Client, badgr: FakeProvider
):
    of_bob = connect(client_of_bob, badgr, subject="bob")
    enter(client_of_admin, "badgr-client", "wrong-too")
    before = len(badgr.sent_to("token"))
    badgr.script("token", *[REFUSED] * 4)

    with pytest.raises(ClientRejected):
        refresh(account)
    assert ProviderState.objects.get(provider="badgr").paused_until is None
    with pytest.raises(ClientRejected):
        refresh(of_bob)

    assert {account.status, of_bob.status} == {"active"}
    assert ProviderState.objects.get(provider="badgr").paused_until is not None
    assert len(badgr.sent_to("token")) == before + 4


def test_without_any_pair_of_its_client_an_account_must_be_connected_again(
    client_of_admin: Client, account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
):
    provider_settings("badgr", CLIENT_ID="changed")
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert account.reason == "credentials_rejected"
    assert len(badgr.sent_to("token")) == 1


def test_a_pair_whose_key_is_lost_is_no_reason_to_reconnect(
    client_of_admin: Client,
    client_of_ada: Client,
    badgr: FakeProvider,
    settings: Any,
    provider_settings: Any,
):
    account = connect(client_of_ada, badgr)
    row = enter(client_of_admin, "badgr-client", "sealed")
    provider_settings("badgr", CLIENT_ID="")
    damaged = ProviderClient.objects.get(pk=row.pk)
    good = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = ["YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="]
    with pytest.raises(Undecryptable):
        refresh(account)
    with pytest.raises(Undecryptable):
        client_in_use(get_provider("badgr"))
    settings.FIELD_ENCRYPTION_KEY = good

    account.refresh_from_db()
    assert account.status == "active"
    assert damaged.client_id == "badgr-client"


def test_how_many_accounts_still_need_a_pair(
    client_of_admin: Client, client_of_ada: Client, badgr: FakeProvider
):
    account = connect(client_of_ada, badgr)
    first = enter(client_of_admin, "badgr-client", "badgr-client-secret")
    assert dependents_of(first) == 1
    # A newer secret of the same client: those that have had a token since need it no more.
    second = enter(client_of_admin, "badgr-client", "second")
    set_row(account, connected_at=timezone.now() - timedelta(days=1))
    assert (dependents_of(first), dependents_of(second)) == (1, 1)
    set_row(account, refreshed_at=timezone.now())
    assert (dependents_of(first), dependents_of(second)) == (0, 1)
    # Unless the newer one is refused.
    ProviderClient.objects.filter(pk=second.pk).update(refused_at=timezone.now())
    assert dependents_of(first) == 1
    assert dependents_of(enter(client_of_admin, "unused", "x")) == 0

    page = client_of_admin.get(f"{CLIENTS}{first.pk}/delete/").content.decode()
    assert "1 account still needs this client" in page
    assert (
        "accounts that need it"
        in client_of_admin.get(f"{CLIENTS}{first.pk}/change/").content.decode().lower()
    )
    client_of_admin.post(f"{CLIENTS}{first.pk}/delete/", {"post": "yes"})
    assert secrets_of("badgr-client") == ["second", "badgr-client-secret"]


def test_a_secret_is_rotated_and_no_refresh_fails_on_the_way(
    client_of_admin: Client, account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
):
    badgr.add_client("badgr-client", "newer")  # made at the provider, beside the old one
    enter(client_of_admin, "badgr-client", "newer")
    refresh(account)
    assert body_secrets(badgr)[-1] == "newer"
    provider_settings("badgr", CLIENT_ID="", CLIENT_SECRET="")  # taken out of settings
    badgr.remove_client("badgr-client", "badgr-client-secret")  # and ended at the provider
    refresh(account)
    assert (account.status, account.failure_count) == ("active", 0)
    assert not Event.objects.filter(kind=Kind.CLIENT_REJECTED).exists()


def test_where_one_secret_can_be_alive_a_refresh_by_hand_with_the_new_one_ends_the_pause(
    client_of_admin: Client, account: ConnectedAccount, client_of_bob: Client, badgr: FakeProvider
):
    of_bob = connect(client_of_bob, badgr, subject="bob")
    badgr.add_client("badgr-client", "newer")
    badgr.remove_client("badgr-client", "badgr-client-secret")
    for refused in (account, of_bob):
        with pytest.raises(ClientRejected):
            refresh(refused)
        assert refused.status == "active"
    assert ProviderState.objects.get(provider="badgr").paused_until is not None
    enter(client_of_admin, "badgr-client", "newer")
    refresh(account)
    assert ProviderState.objects.get(provider="badgr").paused_until is None


def test_no_page_shows_the_secret_sealed_or_open(
    client_of_admin: Client, account: ConnectedAccount
):
    row = enter(client_of_admin, "entered", "a-very-secret-secret")
    sealed = ProviderClient.objects.get(pk=row.pk).client_secret.reveal()
    for address in (
        CLIENTS,
        f"{CLIENTS}{row.pk}/change/",
        f"{CLIENTS}{row.pk}/history/",
        f"{CLIENTS}{row.pk}/delete/",
        "/admin/",
    ):
        page = client_of_admin.get(address).content.decode()
        assert "a-very-secret-secret" not in page
        assert sealed[:40] not in page
    assert "1 account was made with it" in client_of_admin.get(CLIENTS).content.decode()
    # A mistake in the form does not bring the secret back either.
    data = {"provider": "badgr", "client_id": "", "new_secret": "a-very-secret-secret"}
    assert (
        "a-very-secret-secret" not in client_of_admin.post(f"{CLIENTS}add/", data).content.decode()
    )


def test_the_list_of_clients_asks_as_much_for_twenty_as_for_one(client_of_admin: Client):
    asked, states = [], []
    for count in (1, 20):
        for number in range(count):
            host = f"https://{count}-{number}.example"
            for client_id in ("old", "new"):
                ProviderClient.objects.create(
                    provider="badgr", host=host, client_id=client_id, created_at=timezone.now()
                )
        client_of_admin.get(CLIENTS)
        with CaptureQueriesContext(connection) as queries:
            page = client_of_admin.get(CLIENTS).content.decode()
        asked.append(len(queries))
        states.append((page.count(">in use<"), page.count(">fall-back<")))
    assert asked[0] == asked[1]
    assert states == [(1, 1), (21, 21)]


@pytest.mark.parametrize("secret", ["two words", "line\nbreak", "nul\x00", "ü"])
def test_a_secret_that_no_header_carries_is_refused(client_of_admin: Client, secret: str):
    data = {"provider": "badgr", "client_id": "entered", "new_secret": secret}
    response = client_of_admin.post(f"{CLIENTS}add/", data)
    assert response.status_code == 200
    assert (
        "characters that cannot be used" in response.content.decode()
        or "Null" in response.content.decode()
    )
    assert not ProviderClient.objects.exists()


def test_a_persons_own_credentials_are_not_for_the_admin_to_see(client_of_admin: Client, ada: Any):
    row = ProviderClient.objects.create(
        provider="badgr",
        owner_key=f"user:{ada.pk}",
        client_id="adas-own",
        created_at=timezone.now(),
    )
    assert "adas-own" not in client_of_admin.get(CLIENTS).content.decode()
    assert client_of_admin.get(f"{CLIENTS}{row.pk}/change/").status_code == 302
    # And they serve nobody else.
    assert not clients_of(get_provider("badgr"), "adas-own", "user:99999")
    assert clients_of(get_provider("badgr"), "adas-own", f"user:{ada.pk}")


def test_view_only_staff_can_enter_and_remove_nothing(
    django_user_model: Any, client_of_admin: Client
):
    from django.contrib.auth.models import Permission

    row = enter(client_of_admin, "entered", "secret")
    user = django_user_model.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_providerclient"))
    client = Client()
    client.force_login(user)
    assert client.get(CLIENTS).status_code == 200
    assert client.get(f"{CLIENTS}add/").status_code == 403
    assert client.post(f"{CLIENTS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ProviderClient.objects.exists()


def test_a_request_remembers_its_client(client_of_admin: Client, client_of_ada: Client):
    enter(client_of_admin, "entered", "secret")
    start(client_of_ada)
    assert AuthorizationRequest.objects.get().client_id == "entered"


def test_a_callback_tries_the_older_pair_too_when_the_newer_is_refused(
    client_of_admin: Client, client_of_ada: Client, badgr: FakeProvider
):
    row = enter(client_of_admin, "badgr-client", "not-active-yet")
    params = badgr.authorize(start(client_of_ada))
    badgr.script("token", REFUSED)
    assert finish(client_of_ada, params).status_code == 303
    assert body_secrets(badgr) == ["not-active-yet", "badgr-client-secret"]
    row.refresh_from_db()
    assert row.refused_at is not None
    assert Event.objects.filter(kind=Kind.CLIENT_REJECTED).count() == 1


def test_a_client_id_that_basic_cannot_carry_is_not_taken(
    client_of_admin: Client, provider_settings: Any
):
    options = {"token_endpoint_auth_method": "client_secret_basic"}
    provider_settings("badgr", OPTIONS=options)
    data = {"provider": "badgr", "client_id": "a:b", "new_secret": "x"}
    assert "colon" in client_of_admin.post(f"{CLIENTS}add/", data).content.decode()
    assert not ProviderClient.objects.exists()
    provider_settings("badgr", OPTIONS=options, CLIENT_ID="a:b")
    from django.core import checks

    assert "connected_accounts.E018" in [m.id for m in checks.run_checks()]


def test_no_button_leads_to_a_provider_without_a_client(
    client_of_admin: Client, provider_settings: Any
):
    from django.template import Context, Template

    button = Template("{% load connected_accounts %}{% connect_button 'badgr' %}")
    assert "Connect to Badgr" in button.render(Context())
    provider_settings("badgr", CLIENT_ID="")
    assert "Badgr" not in button.render(Context())
    enter(client_of_admin, "entered", "secret")
    assert "Connect to Badgr" in button.render(Context())
