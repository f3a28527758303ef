"""A front end that connects a server which a person names: they see where it leads, as on the
pages."""

from typing import Any

import pytest

from connected_accounts.models import AuthorizationRequest, ConnectedAccount, ProviderClient
from tests.api.test_api import Front, document, problem
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def front(ada: Any, person: Person) -> Front:
    return Front(ada)


def begin(front: Front, guarded: Guarded, **more: Any) -> Any:
    inputs = {"server": guarded.server} | more.pop("inputs", {})
    return document(front.post("/providers/mcp/connect/", {"inputs": inputs, **more}))


def test_a_front_end_is_told_the_way_before_anybody_goes_it(front: Front, guarded: Guarded) -> None:
    told = begin(front, guarded)
    host = guarded.url.removeprefix("http://")
    assert told == {
        "authorization_url": None,
        "account": None,
        "way": {
            "server": f"{host}/mcp",
            "guard": host,
            "issuer": guarded.url,
            "scopes": [{"scope": "read", "text": ""}],
            "needs_client": False,
        },
    }
    assert not guarded.asked("/register")
    assert not AuthorizationRequest.objects.exists()


def test_who_has_seen_the_way_goes_on(front: Front, guarded: Guarded, person: Person) -> None:
    told = begin(front, guarded, issuer=begin(front, guarded)["way"]["issuer"])
    assert told["way"] is None
    assert told["authorization_url"].startswith(f"{guarded.url}/authorize?")
    front.client.get(guarded.allow(told["authorization_url"]).removeprefix(person.site))
    account = ConnectedAccount.objects.get()
    again = document(front.post(f"/accounts/{account.pk}/reconnect/"))
    assert again["way"]["server"] == f"{guarded.url.removeprefix('http://')}/mcp"
    more = {"issuer": again["way"]["issuer"]}
    again = document(front.post(f"/accounts/{account.pk}/reconnect/", more))
    assert again["authorization_url"]


def test_another_issuer_than_the_one_seen_is_shown_first(front: Front, guarded: Guarded) -> None:
    told = begin(front, guarded, issuer="https://guard.example")
    assert told["authorization_url"] is None
    assert told["way"]["issuer"] == guarded.url


def test_a_client_is_asked_for_where_the_server_gives_none(front: Front, guarded: Guarded) -> None:
    del guarded.metadata["registration_endpoint"]
    way = begin(front, guarded, issuer=guarded.url)["way"]
    assert way["needs_client"] is True
    own = {"client_id": "mine", "client_secret": "my-secret"}
    told = begin(front, guarded, issuer=guarded.url, inputs=own)
    assert "client_id=mine" in told["authorization_url"]
    assert ProviderClient.objects.get().owner_key != "site"


def test_a_server_that_cannot_be_connected_is_a_problem(front: Front, guarded: Guarded) -> None:
    guarded.metadata["code_challenge_methods_supported"] = ["plain"]
    sent = {"inputs": {"server": guarded.server}}
    assert problem(front.post("/providers/mcp/connect/", sent)) == (502, "unexpected_response")
