"""The app and the sandbox's Bime: both workflows and both dialects, over real HTTP."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.web.revocations import open_revocations
from tests.journeys import finish, query_of, start
from tests.sandbox.sandbox_client import Person, Sandbox

pytestmark = pytest.mark.django_db

SITE = "http://testserver"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("bime"), "--redirect-base", SITE)
    yield running
    running.stop()


@pytest.fixture
def configure(settings: Any, sandbox: Sandbox, own_connections: None) -> Any:
    def change(*, place: str = "", **options: Any) -> None:
        entry = {
            "BACKEND": "connected_accounts.providers.bime.Bime",
            "CLIENT_ID": "bime-demo",
            "CLIENT_SECRET": "bime-demo-secret",
            "OPTIONS": {
                "site_base": f"{sandbox.url}/bime/{{account}}{place}",
                "api_base": f"{sandbox.url}/bime/api/v3",
                "manage_url": f"{sandbox.url}/bime/{{account}}/oauth/applications",
                **options,
            },
        }
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": entry}}

    return change


def connect(sandbox: Sandbox, client: Client, account: str, **answer: str) -> Any:
    url = start(client, "bime", account=account)
    ada = Person(sandbox)
    with ada.browser:
        address, _, _ = url.removeprefix(sandbox.url).partition("?")
        sent_back = ada.answer(ada.open(address, **query_of(url)), **answer)
        return finish(client, query_of(sent_back.headers["Location"]), "bime")


def personal_token(sandbox: Sandbox, person: Person, account: str) -> str:
    """Made on the account's page, the only time that it is shown."""
    page = person.answer(person.open(f"/bime/{account}/oauth/applications"), make="true")
    found = re.search(r'id="personal-token">(\w+)<', page.text)
    assert found
    return found[1]


def assert_gone_with_a_page_to_go_to(account: ConnectedAccount, sandbox: Sandbox) -> None:
    disconnect(account)
    revoke_pending()
    line = open_revocations(account.user, timezone.now())[0]
    assert line.outcome == "unsupported"
    assert line.manage_url == f"{sandbox.url}/bime/{account.subject}/oauth/applications"
    page = Person(sandbox)
    with page.browser:
        assert page.open(line.manage_url.removeprefix(sandbox.url)).ok


@pytest.mark.parametrize("draft5", [False, True])
def test_a_code_connects_refreshes_calls_and_is_removed_at_bime(
    sandbox: Sandbox, configure: Any, client: Client, user: Any, draft5: bool
) -> None:
    configure(**({"place": "/draft5", "dialect": "draft5"} if draft5 else {}))
    client.force_login(user)

    response = connect(sandbox, client, "Acme", allow="true")
    assert response.status_code == 303, response.content
    account = ConnectedAccount.objects.get()
    assert (account.subject, account.label, account.scopes_granted) == ("acme", "acme", [])
    assert account.refresh_at is not None
    assert account.refresh_at < account.expires_at

    before = get_access_token(account)
    refresh(account)
    assert get_access_token(account) != before
    listed = get_session(account).get("dashboards").json()
    assert {row["account"] for row in listed["result"]} == {"acme"}

    assert_gone_with_a_page_to_go_to(account, sandbox)


@pytest.mark.parametrize("draft5", [False, True])
def test_a_grant_that_was_ended_at_bime_needs_the_person(
    sandbox: Sandbox, configure: Any, client: Client, user: Any, draft5: bool
) -> None:
    configure(**({"place": "/draft5", "dialect": "draft5"} if draft5 else {}))
    client.force_login(user)
    connect(sandbox, client, "globex", allow="true")
    account = ConnectedAccount.objects.get()

    assert sandbox.post("/sandbox/users/ada/revoke/bime", {}).ok
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)

    assert caught.value.code == "revoked"


@pytest.mark.parametrize("draft5", [False, True])
def test_a_person_who_says_no_is_told_calmly(
    sandbox: Sandbox, configure: Any, client: Client, user: Any, draft5: bool
) -> None:
    configure(**({"place": "/draft5", "dialect": "draft5"} if draft5 else {}))
    client.force_login(user)

    response = connect(sandbox, client, "acme", deny="true")

    assert response.status_code == 200
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("method", ["header", "query"])
def test_a_personal_token_connects_is_used_and_ends_when_it_is_revoked(
    sandbox: Sandbox, configure: Any, client: Client, user: Any, method: str
) -> None:
    configure(grant_type="personal_token", bearer_method=method)
    client.force_login(user)
    grace = Person(sandbox, "grace")
    with grace.browser:
        token = personal_token(sandbox, grace, "globex")
        form = {"account": "globex", "personal_token": token}

        refused = client.post("/connections/bime/connect/", form | {"personal_token": "x" + token})
        assert (refused.status_code, ConnectedAccount.objects.exists()) == (200, False)
        assert token not in refused.text
        connected = client.post("/connections/bime/connect/", form)
        assert connected.status_code == 303, connected.content
        account = ConnectedAccount.objects.get()
        assert (account.subject, account.expires_at, account.refresh_at) == ("globex", None, None)
        answer = get_session(account).get("dashboards")
        assert {row["account"] for row in answer.json()["result"]} == {"globex"}
        assert answer.url == f"{sandbox.url}/bime/api/v3/dashboards"

        page = grace.open("/bime/globex/oauth/applications")
        number = re.search(r'name="revoke" value="(\d+)"', page.text)
        assert number
        grace.answer(page, revoke=number[1])
    with pytest.raises(ReauthorizationRequired) as caught:
        get_session(account).get("dashboards")
    assert caught.value.code == "credentials_rejected"
    assert_gone_with_a_page_to_go_to(account, sandbox)
