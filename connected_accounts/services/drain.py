"""Working off the accounts that are due, many at a time. The database is the queue.

One thread talks to the database; the pool's threads only to the network. Each answer is stored as
it arrives.
"""

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.utils import timezone

from connected_accounts import conf
from connected_accounts.exceptions import ClientRejected, ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import pauses
from connected_accounts.services.renewal import Attempt, Outcome, ask, claim, prepare, settle
from connected_accounts.services.storing import GrantNotStored

MAX_SECONDS: Final = 50.0  # a drain ends before the next beat starts one


@dataclass
class Drained:
    """What one drain did. ``not_stored``: grants for the broker, if the database is away."""

    refreshed: int = 0
    failed: int = 0
    not_stored: list[GrantNotStored] = field(default_factory=list)


def is_due(alias: str, now: datetime) -> bool:
    """Whether a drain of this provider would find work."""
    due = ConnectedAccount.objects.at(alias).due_for_refresh(now).order_by()
    if not due.exists():
        return False
    state = pauses.provider_state(alias)
    return pauses.belongs_here(state) and not pauses.is_paused(state, now)


def drain(alias: str, *, now: datetime | None = None, seconds: float = MAX_SECONDS) -> Drained:
    """Refresh what is due at one provider until nothing is, or ``seconds`` are up.

    ``now`` stands still during a drain: an account that fails is not due again within it. Raises
    ConfigurationError for an alias that settings do not have.
    """
    now = now or timezone.now()
    provider = get_provider(alias)
    drained = Drained()
    if not is_due(alias, now):
        return drained
    # A provider that refused us is probed with one account before it gets the rest.
    probing = bool(pauses.provider_state(alias).pause_reason)
    width = 1 if probing else int(conf.get("REFRESH_CONCURRENCY"))
    ends = time.monotonic() + seconds
    with ThreadPoolExecutor(width, "connected-accounts-drain") as pool:
        in_flight: dict[Future[Outcome], Attempt] = {}
        more = True
        while more or in_flight:
            more = more and time.monotonic() < ends and not drained.not_stored
            if more and len(in_flight) < 2 * width:
                attempts = _claim_due(provider, 2 * width - len(in_flight), now)
                more = bool(attempts) and not probing
                for attempt in attempts:
                    _start(attempt, pool, in_flight, drained)
            if in_flight:
                done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
                for future in done:
                    rejected = _finish(in_flight.pop(future), future.result(), drained)
                    more = more and not rejected
    if probing and drained.refreshed:
        pauses.resume(alias)
    return drained


def _claim_due(provider: Provider, count: int, now: datetime) -> list[Attempt]:
    due = ConnectedAccount.objects.at(provider.alias).due_for_refresh(now)
    # The ids first: MariaDB takes no LIMIT in a subquery.
    pks = list(due.values_list("pk", flat=True)[:count])
    return claim(pks, provider, now=now) if pks else []


def _start(
    attempt: Attempt,
    pool: ThreadPoolExecutor,
    in_flight: dict[Future[Outcome], Attempt],
    drained: Drained,
) -> None:
    blocked = prepare(attempt)
    if blocked is None:
        in_flight[pool.submit(ask, attempt)] = attempt
    else:
        _finish(attempt, blocked, drained)


def _finish(attempt: Attempt, outcome: Outcome, drained: Drained) -> bool:
    """Settle one attempt; True where the provider refuses the site itself."""
    error: ConnectedAccountsError | None
    try:
        error = settle(attempt, outcome)
    except GrantNotStored as away:
        drained.not_stored.append(away)
        return False
    drained.refreshed += error is None
    drained.failed += error is not None
    return isinstance(error, ClientRejected)
