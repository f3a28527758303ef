"""The two services that values cannot describe: Slack's token of a person, Mastodon's clients."""

from typing import Any

import pytest

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.models import ConnectedAccount, ProviderClient, Reason, Status
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, connect_account
from connected_accounts.testing.accounts import REDIRECT_URI

pytestmark = pytest.mark.django_db
CLIENT = {"CLIENT_ID": "the-client", "CLIENT_SECRET": "the-secret"}
# As docs.slack.dev has the answer to a refresh: the person's own, with nothing nested.
RENEWED = {
    "ok": True,
    "access_token": "canary-access-2",
    "expires_in": 43200,
    "refresh_token": "canary-refresh-2",
    "token_type": "user",
    "user_id": "U1",
    "scope": "users:read",
    "team": {"id": "T1", "name": "Acme"},
}


@pytest.fixture
def slack(settings: Any, fake_provider: Any) -> Any:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"slack": {"SERVICE": "slack-user", **CLIENT}}}
    return fake_provider("slack")


def stored(account: ConnectedAccount) -> ConnectedAccount:
    row: ConnectedAccount = ConnectedAccount.objects.with_token().get(pk=account.pk)
    return row


def test_a_persons_token_at_slack_is_renewed_by_an_answer_of_another_form(
    slack: Any, user: Any
) -> None:
    account = connect_account(slack, user, subject="U1")
    assert (account.subject, account.scopes_granted) == ("T1:U1", ["users:read"])
    slack.script("token", Answer(200, RENEWED))
    refresh(account)
    row = stored(account)
    assert (row.status, row.subject) == (Status.ACTIVE, "T1:U1")
    assert row.open_token()["access_token"] == "canary-access-2"


def test_another_persons_token_at_slack_ends_the_connection(slack: Any, user: Any) -> None:
    account = connect_account(slack, user, subject="U1")
    slack.script("token", Answer(200, RENEWED | {"user_id": "U2"}))
    with pytest.raises(Exception, match=Reason.IDENTITY_CHANGED):
        refresh(account)
    assert stored(account).reason == Reason.IDENTITY_CHANGED


@pytest.mark.parametrize("team", [None, {}, {"id": 7}, "T1"])
def test_a_team_that_slack_does_not_name_connects_nobody(slack: Any, user: Any, team: Any) -> None:
    answer = {"ok": True, "authed_user": {"id": "U1", "access_token": "canary-1"}, "team": team}
    slack.script("token", Answer(200, answer))
    with pytest.raises(UnexpectedResponse):
        connect_account(slack, user, subject="U1")


def test_the_site_makes_itself_a_client_once_at_each_server_of_mastodon(
    settings: Any, user: Any, fake_provider: Any
) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mastodon": {"SERVICE": "mastodon"}}}
    for host in ("one.example.org", "two.example.org"):
        fake = fake_provider("mastodon", inputs={"host": host})
        for subject in ("1", "2"):
            account = connect_account(fake, user, subject=subject)
            assert account.subject == f"{host}:{subject}"
        [sent] = fake.sent_to("registration")
        assert sent.url == f"https://{host}/api/v1/apps"
        assert sent.json == {
            "client_name": "testserver",
            "redirect_uris": REDIRECT_URI,
            "scopes": "read:accounts",
            "website": "https://testserver/",
        }
    hosts = ProviderClient.objects.values_list("host", flat=True)
    assert sorted(hosts) == ["one.example.org", "two.example.org"]
