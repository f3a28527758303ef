"""The whole life of grants at random, the real code against a scripted authorization server.

Rules send, answer, lose the answer, crash, are cut by time limits, disconnect, reconnect, write
late, save old copies, put rows back, merge users and move the clock; the server rotates, and ends
a grant whose spent token comes back. The seed is pytest-randomly's: it stands in the header of
each run, and ``PYTEST_ARGS='--randomly-seed=N'`` repeats it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderState,
    Revocation,
)
from connected_accounts.oauth2.state import new_secret
from connected_accounts.owners import owner_key
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import outcomes, storage
from connected_accounts.refresh.attempts import Attempt, RefreshResult, ask, claim, prepare
from connected_accounts.refresh.drain import drain
from connected_accounts.refresh.outcomes import settle
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    complete_authorization,
    disconnect,
    move_to_owner,
    refresh,
    start_authorization,
)
from connected_accounts.testing import (
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Redirect,
    Timeout,
)
from tests.past_rows import columns_of, put_back

EXAMPLES = int(os.environ.get("CONNECTED_ACCOUNTS_MODEL_EXAMPLES", "16"))
# Seeds that failed once.
REGRESSIONS: tuple[int, ...] = ()
PAST = datetime(2000, 1, 1, tzinfo=UTC)
CALLBACK = "https://site.example/connections/badgr/callback/"

# Each with whether the server may have rotated without the site knowing.
FAULTS: list[tuple[Any, bool]] = [
    (None, False),
    (DropAnswer(), True),
    (Timeout(), True),
    (Answer(502, body="<html>"), True),
    (Answer(200, body="<html>"), True),
    (ConnectionRefused(), False),
    (Answer(429, headers={"Retry-After": "90"}), False),
    (Answer(503), False),
    (Redirect("https://elsewhere.example/token"), False),
]


class TimeLimit(BaseException):
    """As gevent's: no Exception, raised into whatever is under way."""


PLACES: tuple[tuple[Any, str], ...] = (
    (ConnectedAccount, "mark_failed"),
    (ConnectedAccount, "mark_reconnect_required"),
    (ConnectedAccount, "mark_refreshed"),
    (outcomes, "_announce_refresh"),
    (outcomes, "_grant"),
    (outcomes, "store_grant"),
    (storage, "retry_while_unavailable"),
)
# At which call of one of these, and whether behind what is done there.
Limit = tuple[int, bool]
LIMITS = st.tuples(st.integers(1, 4), st.booleans())


@contextmanager
def cut_by(limit: Limit) -> Iterator[None]:
    """Raise it there once, and take it back when it comes out."""
    calls = [0]

    def cut(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] != limit[0]:
                return original(*args, **kwargs)
            if limit[1]:
                original(*args, **kwargs)
            raise TimeLimit

        return call

    originals = [(owner, name, getattr(owner, name)) for owner, name in PLACES]
    for owner, name, original in originals:
        setattr(owner, name, cut(original))
    try:
        yield
    except TimeLimit:
        pass
    else:
        assert calls[0] < limit[0], "a time limit was swallowed"
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


class RefreshModel(RuleBasedStateMachine):
    """``pending`` are requests that were sent and whose answer is not written down yet."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeProvider("badgr")
        self.fake.__enter__()
        self.clock = datetime(2030, 1, 1, tzinfo=UTC)
        self.real_now, timezone.now = timezone.now, lambda: self.clock
        self.user, self.other = (
            get_user_model().objects.create_user(name) for name in ("model", "merged")
        )
        self.copies: list[ConnectedAccount] = []
        self.past: list[dict[str, Any]] = []
        self.put_back: set[int] = set()  # accounts, by key, that were at least once
        self.pending: list[tuple[Attempt, RefreshResult]] = []
        self.lost: set[str] = set()  # refresh tokens whose answer never was written down
        self.unspent: Counter[str] = Counter()  # how often one came and was sent away unread
        self.withdrawn: set[int] = set()  # grants, by identity, that a person ended over there
        self.generations: dict[int, int] = {}
        self.subjects = 0

    def teardown(self) -> None:
        try:
            self.in_the_end_everything_is_explained()
        finally:
            timezone.now = self.real_now
            self.fake.__exit__(None, None, None)
            for model in (AuthorizationRequest, ConnectedAccount, Revocation, Event, ProviderState):
                model.objects.all().delete()
            Revocation.objects.all().delete()
            self.user.delete()
            self.other.delete()

    # What people do.

    def authorize(self, subject: str, user: Any) -> None:
        secret = new_secret()
        url = start_authorization(
            user=user, provider="badgr", redirect_uri=CALLBACK, browser_secret=secret
        )
        params = self.fake.authorize(url, subject=subject)
        complete_authorization(user=user, provider="badgr", browser_secret=secret, params=params)

    @precondition(lambda self: self.subjects < 4)
    @rule()
    def connect(self) -> None:
        self.subjects += 1
        self.authorize(f"person-{self.subjects}", self.user)

    @rule(data=st.data())
    def reconnect(self, data: st.DataObject) -> None:
        row = self.some_account(data)
        if row is not None:
            self.authorize(row.subject, row.user)
            row.refresh_from_db()
            assert (row.status, row.reason, row.attempt_started_at) == ("active", "", None)

    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        row = self.some_account(data)
        if row is not None:
            disconnect(row)

    @rule(data=st.data())
    def withdraw_at_the_provider(self, data: st.DataObject) -> None:
        if self.fake.grants:
            grant = data.draw(st.sampled_from(self.fake.grants))
            self.withdrawn.add(id(grant))
            grant.revoke()

    # What the site does with rows.

    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        row = self.some_account(data)
        if row is not None:
            self.copies.append(row)
            self.past.append(columns_of(row))

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def save_an_old_copy(self, data: st.DataObject) -> None:
        copy = self.copies.pop(data.draw(st.integers(0, len(self.copies) - 1)))
        before = ConnectedAccount.objects.filter(pk=copy.pk).values().first()
        copy.label = f"{copy.label}."
        with suppress(ConnectedAccount.DoesNotExist):
            copy.save()
        after = ConnectedAccount.objects.filter(pk=copy.pk).values().first()
        assert after == (before and before | {"label": copy.label})

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        """As a package of histories does it, all columns at once."""
        past = self.past.pop(data.draw(st.integers(0, len(self.past) - 1)))
        if ConnectedAccount.objects.filter(pk=past["id"]).exists():
            put_back(past)
            self.put_back.add(past["id"])
            self.generations[past["id"]] = past["generation"]

    @rule(data=st.data(), way=st.sampled_from(["save", "update", "service"]))
    def merge_users(self, data: st.DataObject, way: str) -> None:
        row = self.some_account(data)
        if row is None:
            return
        old, new = row.user, self.other if row.user == self.user else self.user
        if way == "save":
            row.user = new
            row.save()
        elif way == "update":
            ConnectedAccount.objects.filter(pk=row.pk).update(user=new)
        else:
            move_to_owner(row, new)
        assert ConnectedAccount.objects.for_user(new).filter(pk=row.pk).exists()
        assert not ConnectedAccount.objects.for_user(old).filter(pk=row.pk).exists()

    # What workers do.

    @rule(data=st.data(), fault=st.sampled_from(FAULTS))
    def send(self, data: st.DataObject, fault: tuple[Any, bool]) -> None:
        row = self.some_account(data)
        if row is not None:
            self.begin(row, fault)

    def begin(self, row: ConnectedAccount, fault: tuple[Any, bool]) -> None:
        attempts = claim([row.pk], get_provider("badgr"), now=self.clock)
        free = row.lease_until is None or row.lease_until == PAST
        expected = row.status == "active" and free
        assert len(attempts) == expected or row.pk in self.put_back
        for attempt in attempts:
            blocked = prepare(attempt)
            if blocked is not None:
                self.pending.append((attempt, blocked))
                continue
            if fault[0] is not None:
                self.fake.script("token", fault[0])
            if fault[1]:
                self.lost.add(attempt.document["refresh_token"])
            with self.noting_what_is_unspent(fault):
                self.pending.append((attempt, ask(attempt)))
            self.fake._scripts["token"].clear()

    @contextmanager
    def noting_what_is_unspent(self, fault: tuple[Any, bool]) -> Iterator[None]:
        """A token that met such an answer as 429 may come again: the server did not act on it."""
        before = Counter(self.fake.presentations)
        yield
        if fault[0] is not None and not fault[1]:
            self.unspent += self.fake.presentations - before

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Write down an answer, however late: the row may have been taken over meanwhile."""
        self.write_down(*self.some_pending(data))

    @rule(data=st.data())
    def stale_write(self, data: st.DataObject) -> None:
        """A process comes back after another has taken its account over and finished."""
        row = self.some_account(data)
        if row is not None:
            self.begin(row, FAULTS[0])
        if not self.pending:
            return
        attempt, outcome = self.pending.pop()
        self.end_leases(pk=attempt.account.pk)
        self.lost.add(attempt.document.get("refresh_token", ""))
        for other in claim([attempt.account.pk], attempt.provider, now=self.clock):
            self.write_down(other, prepare(other) or ask(other))
        self.write_down(attempt, outcome)

    def write_down(self, attempt: Attempt, outcome: RefreshResult) -> None:
        before = ConnectedAccount.objects.filter(pk=attempt.account.pk).values().first()
        mine = before is not None and before["lease_holder"] == attempt.account.lease_holder
        settle(attempt, outcome)
        after = ConnectedAccount.objects.filter(pk=attempt.account.pk).values().first()
        if not mine:
            same = after == before or attempt.account.pk in self.put_back
            assert same, "a stale writer changed the row"
            self.lost.add(attempt.document.get("refresh_token", ""))

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process dies with the answer in its hands; the lease runs out by itself."""
        self.nobody_reads([self.some_pending(data)])

    def nobody_reads(self, answers: list[tuple[Attempt, RefreshResult]]) -> None:
        self.lost |= {attempt.document.get("refresh_token", "") for attempt, _ in answers}

    @rule(data=st.data())
    def a_lease_runs_out(self, data: st.DataObject) -> None:
        held = ConnectedAccount.objects.exclude(lease_until=None).order_by("pk")
        if held:
            row = data.draw(st.sampled_from(list(held)))
            self.nobody_reads([each for each in self.pending if each[0].account.pk == row.pk])
            self.end_leases(pk=row.pk)

    @rule(fault=st.sampled_from(FAULTS))
    def drain(self, fault: tuple[Any, bool]) -> None:
        self.drain_amid(fault, nullcontext())

    @precondition(lambda self: self.free_accounts())
    @rule(limit=LIMITS, fault=st.sampled_from(FAULTS))
    def drain_under_a_time_limit(self, limit: Limit, fault: tuple[Any, bool]) -> None:
        """It is raised amid the storing. Nothing is lost by it, so nothing is noted as lost."""
        held = ConnectedAccount.objects.exclude(lease_holder=None).values_list("pk", flat=True)
        before = set(held.all())
        self.a_moment_passes()
        ConnectedAccount.objects.filter(status="active").update(refresh_at=self.clock)
        self.drain_amid(fault, cut_by(limit))
        assert set(held.all()) <= before

    def drain_amid(self, fault: tuple[Any, bool], limit: AbstractContextManager[None]) -> None:
        if fault[0] is not None:
            self.fake.unavailable(fault[0])
        if fault[1]:
            rows = ConnectedAccount.objects.with_token()
            self.lost |= {row.open_token()["refresh_token"] for row in rows}
        with self.noting_what_is_unspent(fault), limit:
            drain("badgr", now=self.clock, seconds=5)
        self.fake.available()

    @precondition(lambda self: self.free_accounts())
    @rule(data=st.data(), limit=LIMITS, fault=st.sampled_from(FAULTS))
    def refresh_under_a_time_limit(
        self, data: st.DataObject, limit: Limit, fault: tuple[Any, bool]
    ) -> None:
        """As a task of the site's own, which uses a token."""
        row = data.draw(st.sampled_from(self.free_accounts()))
        self.a_moment_passes()
        if fault[0] is not None:
            self.fake.script("token", fault[0])
        if fault[1]:
            self.lost.add(row.open_token()["refresh_token"])
        with (
            self.noting_what_is_unspent(fault),
            cut_by(limit),
            suppress(ConnectedAccountsError),
        ):
            refresh(row)
        self.fake._scripts["token"].clear()
        assert ConnectedAccount.objects.get(pk=row.pk).lease_holder is None

    @rule()
    def revoke(self) -> None:
        revoke_pending(now=self.clock)

    @rule(seconds=st.sampled_from([1, 70, 3600, 2 * 86400, -30, -3600]))
    def clock_jumps(self, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)

    # What always holds.

    @invariant()
    def whose_an_account_is_has_one_truth(self) -> None:
        for row in ConnectedAccount.objects.all():
            assert row.owner_key == owner_key(row.user)

    @invariant()
    def generations_never_go_back(self) -> None:
        for row in ConnectedAccount.objects.all():
            assert row.generation >= self.generations.get(row.pk, 0)
            self.generations[row.pk] = row.generation

    @invariant()
    def no_token_is_sent_again_unless_its_answer_was_lost(self) -> None:
        spent = self.fake.presentations - self.unspent
        again = {token for token, times in spent.items() if times > 1}
        # What a person withdrew is refused each time, which is an answer.
        assert again - self.refused_tokens() <= self.lost

    @invariant()
    def what_is_stored_is_the_newest_or_known_to_be_in_doubt(self) -> None:
        for row in ConnectedAccount.objects.filter(status="active", attempt_started_at=None):
            stored = row.open_token()["refresh_token"]
            grant = self.grant_of(stored)
            assert grant is not None
            known = id(grant) in self.withdrawn or row.pk in self.put_back
            assert grant.refresh_token == stored or known

    @invariant()
    def an_end_has_its_reason(self) -> None:
        for row in ConnectedAccount.objects.filter(status="reconnect_required"):
            stored = row.open_token()["refresh_token"]
            grant = self.grant_of(stored)
            if row.reason == "restored_copy":
                assert row.pk in self.put_back
            elif row.pk in self.put_back:
                pass  # it may have been put back to an end that it had
            elif row.reason == "rotation_lost":
                assert stored in self.lost
            else:
                assert row.reason == "revoked"
                assert id(grant) in self.withdrawn

    # The end: the provider is there, leases run out, and time passes.

    def in_the_end_everything_is_explained(self) -> None:
        self.nobody_reads(self.pending)
        self.pending.clear()
        self.lost |= {str(token) for token in self.fake.presentations}
        for _ in range(4):
            self.end_leases()
            self.clock += timedelta(hours=2)
            drain("badgr", now=self.clock, seconds=5)
            ConnectedAccount.objects.filter(status="active").update(refresh_at=self.clock)
        self.an_end_has_its_reason()
        for row in ConnectedAccount.objects.filter(status="active"):
            document = row.open_token()
            grant = self.grant_of(document["refresh_token"])
            assert row.lease_until is None
            assert row.attempt_started_at is None
            assert grant is not None
            assert grant.refresh_token == document["refresh_token"]
            assert grant.access_token == document["access_token"]
        for _ in range(3):
            self.clock += timedelta(hours=2)
            revoke_pending(now=self.clock)
        assert not Revocation.objects.filter(outcome="pending").exists()

    # Looking.

    def some_pending(self, data: st.DataObject) -> tuple[Attempt, RefreshResult]:
        return self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))

    def some_account(self, data: st.DataObject) -> ConnectedAccount | None:
        rows = list(ConnectedAccount.objects.order_by("pk"))
        row: ConnectedAccount | None = data.draw(st.sampled_from(rows)) if rows else None
        return row

    def a_moment_passes(self) -> None:
        """No two attempts at an account begin in one microsecond."""
        self.clock += timedelta(microseconds=1)

    def free_accounts(self) -> list[ConnectedAccount]:
        rows = ConnectedAccount.objects.filter(status="active").order_by("pk")
        return [row for row in rows if row.lease_until in (None, PAST)]

    def grant_of(self, refresh_token: str) -> Any:
        owns = (g for g in self.fake.grants if refresh_token in {g.refresh_token, *g.spent})
        return next(owns, None)

    def refused_tokens(self) -> set[str]:
        ended = (grant for grant in self.fake.grants if id(grant) in self.withdrawn)
        return {token for grant in ended for token in grant.spent}

    def end_leases(self, **where: Any) -> None:
        # That takes its time, so that no two attempts at an account begin in one microsecond.
        self.clock += timedelta(seconds=61, microseconds=1)
        rows = ConnectedAccount.objects.filter(**where).exclude(lease_until=None)
        rows.transition(lease_until=PAST)


@pytest.mark.django_db
def test_the_model_lets_a_token_come_again_that_was_only_throttled() -> None:
    model = RefreshModel()
    model.connect()
    for fault in ((Answer(429, headers={"Retry-After": "90"}), False), FAULTS[0]):
        model.begin(ConnectedAccount.objects.get(), fault)
        model.write_down(*model.pending.pop())
        model.no_token_is_sent_again_unless_its_answer_was_lost()
    assert model.fake.presentations.most_common(1)[0][1] == 2
    model.teardown()


@pytest.mark.django_db
def test_the_model_knows_that_an_answer_about_a_withdrawn_grant_was_lost() -> None:
    model = RefreshModel()
    model.connect()
    grant = model.fake.grants[0]
    model.withdrawn.add(id(grant))
    grant.revoke()
    for fault in ((Answer(200, body="<html>"), True), FAULTS[0]):
        model.clock += timedelta(days=1)
        ConnectedAccount.objects.update(refresh_at=model.clock)
        model.drain_amid(fault, nullcontext())
    assert ConnectedAccount.objects.get().reason == "rotation_lost"
    model.an_end_has_its_reason()
    model.teardown()


@pytest.mark.django_db
def test_the_model_knows_at_its_end_that_nobody_will_read_what_is_pending() -> None:
    model = RefreshModel()
    model.connect()
    model.begin(ConnectedAccount.objects.get(), (ConnectionRefused(), False))
    grant = model.fake.grants[0]
    model.withdrawn.add(id(grant))
    grant.revoke()
    model.teardown()


@pytest.mark.django_db
@pytest.mark.parametrize("number", [None, *REGRESSIONS])
def test_no_order_of_events_loses_a_grant_without_a_reason(
    request: pytest.FixtureRequest, number: int | None
) -> None:
    if number is None:
        number = int(request.config.getoption("randomly_seed", 0))
    run_state_machine_as_test(
        seed(number)(RefreshModel),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
