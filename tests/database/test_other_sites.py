"""Sites that are set up otherwise: no time zones, several databases, ASGI, threads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone

from connected_accounts.clients.registration import seconds_since_1970
from connected_accounts.management.arguments import moment
from connected_accounts.models import ConnectedAccount, Outcome, Revocation
from connected_accounts.services import (
    adisconnect,
    aget_access_token,
    arefresh,
    get_access_token,
    get_session,
)
from connected_accounts.tasks import refresh_due_accounts, revoke_pending_tokens
from connected_accounts.testing import DropAnswer, FakeProvider, Timeout
from tests.docs.doc_pages import ROOT
from tests.journeys import at_once, connect, run
from tests.urls import urlpatterns as site

pytestmark = pytest.mark.django_db


@pytest.fixture
def without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"


@pytest.mark.usefixtures("without_time_zones")
def test_a_site_without_time_zones_keeps_its_accounts_fresh(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    assert timezone.is_naive(account.expires_at)
    token = get_access_token(account)
    assert token == badgr.grants[0].access_token
    badgr.advance(hours=23)
    refresh_due_accounts.apply()
    assert get_access_token(account) == badgr.grants[0].access_token != token
    badgr.advance(days=2)
    assert get_access_token(account) == badgr.grants[0].access_token
    assert list(badgr.presentations.values()) == [1, 1]
    assert client_of_ada.get("/connections/").status_code == 200
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    revoke_pending_tokens.apply()
    assert Revocation.objects.get().outcome == Outcome.REVOKED


@pytest.mark.parametrize("text", ["2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05+02:00"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_moment_on_the_command_line_is_as_the_site_stores_it(
    settings: Any, use_tz: bool, text: str
) -> None:
    settings.USE_TZ = use_tz
    assert timezone.is_aware(moment(text)) is use_tz


def test_the_end_of_a_secret_is_as_the_site_stores_it(settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    aware: Any = seconds_since_1970(1_800_000_000)
    settings.USE_TZ = False
    assert seconds_since_1970(1_800_000_000) == timezone.make_naive(aware)


def test_a_replica_that_lags_and_a_database_of_other_apps_spend_no_token_twice(
    tmp_path: Path,
) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.database.replica_site", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# ASGI.


async def uses(request: HttpRequest, pk: int) -> JsonResponse:
    account = await ConnectedAccount.objects.aget(pk=pk)
    before = await aget_access_token(account)
    await arefresh(account)
    after = await aget_access_token(account)
    await adisconnect(account)
    return JsonResponse({"renewed": before != after})


urlpatterns = [*site, path("uses/<int:pk>/", uses)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_a_site_under_asgi_uses_refreshes_and_disconnects(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    async def ask() -> Any:
        return await AsyncClient().get(f"/uses/{account.pk}/")

    assert run(ask()).json() == {"renewed": True}
    assert list(badgr.presentations.values()) == [1]
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.count() == 1


# The session.


@pytest.mark.django_db(transaction=True)
def test_threads_share_a_session_and_renew_once(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    session = get_session(account)
    badgr.advance(minutes=1)
    badgr.expire_access_tokens()

    answers = at_once(lambda: session.get("v2/backpack/assertions").status_code)

    assert set(answers) == {404}  # the API knows the bearer, and no badges
    assert list(badgr.presentations.values()) == [1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_call_whose_connection_broke_is_sent_once_more(
    account: ConnectedAccount, badgr: FakeProvider, method: str
) -> None:
    session = get_session(account)
    badgr.script("api", DropAnswer())
    assert session.request(method, "badges").status_code == 404
    assert len(badgr.sent_to("api")) == 2
    badgr.script("api", DropAnswer(), DropAnswer())
    with pytest.raises(OSError, match="Connection aborted"):
        session.request(method, "badges")
    assert len(badgr.sent_to("api")) == 4


@pytest.mark.parametrize(
    ("method", "fault"), [("POST", DropAnswer()), ("DELETE", DropAnswer()), ("GET", Timeout())]
)
def test_no_other_call_is_repeated(
    account: ConnectedAccount, badgr: FakeProvider, method: str, fault: Any
) -> None:
    badgr.script("api", fault)
    with pytest.raises(OSError, match=r"aborted|timed out"):
        get_session(account).request(method, "badges")
    assert len(badgr.sent_to("api")) == 1
