"""``bits.Bits`` against the sandbox's Bits: the site's own account, and one of a person's."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.clients.credentials import open_client
from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import ClientRejected, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Event, Kind, ProviderClient, Revocation
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.testing.fake import move_back
from tests.sandbox.sandbox_client import Person, Sandbox
from tests.sandbox.test_sandbox_bits import CLAIMS, fresh_credentials

pytestmark = pytest.mark.django_db

ADAS = {"client_id": "ada-bits", "client_secret": "ada-bits-secret"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("bits"))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def entry(sandbox: Sandbox, settings: Any, own_connections: None) -> dict[str, Any]:
    made = {
        "BACKEND": "connected_accounts.providers.bits.Bits",
        "CLIENT_ID": "bits-demo",
        "CLIENT_SECRET": "bits-demo-secret",
        "OPTIONS": {"api_base": f"{sandbox.url}/bits"},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bits": made}}
    return made


def connect(user: Any, **values: str) -> ConnectedAccount:
    return connect_directly(user=user, provider="bits", values=values)[0]


def asked(sandbox: Sandbox) -> tuple[int, int]:
    """How many token requests came, and how many of them were refused."""
    state = sandbox.state("bits")
    return state["token_requests"]["client_credentials"], state["failed_token_requests"]


def test_both_owners_connect_renew_call_and_disconnect(sandbox: Sandbox, user: Any) -> None:
    site, own = connect(None), connect(user, **ADAS)
    assert site.subject.startswith("bits:customer::")
    assert site.subject != own.subject
    assert [account.scopes_granted for account in (site, own)] == [["application"]] * 2
    assert open_client(ProviderClient.objects.get()).client_secret.reveal() == "ada-bits-secret"
    for account in (site, own):
        before = get_access_token(account)
        asked_before = asked(sandbox)
        refresh(account)
        assert get_access_token(account) != before
        assert asked(sandbox) == (asked_before[0] + 1, asked_before[1])
        assert get_session(account).get("applications").json()["items"]

        ConnectedAccount.objects.filter(pk=account.pk).update(expires_at=timezone.now())
        assert get_session(account).get("applications").status_code == 200
        assert asked(sandbox) == (asked_before[0] + 2, asked_before[1])

        disconnect(account)
        revoke_pending()
        assert Revocation.objects.latest("pk").outcome == "unsupported"
    assert not ConnectedAccount.objects.exists()
    assert not ProviderClient.objects.exists()


def test_userinfo_is_found_as_it_is_printed_too(entry: dict[str, Any], user: Any) -> None:
    entry["OPTIONS"]["userinfo_path"] = "/oauth2/userinfo"
    account = connect(user, **ADAS)
    assert account.subject.startswith("bits:customer::")


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "wrong"}, {"client_id": "nobody"}, {"client_id": "%61da-bits"}]
)
def test_wrong_credentials_store_nothing(
    sandbox: Sandbox, user: Any, wrong: dict[str, str]
) -> None:
    before = asked(sandbox)
    with pytest.raises(ClientRejected) as caught:
        connect(user, **{**ADAS, **wrong})
    assert (caught.value.code, caught.value.status) == ("credentials", 401)
    assert asked(sandbox) == (before[0] + 1, before[1] + 1)
    assert not ConnectedAccount.objects.exists()
    assert not ProviderClient.objects.exists()


def test_credentials_that_were_revoked_there_cost_one_request_and_new_ones_reconnect(
    sandbox: Sandbox, user: Any
) -> None:
    grace = Person(sandbox, "grace")
    with grace.browser:
        client_id, secret = fresh_credentials(grace)
        account = connect(user, client_id=client_id, client_secret=secret)
        grace.answer(grace.open("/bits/developer"), revoke="true")
        before = asked(sandbox)
        move_back("bits", timedelta(minutes=2))  # a token that just came is not asked for anew

        for _ in range(5):
            with pytest.raises(ReauthorizationRequired) as caught:
                get_session(account).get("applications")
            assert caught.value.code == "credentials_rejected"
        assert asked(sandbox) == (before[0] + 1, before[1] + 1)
        assert Event.objects.filter(kind=Kind.RECONNECT_REQUIRED).count() == 1

        client_id, secret = fresh_credentials(grace)
        values = {"client_id": client_id, "client_secret": secret}
        again, _ = connect_directly(user=user, provider="bits", values=values, account=account)
    assert again.pk == account.pk
    assert get_session(again).get("applications").status_code == 200


def test_a_session_is_for_what_was_entered(entry: dict[str, Any], user: Any) -> None:
    entry["SCOPES"] = ["application.session"]
    account = connect(user, **ADAS, **CLAIMS)
    refresh(account)
    assert account.inputs == CLAIMS
    assert account.scopes_granted == ["application.session"]
    assert get_session(account).get("applications").status_code == 403
