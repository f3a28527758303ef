"""A drain of an alias with many hosts: what one of them does is held against no other."""

import threading
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from connected_accounts.models import ConnectedAccount, Event, Kind, ProviderState
from connected_accounts.provider_state.outages import BURST
from connected_accounts.provider_state.pauses import pause
from connected_accounts.providers.generic import OAuth2
from connected_accounts.refresh.drain import drain
from connected_accounts.refresh.due import is_due
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect
from connected_accounts.testing import Answer, FakeProvider

pytestmark = pytest.mark.django_db

GOOD, BAD = "good.example.edu", "bad.example.edu"
MINUTE = timedelta(minutes=1)
URL = "https://{host}"
REFUSED = Answer(401, {"error": "invalid_client"})


class Held:
    """The server answers only once ``release`` is set."""

    reaches_server: ClassVar[bool] = False

    def __init__(self, release: threading.Event) -> None:
        self.release = release

    def play(self, request: Any, act: Any) -> Answer:
        self.release.wait(10)
        return Answer(503)


@pytest.fixture
def fakes(settings: Any, fake_provider: Any) -> dict[str, FakeProvider]:
    """Two hosts of one alias, by name."""
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {
            "server": {
                "BACKEND": "connected_accounts.providers.generic.OAuth2",
                "CLIENT_ID": "the-client",
                "CLIENT_SECRET": "the-secret",
                "OPTIONS": {
                    "hosts": [GOOD, BAD],
                    "connect_fields": ["host"],
                    "authorization_endpoint": f"{URL}/authorize",
                    "token_endpoint": f"{URL}/token",
                    "userinfo_endpoint": f"{URL}/me",
                    "revocation_endpoint": f"{URL}/revoke",
                },
            }
        },
        "REFRESH_CONCURRENCY": 4,
    }
    return {host: fake_provider("server", inputs={"host": host}) for host in (GOOD, BAD)}


@pytest.fixture
def due(make_account: Any, now: datetime, fakes: dict[str, FakeProvider]) -> Any:
    """``due(host, 20)``: so many accounts there that are due; those of BAD are the older ones."""

    def make(host: str, count: int) -> list[ConnectedAccount]:
        late = 10 if host == BAD else 5
        return [
            make_account(provider="server", inputs={"host": host}, refresh_at=now - late * MINUTE)
            for _ in range(count)
        ]

    return make


def tokens(fake: FakeProvider, count: int = 100) -> None:
    """Let the next refreshes succeed."""
    told = {"access_token": "new", "refresh_token": "newer", "expires_in": 3600}
    fake.script("token", *[Answer(200, json=told)] * count)


def reason(host: str) -> str:
    state = ProviderState.objects.filter(provider="server", host=host).first()
    return "" if state is None else str(state.pause_reason)


def test_a_host_that_is_away_is_paused_and_no_other(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 40), due(GOOD, 20)
    fakes[BAD].unavailable()
    tokens(fakes[GOOD])
    assert drain("server", now=now).refreshed == 20
    assert (reason(BAD), reason(GOOD)) == ("outage", "")
    asked = ConnectedAccount.objects.filter(host=BAD, failure_count=1).count()
    assert BURST <= asked < 40


def test_after_a_pause_a_host_is_probed_while_the_others_go_on(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 20), due(GOOD, 5)
    pause("server", "invalid_client", host=BAD, now=now - timedelta(hours=1))
    tokens(fakes[GOOD])
    fakes[BAD].unavailable()
    assert drain("server", now=now).refreshed == 5
    assert ConnectedAccount.objects.filter(host=BAD, failure_count=1).count() == 1
    assert reason(BAD) == "invalid_client"
    fakes[BAD].available()
    tokens(fakes[BAD])
    later = now + timedelta(hours=1)
    assert drain("server", now=later).refreshed == 1 + 5
    assert reason(BAD) == ""
    assert drain("server", now=later).refreshed == 19


def test_nothing_is_due_while_the_only_host_with_work_is_paused(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 3)
    pause("server", "invalid_client", host=BAD, now=now)
    assert not is_due("server", now)
    due(GOOD, 1)
    assert is_due("server", now)


def test_a_client_that_one_host_refuses_is_used_at_the_others(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 10), due(GOOD, 10)
    fakes[BAD].script("token", *[REFUSED] * 20)
    tokens(fakes[GOOD])
    assert drain("server", now=now).refreshed == 10
    assert (reason(BAD), reason(GOOD)) == ("invalid_client", "")
    [told] = Event.objects.filter(kind=Kind.CLIENT_REJECTED)
    assert told.detail == f"invalid_client at {BAD}"


def test_a_throttle_of_one_host_is_not_that_of_another(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 10), due(GOOD, 10)
    fakes[BAD].script("token", *[Answer(429, headers={"Retry-After": "600"})] * 20)
    tokens(fakes[GOOD])
    assert drain("server", now=now).refreshed == 10
    assert not ProviderState.objects.filter(host=GOOD, next_request_at__gt=now + MINUTE).exists()
    assert ProviderState.objects.filter(host=BAD, next_request_at__gt=now + MINUTE).exists()


def test_each_host_has_the_rate_limit_for_itself(
    settings: Any, due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    settings.CONNECTED_ACCOUNTS["PROVIDERS"]["server"]["MAX_REQUESTS_PER_SECOND"] = 4
    due(BAD, 20), due(GOOD, 3)
    tokens(fakes[BAD]), tokens(fakes[GOOD])
    drain("server", now=now, seconds=1.2)
    assert len(fakes[GOOD].sent_to("token")) == 3
    assert 0 < len(fakes[BAD].sent_to("token")) < 20


def test_a_host_that_dawdles_leaves_threads_to_the_others(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    due(BAD, 20), due(GOOD, 6)
    tokens(fakes[GOOD])
    release = threading.Event()
    fakes[BAD].script("token", *[Held(release)] * 40)

    def stop() -> bool:
        """Once all of the one host are served, the other one answers at last."""
        if ConnectedAccount.objects.filter(host=GOOD, refreshed_at=None).exists():
            return False
        release.set()
        return True

    drained = drain("server", now=now, seconds=5, stop=stop)
    assert release.is_set()
    assert (drained.refreshed, drained.failed > 0) == (6, True)


def test_a_host_that_refuses_revocations_holds_up_no_other(
    due: Any, fakes: dict[str, FakeProvider], now: datetime
) -> None:
    for account in [*due(BAD, 5), *due(GOOD, 2)]:
        disconnect(account)
    fakes[BAD].script("revocation", *[Answer(503)] * 20)
    revoke_pending(seconds=5)
    assert len(fakes[GOOD].sent_to("revocation")) == 2


def test_answers_are_stored_while_other_hosts_do_not_say_where_they_are(
    make_account: Any,
    due: Any,
    fakes: dict[str, FakeProvider],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their leases run, and what was sent once is not to be sent again."""
    monkeypatch.setattr("connected_accounts.refresh.drain.SILENCE", 0.0)
    good = make_account(provider="server", inputs={"host": GOOD}, refresh_at=now - 20 * MINUTE)
    due(BAD, 2)
    tokens(fakes[GOOD])
    stored, find = [], OAuth2.resolve_endpoints

    def find_late(self: OAuth2, inputs: Any) -> Any:
        if inputs["host"] == BAD:
            while not fakes[GOOD].sent_to("token"):
                threading.Event().wait(0.01)
            threading.Event().wait(0.1)
            good.refresh_from_db()
            stored.append(good.refreshed_at is not None)
        return find(self, inputs)

    monkeypatch.setattr(OAuth2, "resolve_endpoints", find_late)
    drain("server", now=now)
    assert stored[1]


def test_an_account_whose_time_has_run_out_is_given_back_and_its_host_not_asked(
    due: Any, fakes: dict[str, FakeProvider], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connected_accounts.refresh.attempts.LEASE_MARGIN", 0.0)
    (account,), asked = due(GOOD, 1), []
    monkeypatch.setattr(OAuth2, "resolve_endpoints", lambda self, inputs: asked.append(inputs))
    drain("server", now=now, seconds=0.2)
    account.refresh_from_db()
    assert asked == []
    assert (account.failure_count, account.lease_holder) == (0, None)
