"""Whose the database is: adopted once, and compared before anything is refreshed."""

from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.test import Client

from connected_accounts import conf
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, Deployment
from connected_accounts.models.deployment import adopt_database, sites
from connected_accounts.services import get_access_token
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, expire

pytestmark = pytest.mark.django_db

OLD, NEW = "https://old.example.org", "https://new.example.org"


@pytest.fixture
def moved(client_of_ada: Client, badgr: FakeProvider, app_settings: Any) -> ConnectedAccount:
    """An account of a site whose address was changed, and that set no SITE_ID."""
    app_settings(REDIRECT_BASE_URL=OLD)
    account = connect(client_of_ada, badgr)
    expire(account)
    app_settings(REDIRECT_BASE_URL=NEW)
    return account


def test_the_database_is_adopted_once_for_all_providers(
    client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider, app_settings: Any
) -> None:
    app_settings(SITE_ID="production")
    connect(client_of_ada, badgr)
    app_settings(SITE_ID="staging")
    connect(client_of_ada, bitbadges, "bitbadges")
    assert sites() == ("staging", "production")
    assert Deployment.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("direct", [False, True])
def test_a_database_without_a_name_is_adopted_whatever_the_process_adopted_before(
    client_of_ada: Client, badgr: FakeProvider, settings: Any, app_settings: Any, direct: bool
) -> None:
    """It may have been another tenant's: one process connects in many schemas."""
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    app_settings(
        SITE_ID="production", PROVIDERS={**settings.CONNECTED_ACCOUNTS["PROVIDERS"], "bits": bits}
    )
    connect(client_of_ada, badgr, subject="one")
    Deployment.objects.all().delete()
    if direct:
        with FakeProvider("bits") as fake:
            fake.add_client("client", "entered", subject="two", label="Two")
            entered = {"client_id": "client", "client_secret": "entered"}
            assert client_of_ada.post("/connections/bits/connect/", entered).status_code == 303
    else:
        connect(client_of_ada, badgr, subject="two")
    assert ConnectedAccount.objects.count() == 2
    assert sites() == ("production", "production")


@pytest.mark.parametrize(
    "base", ["app.example.org", "http://app.example.org", "https://", 5, "https://x.example/?a=1"]
)
def test_an_address_that_checks_reject_is_no_name(
    client_of_ada: Client, badgr: FakeProvider, app_settings: Any, base: Any
) -> None:
    app_settings(REDIRECT_BASE_URL=base)
    assert conf.site_id() == ""
    adopt_database()
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("name", [5, ["production"], "x" * 256])
def test_a_name_that_checks_reject_is_none_and_the_address_does_not_stand_in(
    db: None, app_settings: Any, name: Any
) -> None:
    app_settings(SITE_ID=name, REDIRECT_BASE_URL=NEW)
    assert conf.site_id() == ""
    adopt_database()
    assert not Deployment.objects.exists()


def test_with_a_name_of_its_own_a_site_may_change_its_address(
    client_of_ada: Client, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(SITE_ID="production", REDIRECT_BASE_URL=OLD)
    account = connect(client_of_ada, badgr)
    expire(account)
    app_settings(SITE_ID="production", REDIRECT_BASE_URL=NEW)
    assert get_access_token(account) == badgr.grants[0].access_token
    assert len(badgr.presentations) == 1


def test_a_site_under_another_address_is_told_of_it_everywhere(
    moved: ConnectedAccount,
    client_of_ada: Client,
    admin_client: Client,
    badgr: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ProviderUnavailable, match="other_site"):
        get_access_token(moved)
    ConnectedAccount.objects.update(refresh_at=moved.connected_at)
    refresh_due_accounts.apply()
    assert badgr.presentations == {}
    page = client_of_ada.get("/connections/").content.decode()
    tested = client_of_ada.post(f"/connections/{moved.pk}/test/").content.decode()
    staff = admin_client.get("/admin/connected_accounts/connectedaccount/").content.decode()
    status, told = StringIO(), []
    with pytest.raises(SystemExit):
        call_command("connections_status", stdout=status)
    for message in checks.run_checks(databases=["default"]):
        told += [message.msg] if message.id == "connected_accounts.W015" else []
    assert "Paused by the people who run this site" in page
    assert "The people who run this site need to fix this. The connection is kept." in tested
    for text in (staff, status.getvalue(), *told, caplog.text):
        assert OLD in text
        assert NEW in text
        assert "confirm_site" in text or "Nothing is refreshed" in text
    assert len(told) == 1


def test_one_command_heals_it_and_names_both(
    moved: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    said = StringIO()
    call_command("confirm_site", stdout=said)
    assert said.getvalue() == f"The database was {OLD}, and is {NEW} now.\n"
    assert get_access_token(moved) == badgr.grants[0].access_token
    assert "Paused by" not in client_of_ada.get("/connections/").content.decode()


def test_a_site_that_gave_up_its_name_owns_nothing_and_loses_nothing(
    moved: ConnectedAccount, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(REDIRECT_BASE_URL=None)
    with pytest.raises(ProviderUnavailable, match="other_site"):
        get_access_token(moved)
    call_command("confirm_site", stdout=StringIO())
    assert not Deployment.objects.exists()
    assert get_access_token(moved)
