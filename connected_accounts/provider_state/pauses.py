"""State that all workers share about a provider: whether it is paused. Where an alias has many
hosts, each is such a provider by itself (``Provider.host``, ``ConnectedAccount.host``).

A provider that refuses the site's credentials is paused here, one that does not answer in
``outages``. What an answer means is decided in ``refresh.outcomes``."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from connected_accounts import security
from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.locks import retried
from connected_accounts.database.selects import read_all
from connected_accounts.models import Event, Kind, ProviderState
from connected_accounts.owners import SITE_OWNER
from connected_accounts.security import SecurityEvent

logger = logging.getLogger("connected_accounts")

REJECTED_PAUSE: Final = timedelta(minutes=15)
OUTAGE: Final = "outage"  # the pause_reason of a provider that does not answer
REFUSING: Final = "refusing"  # of one that answers, and refuses one account after another
BY_HAND: Final = "by_hand"  # of one that staff paused; only they end that
# Refusals of the only account that the site's client was refused for, until the admins are told,
# unless others were served within this time.
TOLD_AFTER: Final = 2
SERVED_LATELY: Final = timedelta(hours=1)
SERVED_EVERY: Final = timedelta(minutes=1)  # how exactly it is known when a refresh went well


def state_of(alias: str, host: str = "") -> ProviderState | None:
    """The shared row of an alias, or of one of its hosts, if there is one."""
    return ProviderState.objects.filter(provider=alias, host=host).first()


def get_or_create_state(alias: str, host: str = "") -> ProviderState:
    """The shared row of an alias, or of one of its hosts, made when first needed."""
    rows = ProviderState.objects
    state, _ = retried(
        lambda: insert_in_step(ProviderState, lambda: rows.get_or_create(provider=alias, host=host))
    )
    return state


def lock_state_row(alias: str) -> None:
    """Let one transaction at a time go on from here, for this alias, until each commits."""
    ProviderState.objects.filter(provider=alias, host="").update(provider=alias)


def is_paused(state: ProviderState, now: datetime) -> bool:
    return state.paused_until is not None and state.paused_until > now


def pause_of(alias: str, now: datetime, *, host: str = "") -> str:
    """Why the provider is paused at ``now``, or an empty text. Reads only."""
    by_hand = Q(host="", pause_reason=BY_HAND)  # at all hosts
    rows = ProviderState.objects.filter(Q(host=host) | by_hand, provider=alias)
    return next((state.pause_reason for state in rows if is_paused(state, now)), "")


def hosts_in_outage() -> set[tuple[str, str]]:
    """The aliases, each with the host, that nobody gets an answer from at the moment. One query, of
    a few rows."""
    rows = read_all(ProviderState, {"pause_reason": OUTAGE}, ["provider", "host"])
    return {(row.provider, row.host) for row in rows}


def pause(alias: str, code: str, *, host: str = "", now: datetime | None = None) -> None:
    """Stop calling a provider whose answers say that the site's credentials are wrong."""
    now = now or timezone.now()
    state = get_or_create_state(alias, host)
    ProviderState.objects.filter(pk=state.pk).exclude(pause_reason=BY_HAND).update(
        paused_until=now + REJECTED_PAUSE, pause_reason=code[:64], failures_in_a_row=0
    )
    report(alias, code, host=host, now=now)


def pause_by_hand(alias: str) -> ProviderState:
    """Send no refresh to a provider, at any of its hosts, until ``resume_by_hand``, whatever it
    answers meanwhile."""
    state = get_or_create_state(alias)
    for_good = datetime(9000, 1, 1, tzinfo=UTC if settings.USE_TZ else None)
    state.paused_until, state.pause_reason, state.failures_in_a_row = for_good, BY_HAND, 0
    state.save(update_fields=["paused_until", "pause_reason", "failures_in_a_row"])
    return state


def resume_by_hand(alias: str) -> ProviderState:
    """End every pause of a provider at once, whoever began it."""
    ProviderState.objects.filter(provider=alias).update(
        paused_until=None, pause_reason="", failures_in_a_row=0, rejected_account=None
    )
    return get_or_create_state(alias)


def report(alias: str, code: str, *, host: str = "", now: datetime | None = None) -> None:
    """Tell the admins of rejected credentials, by an Event and a log line; once in a while only."""
    now = now or timezone.now()
    at = f" at {host}"[:190] if host else ""  # with a code of 64 it fits the column
    lately = Event.objects.filter(
        kind=Kind.CLIENT_REJECTED, provider=alias, detail__endswith=at, at__gt=now - REJECTED_PAUSE
    )
    if lately.exists():
        return
    told = f"{code[:64]}{at}"
    Event.record(Kind.CLIENT_REJECTED, at=now, detail=told, provider=alias, owner=SITE_OWNER)
    logger.error(
        "client credentials rejected: provider=%s code=%s; check CLIENT_ID and CLIENT_SECRET",
        alias,
        told,
    )
    security.log(SecurityEvent.CLIENT_REJECTED, provider=alias, reason=code)


def note_rejection(
    alias: str, account: int, code: str, *, times: int, now: datetime, host: str = ""
) -> bool:
    """Note that the provider did not take the site's client for one account, and ``times`` before.

    A second account, without a success of anybody's between, pauses the provider: one alone may
    have a dead grant, for which some servers have these words. Returns whether somebody succeeded
    since the last such refusal.
    """
    get_or_create_state(alias, host)
    rows = ProviderState.objects.filter(provider=alias, host=host)
    if rows.filter(rejected_account=None).update(rejected_account=account):
        return True
    if rows.exclude(rejected_account=account).update(rejected_account=account):
        pause(alias, code, host=host, now=now)
    elif times >= TOLD_AFTER and not rows.filter(served_at__gt=now - SERVED_LATELY).exists():
        report(alias, code, host=host, now=now)
    return False


def resume(alias: str, *, host: str = "") -> None:
    """Note that the provider accepts the site again."""
    rows = ProviderState.objects.filter(provider=alias, host=host).exclude(pause_reason=BY_HAND)
    rows.exclude(pause_reason="", failures_in_a_row=0, rejected_account=None).update(
        paused_until=None, pause_reason="", failures_in_a_row=0, rejected_account=None
    )


def note_success(alias: str, *, now: datetime, host: str = "") -> None:
    """Note that the provider serves the site: the end of every pause, but of one by hand."""
    rows = ProviderState.objects.filter(provider=alias, host=host).exclude(pause_reason=BY_HAND)
    calm = Q(pause_reason="", failures_in_a_row=0, rejected_account=None)
    rows.exclude(calm & Q(served_at__gt=now - SERVED_EVERY)).update(
        paused_until=None,
        pause_reason="",
        failures_in_a_row=0,
        rejected_account=None,
        served_at=now,
    )
