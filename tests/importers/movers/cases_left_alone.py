"""Every reason for which a row is left where it is, brought about once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.utils import timezone
from oauth2_capture.models import OAuthToken
from social_django.models import UserSocialAuth

from connected_accounts.clients.credentials import store_own_client
from connected_accounts.importers.accounts import REASONS
from connected_accounts.importers.run import SOURCES as READERS
from connected_accounts.importers.run import import_connections
from connected_accounts.models import ConnectedAccount, ProviderClient
from connected_accounts.oauth2 import discovery
from connected_accounts.owners import SITE_OWNER
from connected_accounts.providers.base import Client
from connected_accounts.secret import Secret
from tests.importers.movers.site import MAKE, person, run

pytestmark = pytest.mark.django_db
Change = Callable[..., None]


@pytest.fixture
def change(settings: Any) -> Change:
    """Change the provider's settings: ``change(EXCLUSIVE=True)``; options by ``OPTIONS``."""

    def do(**values: Any) -> None:
        entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["gitea"]
        options = entry["OPTIONS"] | values.pop("OPTIONS", {})
        entry = entry | values | {"OPTIONS": options}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"gitea": entry}}

    return do


def bring_about(reason: str, change: Change, settings: Any) -> None:
    row = MAKE["allauth"](person(), 7)
    ended = timezone.now() - timedelta(seconds=5)
    if reason == "no_provider":
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {}}
    elif reason == "settings":
        change(SCOPES="not a list")
    elif reason == "other_grant_type":
        change(OPTIONS={"grant_type": "client_credentials"})
    elif reason == "inputs_needed":
        change(OPTIONS={"connect_fields": ["account"]})
    elif reason == "provider_away":
        issuer = {"issuer": "http://127.0.0.1:9", "token_endpoint": ""}
        change(OPTIONS=issuer)
        discovery.clear_cache()
    elif reason == "no_client":
        change(CLIENT_ID="")
    elif reason == "other_client":
        change(CLIENT_ID="another-client")
    elif reason == "no_token":
        SocialToken.objects.update(token="")
    elif reason == "not_oauth2":
        SocialToken.objects.update(token="two words")
    elif reason == "no_identity":
        row.account.uid = ""
        row.account.save()
    elif reason == "no_user":  # as in tables that were restored without constraints
        SocialAccount.objects.update(user_id=0)
    elif reason == "expired":
        SocialToken.objects.update(expires_at=ended, token_secret="")
    elif reason == "already_connected":
        SocialToken.objects.create(account=row.account, token="of-no-app", app=None)
    else:
        assert reason == "account_in_use"
        change(EXCLUSIVE=True)
        ConnectedAccount.objects.create(
            user=person("bob"),
            provider="gitea",
            subject="7",
            connected_at=timezone.now(),
            client_id="mover-client",
        )


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("reason", REASONS)
def test_a_row_is_left_alone_and_the_reason_said(
    reason: str, dry_run: bool, change: Change, settings: Any
) -> None:
    bring_about(reason, change, settings)
    *_, figures = import_connections(READERS["allauth"](), dry_run=dry_run)
    assert dict(figures.skipped) == {("gitea", reason): 1}
    assert sum(figures.stored.values()) == (reason == "already_connected")
    if dry_run:
        said = run("allauth", "--dry-run")
        assert f"gitea: 1 skipped: {REASONS[reason]} ({reason})" in said
    SocialAccount.objects.all().delete()  # what refers to nobody must not be committed


def test_two_owners_of_one_account_in_the_same_batch_are_not_both_let_in(
    change: Change, settings: Any
) -> None:
    for name, provider in (("ada", "gitea"), ("bob", "gitea-2")):
        OAuthToken.objects.create(
            owner=person(name), provider=provider, user_id="7", access_token="token"
        )
    change(EXCLUSIVE=True)
    said = run("oauth2-capture", "--provider", "gitea-2=gitea")
    assert "gitea: 1 imported" in said
    assert "gitea-2: 1 skipped" in said
    assert ConnectedAccount.objects.get().user == person("ada")


def test_a_grant_keeps_the_client_it_was_made_with_where_the_site_still_has_it(
    change: Change,
) -> None:
    MAKE["allauth"](person(), 7)
    change(CLIENT_ID="newer-client")
    old = Client("mover-client", Secret("mover-client-secret"))
    store_own_client(old, provider="gitea", owner=SITE_OWNER, at=timezone.now())
    ProviderClient.objects.update(retired_at=timezone.now())
    run("allauth")
    assert ConnectedAccount.objects.get().client_id == "mover-client"


def test_an_expired_token_with_a_refresh_token_is_due_at_once() -> None:
    MAKE["allauth"](person(), 7)
    ended = timezone.now() - timedelta(days=3)
    SocialToken.objects.update(expires_at=ended)
    run("allauth")
    account = ConnectedAccount.objects.get()
    assert account.expires_at == ended
    assert account.refresh_at < timezone.now() + timedelta(minutes=1)


def test_the_end_of_a_refresh_token_is_kept() -> None:
    row = MAKE["oauth2-capture"](person(), 7)
    ends = timezone.now() + timedelta(hours=2)
    OAuthToken.objects.update(refresh_token_expires_at=ends)
    run("oauth2-capture")
    account = ConnectedAccount.objects.get()
    assert account.refresh_token_expires_at == ends
    assert account.refresh_at < ends  # before the access token's, which is later
    assert account.expires_at == row.expires_at > ends


def test_a_grant_without_an_end_is_never_due() -> None:
    MAKE["allauth"](person(), 7)
    SocialToken.objects.update(expires_at=None, token_secret="")
    run("allauth")
    account = ConnectedAccount.objects.get()
    assert (account.expires_at, account.refresh_at) == (None, None)


@pytest.mark.parametrize(
    ("kept", "seconds"),
    [
        ({"expires_in": 600}, 600),
        ({"expires_in": "600"}, 600),
        ({"expires": 600}, 600),
        ({"expires_on": "at"}, 600),
        ({"expires": "at"}, 600),
        ({"expires_in": 600, "auth_time": None}, 600),
        ({"expires_in": 600, "auth_time": "early"}, 0),
        ({"expires_in": "soon"}, None),
        ({"expires_on": 10**30}, None),
        ({"expires_in": 10**30}, None),
        ({}, None),
    ],
)
def test_the_ways_that_social_auth_keeps_an_end(kept: dict[str, Any], seconds: Any) -> None:
    now = timezone.now()
    said = {"at": int(now.timestamp()) + 600, "early": int(now.timestamp()) - 600}
    extra = {"access_token": "token", "refresh_token": "again", "auth_time": int(now.timestamp())}
    extra |= {name: said.get(value, value) for name, value in kept.items()}
    UserSocialAuth.objects.create(user=person(), provider="gitea", uid="7", extra_data=extra)
    run("social-auth")
    ends = ConnectedAccount.objects.get().expires_at
    if seconds is None:
        assert ends is None
    else:
        assert abs(ends - now - timedelta(seconds=seconds)) < timedelta(seconds=20)


@pytest.mark.parametrize("extra", ["a text", [], {"access_token": {"oauth_token": "of OAuth 1.0"}}])
def test_what_is_no_token_answer_is_left_alone(extra: Any) -> None:
    UserSocialAuth.objects.create(user=person(), provider="gitea", uid="7", extra_data=extra)
    assert "gitea: 1 skipped" in run("social-auth")
    assert ConnectedAccount.objects.count() == 0
