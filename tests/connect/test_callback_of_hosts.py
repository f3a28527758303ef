"""Each of an alias's hosts has a callback of its own, so that none can pass for another (RFC 9700
4.4.2.1)."""

from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.management.commands.check_provider import redirect_finding
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, ProviderClient
from connected_accounts.oauth2.session import origin_of
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.catalogue.services import service, service_names
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import complete_authorization, start_authorization
from connected_accounts.testing import FakeProvider
from tests.journeys import start
from tests.providers.badge_site import HOST, OTHER, configure

pytestmark = pytest.mark.django_db

SITE = "https://site.example"
PLAIN = "/connections/badges/callback/"


def callback_of(url: str) -> str:
    return urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0]).path


def test_each_host_is_registered_with_an_address_of_its_own(
    honest: FakeProvider, evil: FakeProvider, client_of_ada: Client
) -> None:
    urls = {fake: start(client_of_ada, "badges", host=host) for fake, host in _both(honest, evil)}
    assert len({callback_of(url) for url in urls.values()} - {PLAIN}) == 2
    for fake, url in urls.items():
        [sent] = fake.sent_to("registration")
        assert [urlsplit(uri).path for uri in sent.json["redirect_uris"]] == [callback_of(url)]
        params = fake.authorize(url, subject="ada")
        assert client_of_ada.get(callback_of(url), params).status_code == 303
    assert ConnectedAccount.objects.count() == 2


def _both(honest: FakeProvider, evil: FakeProvider) -> list[tuple[FakeProvider, str]]:
    return [(honest, HOST), (evil, OTHER)]


@pytest.mark.parametrize("where", ["of the honest host", "without a host", "of nobody"])
def test_a_code_that_comes_to_another_hosts_address_goes_nowhere(
    honest: FakeProvider, evil: FakeProvider, client_of_ada: Client, where: str
) -> None:
    # The person picked the hostile host, which leads them to the honest one's page under the site's
    # address there; the honest one sends its code to that address, with the state of the other.
    honests = callback_of(start(client_of_ada, "badges", host=HOST))
    url = start(client_of_ada, "badges", host=OTHER)
    params = evil.authorize(url, subject="ada")
    paths = {"of the honest host": honests, "without a host": PLAIN, "of nobody": f"{PLAIN}x/"}
    answer = client_of_ada.get(paths[where], params)
    assert answer.status_code == 400
    assert not evil.sent_to("token")
    assert not honest.sent_to("token")
    assert not ConnectedAccount.objects.exists()
    assert not AuthorizationRequest.objects.filter(consumed_at__isnull=True, inputs__host=OTHER)


def test_an_authorization_of_an_alias_with_one_address_ends_at_no_other(
    badgr: FakeProvider, client_of_ada: Client
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert client_of_ada.get("/connections/badgr/callback/x/", params).status_code == 400


def test_a_client_that_was_registered_with_the_one_address_serves_its_accounts_on(
    honest: FakeProvider, user: Any
) -> None:
    known = {"user": user, "provider": "badges", "browser_secret": new_secret()}
    place = {"redirect_uri": f"{SITE}{PLAIN}", "inputs": {"host": HOST}}
    url = start_authorization(**known, **place)  # a site's own view, which has one address
    assert callback_of(url) == PLAIN
    complete_authorization(**known, params=honest.authorize(url, subject="ada"))
    before = ConnectedAccount.objects.get().client_id
    start_authorization(**known, **place, host_redirect_uri=f"{SITE}{PLAIN}__host__/")
    assert ProviderClient.objects.filter(client_id=before, retired_at__isnull=True).exists()


def test_a_client_of_settings_has_one_address_unless_settings_say_so(settings: Any) -> None:
    for wanted in (False, True):
        configure(settings, CLIENT_ID="c", CLIENT_SECRET="s")
        settings.CONNECTED_ACCOUNTS |= {"REDIRECT_BASE_URL": SITE}
        entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badges"]
        entry["OPTIONS"]["callback_per_host"] = wanted
        with FakeProvider("badges", inputs={"host": HOST}):
            url = start_authorization(
                user=None,
                provider="badges",
                redirect_uri=f"{SITE}{PLAIN}",
                host_redirect_uri=f"{SITE}{PLAIN}__host__/",
                browser_secret=new_secret(),
                inputs={"host": HOST},
            )
        assert (callback_of(url) != PLAIN) is wanted
        assert redirect_finding("badges", {"host": HOST}).message.endswith(callback_of(url))


# Every provider that asks a person for a place: what two of them are sent goes to each alone, and
# no place leads out of where its addresses are.


def fields_of(name: str) -> tuple[str, ...]:
    found = service(name)
    return tuple(found.options.get("connect_fields", ())) if found else ("account",)


ASKING = ["bime", *filter(fields_of, service_names())]
LISTED = ["one.example.org", "two.example.org"]
ELSEWHERE = ("evil.example/", "evil.example#", "evil.example?", "a@evil.example", "a:b", "../a", "")


def place_in(settings: Any, name: str) -> tuple[tuple[str, ...], list[str]]:
    """Configure a service; the fields that it asks for, and two values of each."""
    by_host = "host" in fields_of(name)
    options = {"hosts": LISTED} if by_host else {}
    backend = {"BACKEND": "connected_accounts.providers.bime.Bime"}
    entry = backend if name == "bime" else {"SERVICE": name}
    entry |= {"CLIENT_ID": "c", "CLIENT_SECRET": "s"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"asking": entry | {"OPTIONS": options}}}
    return get_provider("asking").connect_fields, LISTED if by_host else ["one", "two"]


def declared_at(fields: tuple[str, ...], place: str) -> Endpoints:
    """The addresses of a place that are known without asking it."""
    return Provider.resolve_endpoints(get_provider("asking"), dict.fromkeys(fields, place))


@pytest.mark.parametrize("name", ASKING)
def test_two_places_share_no_address_that_a_code_or_token_goes_to(settings: Any, name: str) -> None:
    fields, places = place_in(settings, name)
    ends = [declared_at(fields, place) for place in places]
    for one in ends:
        assert origin_of(one.token_endpoint) == origin_of(one.authorization_endpoint)
    for end in ("token_endpoint", "authorization_endpoint", "revocation_endpoint"):
        one, two = (getattr(end_points, end) for end_points in ends)
        assert not one or origin_of(one) != origin_of(two)


@pytest.mark.parametrize("name", ASKING)
def test_no_place_leads_elsewhere(settings: Any, name: str) -> None:
    fields, places = place_in(settings, name)
    wrong = ELSEWHERE + (("evil.example",) if places is LISTED else ())
    for field, place in product(fields, wrong):
        with pytest.raises(ConfigurationError):
            start_authorization(
                user=None,
                provider="asking",
                redirect_uri=SITE,
                browser_secret=new_secret(),
                inputs=dict.fromkeys(fields, places[0]) | {field: place},
            )
    assert not AuthorizationRequest.objects.exists()
