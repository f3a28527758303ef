"""``check_provider`` for servers that people name: what the site says of itself, and what is found
at one of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.oauth2 import discovery, transport
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person
from tests.operations.test_check_provider import Checked, check

pytestmark = pytest.mark.django_db(transaction=True)

SITE = "https://app.example.org"
OWN = f"{SITE}/connections/mcp/client.json"
CALLBACK = f"{SITE}/connections/mcp/callback/"
Document = dict[str, Any]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, configure: Any) -> Callable[[Any], None]:
    """The answer of the site's own address, as it comes from outside."""
    configure(base=SITE)
    fetch = transport.fetch

    def set_answer(answer: Any) -> None:
        def answering(request: Any, *, public: bool = False, **others: Any) -> transport.Answer:
            if not request.url.startswith(SITE):
                return fetch(request, public=public, **others)
            assert (request.url, public) == (OWN, True)
            if isinstance(answer, Exception):
                raise answer
            status, document = answer
            return transport.Answer(status, {}, json.dumps(document).encode())

        monkeypatch.setattr(transport, "fetch", answering)

    set_answer((200, {"client_id": OWN, "client_name": "Ours", "redirect_uris": [CALLBACK]}))
    return set_answer


def look(guarded: Guarded) -> Checked:
    return check("mcp", "--input", f"server={guarded.server}")


def test_the_sites_own_description_is_read_from_outside(answered: Any, guarded: Guarded) -> None:
    found = check("mcp")
    assert found.level("client_metadata") == "ok"
    assert OWN in found.said("client_metadata")
    assert "Ours" in found.said("client_metadata")
    assert CALLBACK in found.said("client_metadata")
    assert found.level("discovery") == "unchecked"
    assert "--input server=" in found.said("discovery")


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        ((404, {}), "warning", "answers with 404"),
        ((302, {}), "warning", "answers with 302"),
        ((200, []), "warning", "no client metadata"),
        ((200, {"client_id": "https://other.example/x"}), "warning", "names another client_id"),
        ((200, {"client_id": OWN, "redirect_uris": ["x"]}), "warning", CALLBACK),
        ((200, {"client_id": OWN, "redirect_uris": 5}), "warning", CALLBACK),
        (
            (200, {"client_id": OWN, "redirect_uris": [CALLBACK], "client_name": "\x1b[2J"}),
            "ok",
            "of no name",
        ),
        (ProviderUnavailable("unreachable"), "warning", "nobody answers there"),
        (ProviderUnavailable("private_address", sent=False), "unchecked", "private address"),
    ],
)
def test_a_description_that_servers_could_not_use_is_told(
    answered: Any, guarded: Guarded, answer: Any, level: str, text: str
) -> None:
    answered(answer)
    found = check("mcp")
    assert found.level("client_metadata") == level
    assert text in found.said("client_metadata")


def test_a_site_without_an_https_address_has_no_description(
    person: Person, guarded: Guarded
) -> None:
    found = check("mcp")
    assert found.level("client_metadata") == "unchecked"
    assert "REDIRECT_BASE_URL" in found.said("client_metadata")


def test_what_is_found_at_a_server_is_told(answered: Any, guarded: Guarded) -> None:
    guarded.resource["resource_name"] = "Notes"
    found = look(guarded)
    assert found.level("server") == "ok"
    for told in (guarded.server, "Notes", guarded.url, "read"):
        assert told in found.said("server")
    assert "registers itself" in found.said("client")
    assert found.level("discovery") == "ok"
    assert not guarded.asked("/register")[1:], "a HEAD, and no more"


def test_who_the_site_is_there_is_told(
    answered: Any, guarded: Guarded, configure: Any, person: Person
) -> None:
    guarded.metadata["client_id_metadata_document_supported"] = True
    assert OWN in look(guarded).said("client")
    pair = {"CLIENT_ID": "by-settings", "CLIENT_SECRET": "s3cret-of-settings"}
    configure(base=SITE, client_issuer=guarded.url, entry=pair)
    assert "by-settings, secret ***, from settings" in look(guarded).said("client")


def test_a_registered_client_and_a_missing_one_are_told(
    answered: Any, person: Person, guarded: Guarded, configure: Any
) -> None:
    configure(base="http://testserver")
    account = person.connect(guarded.server)
    assert f"{account.client_id}, secret ***, registered" in look(guarded).said("client")
    configure(base=SITE)
    del guarded.metadata["registration_endpoint"]
    discovery.clear_cache()
    found = look(guarded)
    assert found.level("client") == "unchecked"
    assert "enter" in found.said("client")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"resource": "https://other.example"}, "speaks for another"),
        ({"authorization_servers": []}, "names nobody"),
    ],
)
def test_a_server_that_cannot_be_connected_is_told(
    answered: Any, guarded: Guarded, change: Document, text: str
) -> None:
    guarded.resource |= change
    found = look(guarded)
    assert found.level("discovery") == "error"
    assert text in found.said("discovery")
    assert found.level("client") == "unchecked"


def test_a_guard_without_pkce_is_told(answered: Any, guarded: Guarded) -> None:
    guarded.metadata["code_challenge_methods_supported"] = ["plain"]
    assert "S256" in look(guarded).said("discovery")
