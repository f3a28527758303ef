"""``MAX_REQUESTS_PER_SECOND``: slots in one queue that all workers share, in the database.
Where an alias has many hosts, each has a queue."""

import time
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from connected_accounts.conf import provider_config
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ProviderState
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.base import Provider

AHEAD: Final = timedelta(seconds=1)  # how far ahead slots are given out
TRIES: Final = 5
PATIENCE: Final = 10.0  # seconds that a single request waits for its slot
POLL: Final = 0.1
THROTTLE_REMEMBERED: Final = timedelta(hours=1)


def reserve_slots(
    provider: Provider,
    want: int,
    *,
    host: str = "",
    now: datetime | None = None,
    ahead: timedelta = AHEAD,
) -> list[float]:
    """Take up to ``want`` slots; for each, how many seconds from now its request may be sent.

    An empty list: all of the time ``ahead`` is taken. Without a limit all slots are at once.
    """
    rate = provider.config.max_requests_per_second
    if rate is None:
        return [0.0] * want
    gap = timedelta(seconds=1 / rate)
    for _ in range(TRIES):
        moment = now or timezone.now()
        seen = get_or_create_state(provider.alias, host).next_request_at
        first = moment if seen is None else max(seen, moment)
        slots: list[float] = []
        while len(slots) < want and first + gap * len(slots) < moment + ahead:
            slots.append((first + gap * len(slots) - moment).total_seconds())
        rows = ProviderState.objects.filter(
            provider=provider.alias, host=host, next_request_at=seen
        )
        if not slots or rows.update(next_request_at=first + gap * len(slots)):
            return slots
    return []  # too many others at it; the next round tries again


def note_throttle(alias: str, *, ends: datetime, host: str = "") -> None:
    """Let no worker ask the provider before the end of a throttle that it named."""
    get_or_create_state(alias, host)
    rows = ProviderState.objects.filter(provider=alias, host=host)
    earlier = Q(next_request_at__isnull=True) | Q(next_request_at__lt=ends)
    rows.filter(earlier).update(next_request_at=ends)


def note_throttled(alias: str, *, at: datetime, host: str = "") -> None:
    """Let the next drains ask the provider one request at a time."""
    get_or_create_state(alias, host)
    ProviderState.objects.filter(provider=alias, host=host).update(throttled_at=at)


def throttled_hosts(alias: str, now: datetime) -> set[str]:
    """Those that throttled requests within THROTTLE_REMEMBERED."""
    lately = ProviderState.objects.filter(
        provider=alias, throttled_at__gt=now - THROTTLE_REMEMBERED
    )
    return set(lately.values_list("host", flat=True))


def is_throttled(state: ProviderState, now: datetime) -> bool:
    """Whether the provider takes no request until a moment that it named, for longer than anybody
    waits for a slot. Slots that are taken reach no further than that, and one gap of the rate."""
    if state.next_request_at is None:
        return False
    rate = provider_config(state.provider).max_requests_per_second
    gap = 0 if rate is None else 1 / rate
    return state.next_request_at > now + timedelta(seconds=PATIENCE + gap)


def wait_for_slot(provider: Provider, *, host: str = "") -> float:
    """For a single request that somebody waits for: in how many seconds it may be sent.

    It may take a slot further ahead than drains do, so that they cannot take them all from it.
    Raises ProviderUnavailable (``rate_limited``) where even that is not enough.
    """
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        slots = reserve_slots(provider, 1, host=host, ahead=timedelta(seconds=PATIENCE))
        if slots:
            return slots[0]
        time.sleep(POLL)
    raise ProviderUnavailable("rate_limited", sent=False)
