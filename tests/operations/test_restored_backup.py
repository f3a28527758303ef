"""``confirm_site --restored``: what may have been spent since the backup is not spent again."""

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from connected_accounts import signals
from connected_accounts.models import ConnectedAccount, Deployment, Event
from connected_accounts.models.deployment import adopt_database
from connected_accounts.refresh.drain import drain
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, FakeProvider

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def restore(*arguments: str) -> str:
    out = StringIO()
    call_command("confirm_site", "--restored", *arguments, stdout=out)
    return out.getvalue()


def ended() -> set[str]:
    found = ConnectedAccount.objects.filter(status="reconnect_required", reason="rotation_lost")
    return set(found.values_list("subject", flat=True))


def test_what_came_due_since_the_backup_ends_with_its_reason_and_nothing_is_sent(
    make_account: Any, badgr: FakeProvider, now: datetime
) -> None:
    make_account(subject="came due", refresh_at=now - HOUR)
    make_account(subject="used", refresh_at=None, expires_at=now + timedelta(seconds=30))
    make_account(subject="not due", refresh_at=now + HOUR)
    make_account(subject="never due", refresh_at=None, expires_at=None, refresh_token=None)
    make_account(subject="runs out", refresh_at=None, expires_at=now - HOUR, refresh_token=None)
    told: list[str] = []

    def listen(account: ConnectedAccount, reason: str, **kwargs: Any) -> None:
        told.append(f"{account.subject}: {reason}")

    signals.reconnect_required.connect(listen)
    try:
        assert "2 connections ended (rotation_lost), 3 kept." in restore()
    finally:
        signals.reconnect_required.disconnect(listen)
    assert ended() == {"came due", "used"}
    assert sorted(told) == ["came due: rotation_lost", "used: rotation_lost"]
    assert Event.objects.filter(kind="reconnect_required", detail="rotation_lost").count() == 2
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 0}
    assert not badgr.sent_to("token")


def test_an_account_in_a_workers_hands_when_the_backup_was_made_ends(
    make_account: Any, now: datetime
) -> None:
    account = make_account(refresh_at=now + HOUR)
    ConnectedAccount.objects.all().claim(
        [account.pk], holder=account.seal_id, seconds=60, now=now - HOUR
    )
    restore()
    assert ended() == {account.subject}


def test_a_moment_spares_what_came_due_after_the_last_use_of_the_lost_database(
    make_account: Any, now: datetime
) -> None:
    make_account(subject="before", refresh_at=now - 3 * HOUR)
    make_account(subject="after", refresh_at=now - HOUR, expires_at=now)
    restore("--until", (now - 2 * HOUR).isoformat())
    assert ended() == {"before"}


def test_all_and_provider_choose_what_ends(make_account: Any, now: datetime) -> None:
    make_account(subject="one", refresh_at=now + HOUR)
    make_account(subject="two", refresh_at=now + HOUR, provider="bitbadges")
    restore("--all", "--provider", "bitbadges")
    assert ended() == {"two"}
    restore("--all")
    assert ended() == {"one", "two"}


def test_one_that_was_refreshed_by_hand_since_the_backup_is_explained_too(
    make_account: Any, badgr: FakeProvider, now: datetime
) -> None:
    account = make_account(refresh_at=now + HOUR)
    restore()
    badgr.script("token", Answer(400, json={"error": "invalid_grant"}))
    with pytest.raises(Exception, match="rotation_lost"):
        refresh(account)
    assert account.reason == "rotation_lost"


def test_an_account_that_was_kept_is_refreshed_as_ever(
    make_account: Any, badgr: FakeProvider, now: datetime
) -> None:
    make_account(refresh_at=now + HOUR)
    restore()
    ConnectedAccount.objects.update(refresh_at=now)
    badgr.script("token", Answer(200, json={"access_token": "new", "expires_in": 3600}))
    assert vars(drain("badgr")) == {"refreshed": 1, "failed": 0}
    assert ConnectedAccount.objects.get().attempt_started_at is None


def test_the_site_is_confirmed_too(make_account: Any, app_settings: Any) -> None:
    app_settings(SITE_ID="production")
    adopt_database()
    app_settings(SITE_ID="after the fire")
    assert "The database was production, and is after the fire now." in restore()
    assert Deployment.objects.get().site_id == "after the fire"


def test_options_of_a_restore_are_refused_without_it(make_account: Any) -> None:
    make_account(refresh_at=None)
    with pytest.raises(CommandError):
        call_command("confirm_site", "--all")
    assert not ended()
