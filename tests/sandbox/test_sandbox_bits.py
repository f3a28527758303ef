"""The sandbox's Bits: client credentials, of the site and of a person."""

import re
from collections.abc import Iterator

import pytest
import requests

from tests.sandbox.sandbox_client import Person, Sandbox

TOKEN = "/bits/v1/oauth2/token"
SITES_OWN = ("bits-demo", "bits-demo-secret")
ADAS = ("ada-bits", "ada-bits-secret")
CLIENT_CREDENTIALS = {"grant_type": "client_credentials"}
CLAIMS = {
    "application_id": "bits:application::1",
    "workflow_id": "bits:workflow::1",
    "redirect_url": "https://site.example/done",
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("bits"))
    yield running
    running.stop()


def ask(sandbox: Sandbox, client: tuple[str, str], **fields: str) -> requests.Response:
    return sandbox.post(TOKEN, CLIENT_CREDENTIALS | fields, auth=client)


def customer(sandbox: Sandbox, token: str) -> requests.Response:
    return sandbox.get("/bits/v1/oauth2/userinfo", token)


def fresh_credentials(person: Person) -> tuple[str, str]:
    """What the page shows after its button was pressed."""
    person.answer(person.open("/bits/developer"), rotate="true")
    page = person.open("/bits/developer")
    found = re.search(r'id="client-secret">([^<]+)<', page.text)
    assert found, page.text
    return (f"{person.name}-bits", found[1])


def test_a_token_is_answered_in_bits_words_and_works(sandbox: Sandbox) -> None:
    before = sandbox.state("bits")
    answer = ask(sandbox, SITES_OWN)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body | {"access_token": ""} == {
        "type": "Bearer",
        "access_token": "",
        "expires_in": 3600,
        "scope": "application",
    }
    identity = customer(sandbox, body["access_token"]).json()
    assert re.fullmatch(r"bits:customer::[0-9a-f-]{36}", identity["customerId"])
    assert sandbox.get("/bits/oauth2/userinfo", body["access_token"]).json() == identity
    assert sandbox.get("/bits/v1/applications", body["access_token"]).json()["items"]

    after = sandbox.state("bits")
    assert after["token_requests"]["client_credentials"] == (
        before["token_requests"]["client_credentials"] + 1
    )
    assert after["alive_grants"] == before["alive_grants"] + 1
    assert after["alive_by_user"] == before["alive_by_user"]


def test_the_scheme_may_be_spelled_in_lower_case(sandbox: Sandbox) -> None:
    token = ask(sandbox, SITES_OWN).json()["access_token"]
    url = f"{sandbox.url}/bits/v1/oauth2/userinfo"
    answer = requests.get(url, headers={"Authorization": f"bearer {token}"}, timeout=5)
    assert answer.status_code == 200


def test_each_owner_of_credentials_is_another_customer(sandbox: Sandbox) -> None:
    tokens = [ask(sandbox, client).json()["access_token"] for client in (SITES_OWN, ADAS, ADAS)]
    site, ada, again = (customer(sandbox, token).json()["customerId"] for token in tokens)
    assert ada == again != site
    assert sandbox.state("bits")["alive_by_user"]["ada"] >= 2


@pytest.mark.parametrize(
    ("client", "fields", "status"),
    [
        pytest.param(("bits-demo", "wrong"), {}, 401, id="wrong secret"),
        pytest.param(("unknown", "bits-demo-secret"), {}, 401, id="unknown client"),
        pytest.param(("%62its-demo", "bits-demo-secret"), {}, 401, id="percent-encoded"),
        pytest.param(("badgr-demo", "badgr-demo-secret"), {}, 401, id="of another provider"),
        pytest.param(SITES_OWN, {"grant_type": "authorization_code"}, 400, id="grant type"),
        pytest.param(SITES_OWN, {"scope": "application.write"}, 400, id="unknown scope"),
        pytest.param(SITES_OWN, {"scope": "application.session"}, 400, id="no claims"),
    ],
)
def test_a_refusal_has_a_message(
    sandbox: Sandbox, client: tuple[str, str], fields: dict[str, str], status: int
) -> None:
    before = sandbox.state("bits")
    answer = ask(sandbox, client, **fields)
    assert answer.status_code == status
    assert list(answer.json()) == ["message"]
    after = sandbox.state("bits")
    assert after["failed_token_requests"] == before["failed_token_requests"] + 1
    assert after["alive_grants"] == before["alive_grants"]


def test_credentials_in_the_body_are_not_looked_at(sandbox: Sandbox) -> None:
    body = {"client_id": SITES_OWN[0], "client_secret": SITES_OWN[1]}
    assert sandbox.post(TOKEN, CLIENT_CREDENTIALS | body).status_code == 401


def test_a_token_for_a_session_needs_its_claims_and_opens_nothing_else(sandbox: Sandbox) -> None:
    answer = ask(sandbox, SITES_OWN, scope="application.session", **CLAIMS).json()
    assert answer["scope"] == "application.session"
    assert customer(sandbox, answer["access_token"]).status_code == 200
    refused = sandbox.get("/bits/v1/applications", answer["access_token"])
    assert (refused.status_code, refused.json()) == (403, {"message": "Forbidden"})


def test_a_token_of_another_provider_is_refused(sandbox: Sandbox) -> None:
    assert customer(sandbox, "unknown").json() == {"message": "Unauthorized"}
    assert customer(sandbox, "unknown").status_code == 401


def test_a_person_rotates_and_revokes_their_credentials(sandbox: Sandbox) -> None:
    grace = Person(sandbox, "grace")
    with grace.browser:
        first = fresh_credentials(grace)
        token = ask(sandbox, first).json()["access_token"]
        assert customer(sandbox, token).status_code == 200

        second = fresh_credentials(grace)
        assert customer(sandbox, token).status_code == 401
        assert ask(sandbox, first).status_code == 401
        token = ask(sandbox, second).json()["access_token"]
        assert sandbox.state("bits")["alive_by_user"]["grace"] == 1

        grace.answer(grace.open("/bits/developer"), revoke="true")
        assert "You have none." in grace.open("/bits/developer").text
    assert customer(sandbox, token).status_code == 401
    assert ask(sandbox, second).status_code == 401
    assert "grace" not in sandbox.state("bits")["alive_by_user"]


def test_revoking_from_outside_kills_the_persons_credentials_only(sandbox: Sandbox) -> None:
    site = ask(sandbox, SITES_OWN).json()["access_token"]
    grace = Person(sandbox, "grace")
    with grace.browser:
        hers = fresh_credentials(grace)
        token = ask(sandbox, hers).json()["access_token"]
        assert sandbox.post("/sandbox/users/grace/revoke/bits", {}).json() == {"revoked": 1}
        assert customer(sandbox, token).status_code == 401
        assert ask(sandbox, hers).status_code == 401
        assert customer(sandbox, site).status_code == 200
        assert ask(sandbox, fresh_credentials(grace)).status_code == 200
