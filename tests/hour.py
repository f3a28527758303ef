"""An hour in which a provider answers nobody, by a clock that is given: for a test and a bench."""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connected_accounts.models import ConnectedAccount, ProviderState
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import attempts
from connected_accounts.refresh.drain import drain
from connected_accounts.sealing import seal_document
from connected_accounts.testing import FakeProvider
from connected_accounts.testing.server import Grant

BATCH = 1000
MINUTE = timedelta(minutes=1)


@dataclass
class Hour:
    """What was seen. ``sent`` are moments by the monotonic clock, after the outage."""

    asked_in_outage: int = 0
    probes: list[int] = field(default_factory=list)  # minutes into the outage
    most_in_a_step: int = 0
    failed_accounts: int = 0
    statuses_changed: int = 0
    minutes_to_refresh_all: int = 0
    seconds_to_refresh_all: float = 0.0
    left: int = 0
    reuses: int = 0
    sent: list[float] = field(default_factory=list)

    @property
    def most_in_a_second(self) -> int:
        """The largest number of requests in any second that begins with one."""
        most, first = 0, 0
        for last, moment in enumerate(self.sent):
            while moment - self.sent[first] >= 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most


def store_due_accounts(fake: FakeProvider, count: int, now: datetime) -> None:
    """Accounts at Badgr with grants that the fake knows, all due a minute ago."""
    provider = get_provider("badgr")
    hosts = provider.endpoints().token_fingerprint()
    server = fake._server
    for first in range(0, count, BATCH):
        rows = []
        for number in range(first, min(first + BATCH, count)):
            grant = Grant(f"person-{number}", "", tuple(provider.scopes), "")
            server.grants.append(grant)
            server._issue(grant)
            server._give_refresh_token(grant)
            document = {"access_token": grant.access_token, "refresh_token": grant.refresh_token}
            row = ConnectedAccount(
                owner_key=f"user:{number}",
                provider="badgr",
                subject=grant.subject,
                subject_digest=f"{number:043}",
                scopes_granted=list(provider.scopes),
                connected_at=now,
                refresh_at=now - MINUTE,
                expires_at=now + 20 * MINUTE,
                client_id=provider.client.client_id,
                endpoint_fingerprint=hosts,
            )
            row.token = seal_document(document, row)  # type: ignore[assignment]
            rows.append(row)
        ConnectedAccount.objects.bulk_create(rows)


def live_through(fake: FakeProvider, now: datetime, *, minutes: int = 60, drains: int = 2) -> Hour:
    """The outage from ``now`` on, beat by beat with ``drains`` each; then until all are fresh."""
    seen = Hour()
    fake.unavailable()
    steps: Counter[Any] = Counter()
    for minute in range(minutes):
        for _ in range(drains):
            state = ProviderState.objects.filter(provider="badgr").first()
            step = state.paused_until if state is not None and state.pause_reason else None
            before = len(fake.requests)
            drain("badgr", now=now + minute * MINUTE)
            asked = len(fake.requests) - before
            if step is not None and asked:
                seen.probes.append(minute)
                steps[step] += asked
    seen.asked_in_outage = len(fake.requests)
    seen.most_in_a_step = max(steps.values(), default=0)
    rows = ConnectedAccount.objects.all()
    seen.failed_accounts = rows.filter(failure_count__gt=0).count()
    seen.statuses_changed = rows.exclude(status="active").count()

    fake.available()
    work = attempts._ask_once

    def timed(attempt: Any) -> Any:
        seen.sent.append(time.monotonic())
        return work(attempt)

    attempts._ask_once = timed
    began = time.monotonic()
    try:
        # Refreshed accounts have a refreshed_at; two hours are enough for the longest backoff.
        for minute in range(minutes, minutes + 120):
            drain("badgr", now=now + minute * MINUTE)
            seen.left = rows.filter(refreshed_at=None).count()
            seen.minutes_to_refresh_all = minute - minutes
            if not seen.left:
                break
    finally:
        attempts._ask_once = work
    seen.sent.sort()
    seen.seconds_to_refresh_all = time.monotonic() - began
    seen.statuses_changed += rows.exclude(status="active").count()
    seen.reuses = fake.reuses
    return seen
