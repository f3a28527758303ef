"""A site registers itself at a Badge Connect host: once, sealed, and anew when that is over."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from connected_accounts.clients import registration
from connected_accounts.decorators import connection_required
from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    ProviderState,
    Status,
)
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.badge_connect import OB2
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import complete_authorization, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import query_of
from tests.providers.badge_site import (
    HOST,
    OTHER,
    PROFILE,
    SITE,
    Flow,
    answered,
    configure,
    faked_host,
)
from tests.providers.harness import assert_hidden

pytestmark = pytest.mark.django_db


@pytest.fixture
def fake(settings: Any) -> Iterator[FakeProvider]:
    with faked_host(settings) as fake:
        yield fake


# Once.


def test_a_site_says_of_itself_what_the_specification_wants(fake: FakeProvider, user: Any) -> None:
    Flow(user)
    [sent] = fake.sent_to("registration")
    told = sent.json
    assert told["redirect_uris"] == [SITE]
    assert told["scope"].split() == [PROFILE, f"{OB2}assertion.readonly", "offline_access"]
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["grant_types"] == ["authorization_code", "refresh_token"]
    assert told["response_types"] == ["code"]
    assert told["client_name"] == "site.example"
    for name in ("client_uri", "logo_uri", "tos_uri", "policy_uri"):
        assert told[name].startswith("https://site.example/")
    assert "Authorization" not in sent.headers


def test_what_options_say_of_the_site_goes_before(settings: Any, fake: FakeProvider) -> None:
    own = {"client_name": "Ours", "logo_uri": "https://site.example/l.svg", "software_version": "7"}
    configure(settings, OPTIONS=own)
    told = get_provider("badges").registration(SITE, [PROFILE])
    assert {name: told[name] for name in own} == own


def test_the_client_is_kept_sealed_and_used_again(fake: FakeProvider, user: Any) -> None:
    account = Flow(user).finish(fake)
    again = Flow(user)
    row = ProviderClient.objects.get()
    assert (row.provider, row.host, row.registered) == ("badges", HOST, True)
    assert again.client_id == account.client_id == row.client_id
    assert_hidden(row, row.client_secret, vars(row), row.metadata, json.dumps(row.metadata))
    [event] = Event.objects.filter(kind=Kind.CLIENT_REGISTERED)
    assert event.detail == HOST
    [token] = fake.sent_to("token")
    assert token.basic(form_encoded=True) is not None


def test_a_turn_that_was_left_behind_is_over_in_time(fake: FakeProvider, user: Any) -> None:
    get_or_create_state("badges", HOST)
    ProviderState.objects.update(registering_until=timezone.now() - timedelta(seconds=1))
    assert Flow(user).client_id


def test_while_another_registers_nobody_waits_for_ever(
    settings: Any, fake: FakeProvider, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"HTTP_DEADLINE": 0.2}
    monkeypatch.setattr(registration, "MARGIN", 0.1)
    get_or_create_state("badges", HOST)
    ProviderState.objects.update(registering_until=timezone.now() + timedelta(hours=1))
    with pytest.raises(ProviderUnavailable) as caught:
        Flow(user)
    assert (caught.value.code, caught.value.sent) == ("busy", False)
    assert not fake.sent_to("registration")


def test_each_host_has_a_client_of_its_own(fake: FakeProvider, user: Any) -> None:
    Flow(user)
    with FakeProvider("badges", inputs={"host": OTHER}):
        Flow(user, OTHER)
    assert sorted(ProviderClient.objects.values_list("host", flat=True)) == [HOST, OTHER]


def test_a_new_address_or_a_new_scope_is_registered(
    settings: Any, fake: FakeProvider, user: Any
) -> None:
    first = Flow(user).client_id
    moved = Flow(user, redirect_uri="https://moved.example/callback/").client_id
    assert moved != first
    assert Flow(user).client_id == first
    configure(settings, OPTIONAL_SCOPES=[f"{OB2}profile.update"])
    wider = Flow(user).client_id
    assert wider not in (first, moved)
    # Both with and without the optional one: it is registered for all that may be asked.
    assert Flow(user, scopes=[f"{OB2}profile.update"]).client_id == wider
    assert len(fake.sent_to("registration")) == 3


def test_an_account_goes_on_with_the_client_it_was_made_with(
    settings: Any, fake: FakeProvider, user: Any
) -> None:
    account = Flow(user).finish(fake)
    configure(settings, OPTIONAL_SCOPES=[f"{OB2}profile.update"])
    assert Flow(user).client_id != account.client_id
    refresh(account)
    assert account.status == Status.ACTIVE


def test_a_client_of_settings_is_used_as_it_is(
    settings: Any, fake: FakeProvider, user: Any
) -> None:
    configure(settings, CLIENT_ID="known", CLIENT_SECRET="canary-known")
    assert Flow(user).client_id == "known"
    assert not fake.sent_to("registration")


# Until it is over.


def test_a_secret_that_ends_within_the_hour_is_registered_anew(
    fake: FakeProvider, user: Any
) -> None:
    first = Flow(user).client_id
    now = timezone.now()
    long_ago = now - timedelta(days=30)
    ProviderClient.objects.update(created_at=long_ago, secret_expires_at=now + timedelta(hours=2))
    assert Flow(user).client_id == first
    ProviderClient.objects.update(secret_expires_at=now + timedelta(minutes=30))
    assert Flow(user).client_id != first


@pytest.mark.parametrize(
    ("told", "ends"),
    [(0, False), (None, False), ("soon", False), (True, False), (-5, False), (1e300, False)],
)
def test_a_secret_without_a_readable_end_has_none(
    fake: FakeProvider, user: Any, told: Any, ends: bool
) -> None:
    fake.script("registration", answered(client_secret_expires_at=told))
    Flow(user)
    assert ProviderClient.objects.get().secret_expires_at is None


def test_the_end_of_a_secret_is_read(fake: FakeProvider, user: Any) -> None:
    ends = int(time.time()) + 600
    fake.script("registration", answered(client_secret_expires_at=ends))
    Flow(user)
    moment = ProviderClient.objects.get().secret_expires_at
    assert moment is not None
    assert int(moment.timestamp()) == ends


def test_a_client_that_the_host_forgot_ends_its_accounts_and_is_registered_anew(
    fake: FakeProvider, user: Any
) -> None:
    account = Flow(user).finish(fake)
    fake.remove_client(account.client_id)
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == (Status.RECONNECT_REQUIRED, "credentials_rejected")
    assert ProviderState.objects.get().paused_until is None
    assert ProviderClient.objects.get().retired_at is not None
    again = Flow(user, account=account).finish(fake)
    assert again.pk == account.pk
    assert again.status == Status.ACTIVE
    assert again.client_id != account.client_id


def test_a_client_that_the_host_forgot_meanwhile_is_registered_at_the_next_try(
    fake: FakeProvider, user: Any
) -> None:
    flow = Flow(user)
    params = fake.authorize(flow.url)
    fake.remove_client(flow.client_id)
    with pytest.raises(ClientRejected):
        complete_authorization(**flow.known, params=params)
    Flow(user).finish(fake)
    assert ConnectedAccount.objects.count() == 1


def test_what_the_host_does_not_offer_is_remembered_as_wanted_so_that_nobody_goes_round(
    settings: Any, fake: FakeProvider, user: Any
) -> None:
    wanted = "https://host.example/not-offered"
    configure(settings, OPTIONAL_SCOPES=[wanted])
    flow = Flow(user, scopes=[wanted])
    assert wanted not in query_of(flow.url)["scope"].split()
    account = flow.finish(fake)
    assert wanted in account.scopes_wanted
    assert wanted not in account.scopes_requested  # it was never sent
    assert wanted not in account.scopes_granted

    @connection_required("badges", scopes=[wanted])
    def view(request: Any) -> HttpResponse:
        return HttpResponse()

    request = RequestFactory().get("/page/")
    request.user = user
    assert view(request).status_code == 403
