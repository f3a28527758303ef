"""A second authorization server that is the attacker's: mix-up, wrong issuers, and what it puts
into addresses and answers."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing.fake import AuthorizationPageError
from tests.journeys import connect, finish, query_of, start
from tests.oauth2.two_servers import EVIL, HONEST, OURS, options, server, servers

__all__ = ["options", "servers"]  # fixtures

pytestmark = pytest.mark.django_db

# --- Mix-up (RFC 9700 4.4) ----------------------------------------------------------------------


def test_a_server_that_sends_its_visitors_on_to_another_never_sees_the_code(
    client_of_ada: Client, servers: Any
) -> None:
    honest, evil = servers
    begun = query_of(start(client_of_ada, "evil"))
    disguise = begun | {
        "client_id": "client-at-honest.example",
        "redirect_uri": f"{OURS}/honest/callback/",
    }
    params = honest.authorize(f"{HONEST}/authorize?{urlencode(disguise)}", subject="ada")
    assert finish(client_of_ada, params, "honest").status_code == 400
    assert evil.requests == []
    assert honest.requests == []
    assert not ConnectedAccount.objects.exists()
    # To its own callback the honest server sends nobody: each has an address of its own.
    elsewhere = disguise | {"redirect_uri": begun["redirect_uri"]}
    with pytest.raises(AuthorizationPageError):
        honest.authorize(f"{HONEST}/authorize?{urlencode(elsewhere)}", subject="ada")


def test_an_answer_that_names_the_honest_issuer_is_not_taken_to_the_other(
    client_of_ada: Client, servers: Any
) -> None:
    _, evil = servers
    url = start(client_of_ada, "evil")
    params = evil.authorize(url, subject="ada") | {"iss": HONEST}
    assert finish(client_of_ada, params, "evil").status_code == 400
    assert evil.requests == []


@pytest.mark.parametrize(
    "iss",
    [
        EVIL,
        f"{HONEST}/",
        HONEST.upper(),
        "https://honest.example:443",
        "",
        "null",
        "https%3A%2F%2Fhonest.example",
        f"{HONEST}\n",
        f" {HONEST}",
    ],
)
def test_an_issuer_is_compared_as_it_is_written(
    client_of_ada: Client, servers: Any, iss: str
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    assert finish(client_of_ada, params | {"iss": iss}, "honest").status_code == 400
    assert honest.sent_to("token") == []
    assert finish(client_of_ada, params, "honest").status_code == 303


@pytest.mark.parametrize("options", [{"iss_required": True}, {"iss_required": False}])
def test_a_missing_issuer_is_refused_where_it_was_promised(
    client_of_ada: Client, servers: Any, options: dict[str, Any]
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    del params["iss"]
    expected = 400 if options["iss_required"] else 303
    assert finish(client_of_ada, params, "honest").status_code == expected


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "issuer"])
def test_a_flow_ends_where_it_was_begun_or_not_at_all(
    client_of_ada: Client, servers: Any, settings: Any, name: str
) -> None:
    honest, evil = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    del params["iss"]
    changed = server(HONEST, **{name: f"{EVIL}/token"})
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"honest": changed, "evil": server(EVIL)}}
    assert finish(client_of_ada, params, "honest").status_code == 400
    assert honest.requests == []
    assert evil.requests == []


# --- The same account at two servers ------------------------------------------------------------


def test_one_subject_at_two_servers_is_two_accounts_of_two_people(
    client_of_ada: Client, client_of_bob: Client, ada: Any, bob: Any, servers: Any
) -> None:
    honest, evil = servers
    connect(client_of_ada, honest, "honest", subject="1")
    connect(client_of_bob, evil, "evil", subject="1")
    owners = {row.provider: row.user for row in ConnectedAccount.objects.all()}
    assert owners == {"honest": ada, "evil": bob}


def test_a_stolen_label_takes_over_nothing(
    client_of_ada: Client, client_of_bob: Client, ada: Any, bob: Any, servers: Any
) -> None:
    """An e-mail address or a name is for people to read: accounts are known by their subject."""
    honest, _ = servers
    for client, subject in ((client_of_ada, "1"), (client_of_bob, "2")):
        url = start(client, "honest")
        params = honest.authorize(url, subject=subject, label="ada@site.example")
        assert finish(client, params, "honest").status_code == 303
    assert [row.user for row in ConnectedAccount.objects.order_by("subject")] == [ada, bob]
    # The same subject under another name is the same account.
    params = honest.authorize(start(client_of_ada, "honest"), subject="1", label="renamed")
    finish(client_of_ada, params, "honest")
    assert ConnectedAccount.objects.get(user=ada).label == "renamed"


def test_subjects_that_differ_in_case_are_different_accounts(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    for subject in ("Abc", "abc", "abc ", "äbc"):
        connect(client_of_ada, honest, "honest", subject=subject)
    assert ConnectedAccount.objects.count() == 4
