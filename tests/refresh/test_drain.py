"""Refreshing what is due: the tasks, the drains, and when an account is due at all."""

import re
import time
from datetime import timedelta
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts import signals, tasks
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, Event, ProviderState
from connected_accounts.models.deployment import confirm_site
from connected_accounts.provider_state.pauses import pause
from connected_accounts.provider_state.rate_limit import reserve_slots
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import attempts
from connected_accounts.refresh import drain as drain_module
from connected_accounts.refresh.drain import drain
from connected_accounts.testing import Answer, ConnectionRefused, FakeProvider
from connected_accounts.tokens.lifetimes import backoff
from tests.journeys import connect

pytestmark = pytest.mark.django_db


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    made = [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(5)]
    make_due()
    return made


def make_due(**where: Any) -> None:
    past = timezone.now() - timedelta(minutes=1)
    ConnectedAccount.objects.filter(**where).update(refresh_at=past)


def refreshes(fake: FakeProvider) -> int:
    return sum("refresh_token" in request.fields for request in fake.sent_to("token"))


def test_what_is_due_is_refreshed_and_then_nothing_is(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    assert vars(drain("badgr")) == {"refreshed": 5, "failed": 0}
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 0}
    assert refreshes(badgr) == 5
    assert set(badgr.presentations.values()) == {1}


def test_the_addresses_that_all_accounts_share_are_put_together_once(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    put_together = Badgr.resolve_endpoints

    def counted(self: Badgr, inputs: Any) -> Any:
        asked.append(self.alias)
        return put_together(self, inputs)

    monkeypatch.setattr(Badgr, "resolve_endpoints", counted)
    assert drain("badgr").refreshed == 5
    assert len(asked) == 2, "whether they can be found, and for the accounts"


def test_a_look_for_what_is_due_goes_on_where_the_last_one_ended(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    """What was due before lies dead in the index, and would be walked over by each look."""
    settings.CONNECTED_ACCOUNTS = {**settings.CONNECTED_ACCOUNTS, "REFRESH_CONCURRENCY": 1}
    for number, account in enumerate(accounts):
        at = timezone.now() - timedelta(minutes=10 - number)
        ConnectedAccount.objects.filter(pk=account.pk).update(refresh_at=at)
    with CaptureQueriesContext(connection) as queries:
        assert drain("badgr").refreshed == 5
    looks = [q["sql"] for q in queries if re.search("refresh_at.? <= .*ORDER BY", q["sql"])]
    whole = [sql for sql in looks if not re.search("refresh_at.? >= ", sql)]
    # Whether anything is due, the first, and, where fewer are found than wanted, what is left.
    assert len(whole) <= 4 < len(looks)


def test_what_comes_due_behind_the_last_look_is_refreshed_by_the_same_drain(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    settings.CONNECTED_ACCOUNTS = {**settings.CONNECTED_ACCOUNTS, "REFRESH_CONCURRENCY": 1}
    late = accounts[4]
    ConnectedAccount.objects.filter(pk=late.pk).update(refresh_at=None)
    long_ago = timezone.now() - timedelta(days=1)

    def make_late_one_due(**kwargs: Any) -> None:
        ConnectedAccount.objects.filter(pk=late.pk, refresh_at=None).update(refresh_at=long_ago)

    signals.account_refreshed.connect(make_late_one_due)
    try:
        assert drain("badgr").refreshed == 5
    finally:
        signals.account_refreshed.disconnect(make_late_one_due)


def test_no_thread_gives_way_to_others_before_it_sends(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    asleep = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
    monkeypatch.setattr(attempts, "time", asleep)
    assert drain("badgr").refreshed == 5
    assert slept == []


def test_the_beat_task_does_its_whole_work_under_apply(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    tasks.refresh_due_accounts.apply().get()
    assert refreshes(badgr) == 5


def test_the_beat_task_sends_a_bounded_number_of_drains(
    accounts: list[ConnectedAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.drain_refreshes, "apply_async", lambda *a, **k: sent.append(a))
    request = tasks.refresh_due_accounts.push_request(called_directly=False, is_eager=False)
    try:
        tasks.refresh_due_accounts.run()
    finally:
        tasks.refresh_due_accounts.pop_request()
    assert request is None
    assert sent == [(("badgr",),), (("badgr",),)]


def test_one_bad_row_never_stops_the_others(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    foreign = ConnectedAccount.objects.with_token().get(pk=accounts[0].pk).token
    ConnectedAccount.objects.filter(pk=accounts[1].pk).transition(token=foreign)
    ConnectedAccount.objects.filter(pk=accounts[2].pk).transition(token=None)
    assert vars(drain("badgr")) == {"refreshed": 3, "failed": 2}
    bad = ConnectedAccount.objects.get(pk=accounts[1].pk)
    assert (bad.status, bad.last_error) == ("active", "undecryptable")


def test_a_row_with_nothing_to_refresh_with_is_not_due_again_before_its_end(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.behaviour.omit_refresh_token = True
    connect(client_of_ada, badgr)
    make_due()
    assert vars(drain("badgr", seconds=5)) == {"refreshed": 0, "failed": 1}
    row = ConnectedAccount.objects.get()
    assert row.refresh_at == row.expires_at, "it is due again when it has run out"
    assert row.status == "active"


def test_failing_rows_wait_their_backoff_and_healthy_ones_go_on(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    badgr.script("token", ConnectionRefused(), Answer(503))
    assert vars(drain("badgr")) == {"refreshed": 3, "failed": 2}
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 0}
    failing = ConnectedAccount.objects.filter(failure_count=1)
    assert failing.count() == 2
    assert all(row.refresh_at > timezone.now() for row in failing)
    assert Event.objects.filter(kind="refresh_failed").count() == 2


def test_badgrs_throttle_is_waited_for_and_ends_no_grant(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    badgr.script("token", Answer(429, json={"error": "login attempts throttled", "expires": 1800}))
    drain("badgr")
    throttled = ConnectedAccount.objects.order_by("-refresh_at").get(
        refresh_at__gt=timezone.now() + timedelta(minutes=29),
        refresh_at__lt=timezone.now() + timedelta(minutes=40),
    )
    assert (throttled.status, throttled.failure_count) == ("active", 0)


def test_rejected_credentials_stop_the_drain_and_a_probe_resumes_it(
    accounts: list[ConnectedAccount], badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    badgr.script("token", *[Answer(401, json={"error": "invalid_client"})] * 10)
    drain("badgr")
    asked = refreshes(badgr)
    assert 2 <= asked <= 3
    assert not ConnectedAccount.objects.exclude(status="active").exists()
    drain("badgr")
    assert refreshes(badgr) == asked
    ProviderState.objects.update(paused_until=timezone.now())
    drain("badgr")
    assert refreshes(badgr) == asked + 1  # one probe, refused again
    ProviderState.objects.update(paused_until=timezone.now())
    badgr.available()
    badgr._scripts["token"].clear()
    assert vars(drain("badgr")) == {"refreshed": 1, "failed": 0}
    assert ProviderState.objects.get().pause_reason == ""
    drain("badgr", now=timezone.now() + timedelta(minutes=2))
    assert not ConnectedAccount.objects.filter(refreshed_at=None).exists()


def test_an_account_in_somebodys_hands_is_left_alone(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    first = ConnectedAccount.objects.filter(pk=accounts[0].pk)
    assert first.claim([accounts[0].pk], holder=accounts[0].seal_id, seconds=60, now=timezone.now())
    assert drain("badgr").refreshed == 4
    assert not first.claim(
        [accounts[0].pk], holder=accounts[1].seal_id, seconds=60, now=timezone.now()
    )


def test_an_account_that_was_refreshed_since_it_was_chosen_is_not_claimed(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    pks, now = [account.pk for account in accounts], timezone.now()
    ConnectedAccount.objects.filter(pk=pks[0]).update(refresh_at=now + timedelta(minutes=9))
    taken = attempts.claim(pks, get_provider("badgr"), now=now, due_at=now)
    assert {attempt.account.pk for attempt in taken} == {*pks[1:]}


def test_a_lease_that_ran_out_is_taken_over_as_a_replay(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    began = timezone.now() - timedelta(minutes=5)
    first = ConnectedAccount.objects.filter(pk=accounts[0].pk)
    first.claim([accounts[0].pk], holder=accounts[0].seal_id, seconds=-1, now=began)
    badgr.withdraw()
    drain("badgr")
    reasons = dict(ConnectedAccount.objects.values_list("pk", "reason"))
    assert reasons.pop(accounts[0].pk) == "rotation_lost"
    assert set(reasons.values()) == {"revoked"}


def test_refresh_at_is_a_jittered_share_of_the_shorter_life(
    client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider
) -> None:
    due = []
    for number in range(10):
        account = connect(client_of_ada, badgr, subject=f"p{number}")
        due.append((account.refresh_at - account.connected_at).total_seconds() / 86400)
    assert all(0.66 * 0.9 <= share <= 0.66 * 1.1 for share in due)
    assert len({round(share, 6) for share in due}) == 10
    bitbadges.behaviour.expires_in = 86400
    bitbadges.behaviour.refresh_token_expires_in = 7200
    account = connect(client_of_ada, bitbadges, "bitbadges")
    assert account.refresh_at - account.connected_at < timedelta(seconds=7200 * 0.75)
    assert account.refresh_token_expires_at is not None


def test_on_use_leaves_the_access_token_to_be_asked_for(
    client_of_ada: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", REFRESH_POLICY="on_use")
    assert connect(client_of_ada, badgr).refresh_at is None


def test_backoff_doubles_from_a_minute_to_an_hour_and_honours_the_provider() -> None:
    waits = [backoff(failures, None).total_seconds() for failures in range(1, 12)]
    for wait, base in zip(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600], strict=False):
        assert base <= wait <= base * 1.2
    assert 600 <= backoff(1, 600).total_seconds() <= 720
    assert backoff(1, 10**9).total_seconds() <= 3600 * 1.2


def test_the_rate_limit_gives_out_places_a_second_ahead_and_no_more(
    provider_settings: Any, db: None
) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=10)
    provider, now = get_provider("badgr"), timezone.now()
    assert reserve_slots(provider, 4, now=now) == [0.0, 0.1, 0.2, 0.3]
    assert len(reserve_slots(provider, 100, now=now)) == 6
    assert reserve_slots(provider, 1, now=now) == []
    later = reserve_slots(provider, 100, now=now + timedelta(seconds=0.5))
    assert later[0] == pytest.approx(0.5)
    assert len(later) == 5


def test_a_drain_keeps_to_the_rate(
    accounts: list[ConnectedAccount], badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=20)
    began = timezone.now()
    assert drain("badgr").refreshed == 5
    assert timezone.now() - began >= timedelta(seconds=4 / 20)


def test_a_copy_of_the_database_under_another_site_id_refreshes_nothing(
    accounts: list[ConnectedAccount], badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(SITE_ID="production")
    assert drain("badgr").refreshed == 5
    make_due()
    app_settings(SITE_ID="staging")
    tasks.refresh_due_accounts.apply().get()
    assert refreshes(badgr) == 5
    assert confirm_site() == ("staging", "production")
    assert drain("badgr").refreshed == 5


def test_a_copy_made_before_the_first_refresh_refreshes_nothing_either(
    client_of_ada: Client, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(SITE_ID="production")
    connect(client_of_ada, badgr)
    make_due()
    for name in ("clone", None):
        app_settings(SITE_ID=name)
        assert drain("badgr").refreshed == 0
    app_settings(SITE_ID="production")
    assert drain("badgr").refreshed == 1


def test_a_probe_that_ends_a_grant_shows_that_the_site_is_accepted(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    pause("badgr", "invalid_client")
    ProviderState.objects.update(paused_until=timezone.now())
    badgr.script("token", Answer(400, json={"error": "invalid_grant"}))
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 1}
    assert vars(drain("badgr")) == {"refreshed": 4, "failed": 0}


def test_an_alias_that_left_the_settings_stops_nobody(
    accounts: list[ConnectedAccount], badgr: FakeProvider, app_settings: Any
) -> None:
    ConnectedAccount.objects.filter(pk=accounts[0].pk).update(provider="gone")
    tasks.refresh_due_accounts.apply().get()
    tasks.drain_refreshes.apply(("gone",)).get()
    assert refreshes(badgr) == 4


def test_a_badly_configured_provider_does_not_stop_the_beat_task(
    accounts: list[ConnectedAccount], badgr: FakeProvider, app_settings: Any, settings: Any
) -> None:
    broken = {"broken": {"BACKEND": "no.such.Backend", "CLIENT_ID": "x"}}
    app_settings(PROVIDERS=broken | settings.CONNECTED_ACCOUNTS["PROVIDERS"])
    ConnectedAccount.objects.filter(pk=accounts[0].pk).update(provider="broken")
    tasks.refresh_due_accounts.apply().get()
    assert refreshes(badgr) == 4


def test_refresh_account_may_run_twice_late_or_for_nobody(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    for pk in (accounts[0].pk, accounts[0].pk, 999999):
        tasks.refresh_account.apply((pk,)).get()
    badgr.withdraw()
    tasks.refresh_account.apply((accounts[1].pk,)).get()
    tasks.refresh_account.apply((accounts[1].pk,)).get()
    assert refreshes(badgr) == 3


def test_task_names_arguments_and_results_are_the_contract() -> None:
    names = {name for name in current_app.tasks if name.startswith("connected_accounts.")}
    assert names == {
        "connected_accounts." + name
        for name in (
            "refresh_due_accounts",
            "drain_refreshes",
            "refresh_account",
            "revoke_pending_tokens",
            "mail_reconnect",
            "purge",
            "store_refresh",
        )
    }
    for name in names:
        assert current_app.tasks[name].ignore_result
        assert current_app.tasks[name].serializer == "json"


def test_a_drain_that_is_told_to_stop_finishes_what_is_in_flight_and_takes_no_more(
    accounts: list[ConnectedAccount], badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    drained = drain("badgr", stop=lambda: bool(badgr.presentations))
    assert drained.failed == 0
    assert 0 < drained.refreshed < len(accounts)
    assert refreshes(badgr) == drained.refreshed
    assert ConnectedAccount.objects.filter(lease_holder__isnull=False).count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failure", [InterfaceError, OperationalError])
def test_a_database_that_goes_away_between_two_claims_costs_no_answer(
    accounts: list[ConnectedAccount],
    badgr: FakeProvider,
    app_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[Exception],
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    rounds = iter([[0.0, 0.0]])

    def places(*args: Any, **kwargs: Any) -> list[float]:
        for found in rounds:
            return found
        raise failure("the connection is closed")

    monkeypatch.setattr("connected_accounts.refresh.drain.reserve_slots", places)
    assert vars(drain("badgr")) == {"refreshed": 2, "failed": 0}
    assert ConnectedAccount.objects.filter(lease_holder__isnull=False).count() == 0


def test_where_no_thread_can_be_started_nothing_was_sent_and_it_is_tried_later(
    accounts: list[ConnectedAccount], badgr: FakeProvider, no_thread_to_ask: None
) -> None:
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 5}
    assert refreshes(badgr) == 0
    for row in ConnectedAccount.objects.all():
        assert (row.last_error, row.attempt_started_at) == ("no_thread", None)
        assert row.lease_holder is None
        assert row.refresh_at > timezone.now()
    assert not ProviderState.objects.exclude(failures_in_a_row=0).exists()


def test_where_no_thread_can_be_started_the_rest_is_left_as_it_is(
    accounts: list[ConnectedAccount],
    badgr: FakeProvider,
    app_settings: Any,
    no_thread_to_ask: None,
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    assert drain("badgr").failed == 2
    untried = ConnectedAccount.objects.filter(failure_count=0)
    assert untried.filter(refresh_at__lte=timezone.now(), lease_holder=None).count() == 3


def test_a_missing_thread_for_the_metadata_pauses_no_provider(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(self: Badgr, inputs: Any) -> Any:
        raise ProviderUnavailable("no_thread", sent=False)

    monkeypatch.setattr(Badgr, "resolve_endpoints", no_thread)
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 5}
    assert not ProviderState.objects.exclude(failures_in_a_row=0, pause_reason="").exists()


def test_an_attempt_that_did_not_fail_is_not_counted_against_the_provider(
    accounts: list[ConnectedAccount], badgr: FakeProvider, django_user_model: Any
) -> None:
    """Their failure was before, and was counted then."""
    ConnectedAccount.objects.update(failure_count=1)
    django_user_model.objects.update(is_active=False)
    drain("badgr")
    assert refreshes(badgr) == 0
    assert not ProviderState.objects.exclude(failures_in_a_row=0).exists()


class NoLock(Exception):
    """As PostgreSQL's driver tells of a lock that was waited for in vain."""

    sqlstate = "55P03"


def locked_rows(monkeypatch: pytest.MonkeyPatch, *tries: int) -> list[list[int]]:
    """The accounts whose answers are tried to be stored, round by round. The rows of the first of
    them are locked for as many ``tries``. New answers come without a pause."""
    rounds: list[list[int]] = []
    settle, locked_for = drain_module.settle, iter(tries)
    left: dict[int, int] = {}

    def try_to_settle(attempt: Any, outcome: Any) -> Any:
        pk = attempt.account.pk
        rounds[-1].append(pk)
        left[pk] = left.get(pk, next(locked_for, 0) if pk not in left else 0) - 1
        if left[pk] >= 0:
            raise OperationalError from NoLock()
        return settle(attempt, outcome)

    def none_together(answers: Any) -> Any:
        rounds.append([])
        return answers

    monkeypatch.setattr(drain_module, "settle", try_to_settle)
    monkeypatch.setattr(drain_module, "settle_together", none_together)
    monkeypatch.setattr(drain_module, "MAX_WAIT", 1.0)  # the next answer is always there by then
    return rounds


@pytest.mark.parametrize(("again_in", "waits"), [(0.0, False), (60.0, True)])
def test_an_answer_whose_row_was_locked_is_tried_again_amid_new_ones_once_in_a_while(
    accounts: list[ConnectedAccount],
    app_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    again_in: float,
    waits: bool,
) -> None:
    """Its lease may end before the others' answers do."""
    app_settings(REFRESH_CONCURRENCY=1)
    monkeypatch.setattr(drain_module, "LOCKED_AGAIN", again_in)
    rounds = locked_rows(monkeypatch, 1)
    assert vars(drain("badgr")) == {"refreshed": 5, "failed": 0}
    first, *later = chain(*rounds)
    assert sorted(later) == sorted(account.pk for account in accounts)
    assert (later[-1] == first) is waits


def test_of_rows_that_stay_locked_one_at_a_time_holds_up_the_others(
    accounts: list[ConnectedAccount], app_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    monkeypatch.setattr(drain_module, "LOCKED_AGAIN", 0.0)
    rounds = locked_rows(monkeypatch, 3, 3)
    assert vars(drain("badgr")) == {"refreshed": 5, "failed": 0}
    tried = list(chain(*rounds))
    locked = {pk for pk in tried if tried.count(pk) == 4}
    assert len(locked) == 2
    amid_others = [tried for tried in rounds if not locked.issuperset(tried)]
    assert len(amid_others) > 1
    assert all(len(locked.intersection(tried)) == 1 for tried in amid_others)
