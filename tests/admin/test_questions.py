"""The questions that staff are asked, and where the admin has the answer: figures that lead to
their lists, a page for each person, failed attempts, errors in words; on any admin site."""

import re
import sys
import types
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import include, path
from django.utils import timezone

from connected_accounts.admin.people import ConnectedAccountInline
from connected_accounts.models import ConnectedAccount, Event, Kind, Revocation
from connected_accounts.owners import owner_key
from connected_accounts.testing import FakeProvider
from connected_accounts.web.last_errors import explain_error
from tests.admin.test_admin import ACCOUNTS, staff
from tests.journeys import connect

pytestmark = pytest.mark.django_db

BASE = "/admin/connected_accounts/"


def revocation(account: ConnectedAccount, **values: Any) -> Revocation:
    row = {
        "provider": account.provider,
        "owner_key": account.owner_key,
        "subject": account.subject,
        "label": account.label,
        "client_id": account.client_id,
        "endpoint_fingerprint": account.endpoint_fingerprint,
        "seal_id": account.seal_id,
        "created_at": timezone.now(),
        "next_attempt_at": timezone.now(),
    }
    made: Revocation = Revocation.objects.create(**row | values)
    return made


def links(html: str) -> dict[str, list[str]]:
    """The addresses of a page's links, by their text."""
    found: dict[str, list[str]] = {}
    for address, inner in re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', html, re.DOTALL):
        text = " ".join(re.sub(r"<[^>]+>", " ", inner).split())
        found.setdefault(unescape(text), []).append(unescape(address))
    return found


# --- Figures lead to their lists --------------------------------------------------------------


@pytest.mark.parametrize("name", ["active", "due", "overdue", "failing", "reconnect_required"])
def test_a_figure_leads_to_exactly_the_accounts_that_it_counts(
    make_account: Any, client_of_admin: Client, now: Any, name: str
) -> None:
    make_account(label="well")
    make_account(label="due", refresh_at=now - timedelta(minutes=1))
    make_account(label="overdue", refresh_at=now - timedelta(hours=1))
    make_account(label="failing", failure_count=3, last_error="status_503")
    make_account(label="ended", status="reconnect_required", reason="revoked", failure_count=1)
    make_account(label="elsewhere", provider="bitbadges", failure_count=1)
    page = client_of_admin.get(ACCOUNTS)
    row = next(r for r in page.context["figures"] if r.health.provider == "badgr")
    figure = getattr(row.health, name)
    assert figure
    listed = client_of_admin.get(ACCOUNTS + row.links[name]).context["cl"].result_list
    assert len(listed) == figure
    assert {one.provider for one in listed} == {"badgr"}
    assert row.links[name] in unescape(page.content.decode())


def test_the_figures_of_revocations_and_of_the_last_days_lead_to_their_rows(
    account: ConnectedAccount, client_of_admin: Client
) -> None:
    revocation(account, outcome="pending")
    revocation(account, outcome="revoked")
    for age in (0, 3, 20):
        at = timezone.now() - timedelta(days=age)
        Event.record(Kind.CONNECT_FAILED, account, at=at, detail="not_json")
    page = client_of_admin.get(ACCOUNTS)
    row = next(r for r in page.context["figures"] if r.health.provider == "badgr")
    found = client_of_admin.get(f"{BASE}revocation/{row.links['revocations_waiting']}")
    assert [one.outcome for one in found.context["cl"].result_list] == ["pending"]
    chart = next(chart for chart in row.charts if chart.kind == "failures")
    found = client_of_admin.get(f"{BASE}event/{chart.query}")
    assert len(found.context["cl"].result_list) == chart.total == 2
    text = unescape(page.content.decode())
    assert f"{BASE}event/{chart.query}" in text
    assert f"{BASE}revocation/{row.links['revocations_waiting']}" in text


# --- One page for each person -----------------------------------------------------------------


@pytest.fixture
def person_page(account: ConnectedAccount) -> str:
    return f"{ACCOUNTS}person/{account.owner_key}/"


def test_a_persons_page_has_accounts_attempts_revocations_and_events(
    account: ConnectedAccount, client_of_admin: Client, person_page: str
) -> None:
    ConnectedAccount.objects.filter(pk=account.pk).transition(
        failure_count=2, last_error="status_503"
    )
    Event.record(
        Kind.CONNECT_FAILED,
        at=timezone.now(),
        provider="bitbadges",
        owner=account.owner_key,
        detail="not_json",
        reference="7QXKMB2C",
    )
    revocation(account, label="an older one", last_error="timeout", attempts=3)
    text = client_of_admin.get(person_page).content.decode()
    assert "ada-lovelace" in text
    assert "The service has a problem of its own (HTTP 503)." in text
    assert "7QXKMB2C" in text
    assert "<code>not_json</code>" in text
    assert "an older one" in text
    assert "The service did not answer in time." in text
    assert f"{ACCOUNTS}{account.pk}/change/" in links(text)["ada@example.org"]


def test_the_full_stop_of_a_sentence_stays_at_its_end_in_an_admin_from_right_to_left(
    account: ConnectedAccount, client_of_admin: Client, person_page: str
) -> None:
    ConnectedAccount.objects.filter(pk=account.pk).transition(
        failure_count=2, last_error="status_503"
    )
    revocation(account, last_error="timeout", attempts=3)
    for page in (person_page, f"{ACCOUNTS}{account.pk}/change/"):
        text = client_of_admin.get(page).content.decode()
        assert "<bdi>Connected.</bdi>" in text
        assert re.findall(r"<td(?! class=.ca-when)[^>]*>[^<]+ [^<]+[.]</td>", text) == []


def test_nobody_elses_rows_are_on_a_persons_page(
    account: ConnectedAccount,
    client_of_admin: Client,
    client_of_bob: Client,
    badgr: FakeProvider,
    person_page: str,
) -> None:
    connect(client_of_bob, badgr, subject="bob")
    text = client_of_admin.get(person_page).content.decode()
    assert "bob@example.org" not in text
    assert client_of_admin.get(f"{ACCOUNTS}person/user:0/").status_code == 404
    assert client_of_admin.get(f"{ACCOUNTS}person/site/").status_code == 200


def test_the_page_shows_each_staff_member_what_they_may_see(
    account: ConnectedAccount, person_page: str, django_user_model: Any
) -> None:
    text = staff(django_user_model, "view_connectedaccount").get(person_page).content.decode()
    assert "ada@example.org" in text
    assert 'id="events"' not in text
    assert 'id="revocations"' not in text
    django_user_model.objects.get(username="staff").delete()
    assert staff(django_user_model, "view_event").get(person_page).status_code == 403


@pytest.mark.parametrize("term", ["bob", "bob@site.example"])
def test_a_search_leads_to_a_person_who_has_no_account(
    client_of_admin: Client, bob: Any, django_user_model: Any, term: str
) -> None:
    page = f"{ACCOUNTS}person/user:{bob.pk}/"
    text = client_of_admin.get(ACCOUNTS, {"q": term}).content.decode()
    assert f'href="{page}"' in text
    assert f'href="{page}"' not in client_of_admin.get(ACCOUNTS).content.decode()
    unseeing = staff(django_user_model, "view_connectedaccount")
    assert f'href="{page}"' not in unseeing.get(ACCOUNTS, {"q": term}).content.decode()


def test_a_persons_page_says_that_the_user_is_deactivated(
    client_of_admin: Client, bob: Any
) -> None:
    page = f"{ACCOUNTS}person/user:{bob.pk}/"
    assert "The user is deactivated." not in client_of_admin.get(page).content.decode()
    type(bob).objects.filter(pk=bob.pk).update(is_active=False)
    assert "The user is deactivated." in client_of_admin.get(page).content.decode()


def test_each_owner_in_the_lists_leads_to_the_persons_page(
    account: ConnectedAccount, client_of_admin: Client, person_page: str
) -> None:
    revocation(account)
    for address in (
        ACCOUNTS,
        f"{ACCOUNTS}{account.pk}/change/",
        f"{BASE}event/",
        f"{BASE}revocation/",
    ):
        assert person_page in links(client_of_admin.get(address).content.decode())["ada-lovelace"]


def test_the_page_leads_to_the_users_own_admin_page_and_back(
    account: ConnectedAccount,
    client_of_admin: Client,
    person_page: str,
) -> None:
    user = account.user
    assert user is not None
    assert ConnectedAccountInline in admin.site._registry[type(user)].inlines
    text = client_of_admin.get(person_page).content.decode()
    [own] = links(text)["ada-lovelace"]
    ConnectedAccount.objects.filter(pk=account.pk).transition(last_error="timeout")
    text = client_of_admin.get(own).content.decode()
    assert "ada@example.org" in text
    assert "The service did not answer in time." in text
    assert person_page in links(text)["Everything about this person"]
    assert 'name="connected_accounts-0-provider"' not in text
    # And the user can be saved with it.
    fields = client_of_admin.get(own).context["adminform"].form.initial
    data = {"username": "ada-lovelace", "is_active": "on"}
    data |= {
        f"date_joined_{n}": str(p) for n, p in enumerate(str(fields["date_joined"])[:19].split())
    }
    data |= {"connected_accounts-TOTAL_FORMS": "0", "connected_accounts-INITIAL_FORMS": "0"}
    assert client_of_admin.post(own, data).status_code == 302
    assert ConnectedAccount.objects.get().label == account.label


# --- Search by person -------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["ada-love", "ada@site.example", "user-key"])
@pytest.mark.parametrize("model", ["event", "revocation", "connectedaccount"])
def test_events_and_revocations_are_found_by_the_person(
    account: ConnectedAccount, client_of_admin: Client, model: str, term: str
) -> None:
    revocation(account, label="", subject="7")
    ConnectedAccount.objects.update(label="", subject="7")
    Event.objects.update(label="", subject="7")
    Event.record(Kind.CONNECT_FAILED, at=timezone.now(), provider="badgr", owner="user:0")
    term = account.owner_key if term == "user-key" else term
    page = client_of_admin.get(f"{BASE}{model}/", {"q": term})
    keys = {row.owner_key for row in page.context["cl"].result_list}
    assert keys == {owner_key(account.user)}


# --- Errors in words --------------------------------------------------------------------------


def test_a_list_and_a_page_say_the_last_error_in_a_sentence(
    make_account: Any, client_of_admin: Client
) -> None:
    row = make_account(failure_count=1, last_error="undecryptable")
    sentence = "The stored token cannot be opened"
    assert sentence in client_of_admin.get(ACCOUNTS).content.decode()
    text = client_of_admin.get(f"{ACCOUNTS}{row.pk}/change/").content.decode()
    assert sentence in text
    assert "<code>undecryptable</code>" in text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", ""),
        ("unreachable", "The service cannot be reached."),
        ("status_503", "The service has a problem of its own (HTTP 503)."),
        ("status_404", "The service refused the request (HTTP 404)."),
        ("invalid_client", "The service does not accept this site’s client ID or secret."),
        ("refresh_token_expired", "The permission has expired."),
        ("owner_inactive", "The user is deactivated."),
        ("something_new", "The refresh failed."),
    ],
)
def test_every_code_has_a_sentence(code: str, words: str) -> None:
    assert explain_error(code) == words


# --- Another admin site -----------------------------------------------------------------------


@pytest.fixture
def staff_site(settings: Any) -> str:
    """The admin's pages on a site of staff's own, beside one that has none of them."""
    own, plain = admin.AdminSite(name="staff"), admin.AdminSite(name="admin")
    for model, model_admin in admin.site._registry.items():
        own.register(model, type(model_admin))
    urls: Any = types.ModuleType("urls_of_staff")
    urls.urlpatterns = [
        path("staff/", own.urls),
        path("admin/", plain.urls),
        path("connections/", include("connected_accounts.urls")),
    ]
    sys.modules[urls.__name__] = urls
    settings.ROOT_URLCONF = urls.__name__
    return "/staff/connected_accounts/connectedaccount/"


def test_every_page_works_on_an_admin_site_of_another_name(
    account: ConnectedAccount, client_of_admin: Client, staff_site: str
) -> None:
    for page in (
        "",
        "connect/",
        "connect/?provider=badgr",
        f"{account.pk}/change/",
        f"{account.pk}/test/",
        f"person/{account.owner_key}/",
    ):
        response = client_of_admin.get(staff_site + page)
        assert response.status_code == 200, page
        assert 'href="/admin/' not in response.content.decode(), page
    done = client_of_admin.post(f"{staff_site}{account.pk}/test/")
    assert done["Location"] == f"{staff_site}{account.pk}/change/"


def test_connecting_the_site_ends_on_the_admin_site_that_it_began_on(
    client_of_admin: Client, staff_site: str, badgr: FakeProvider
) -> None:
    started = client_of_admin.post(f"{staff_site}connect/", {"provider": "badgr"})
    params = badgr.authorize(started["Location"], subject="shop")
    done = client_of_admin.get("/connections/badgr/callback/", params)
    assert done["Location"] == staff_site
