"""An operator's yes to a provider's new hosts. Before it, no stored token goes there.

Each account and each open revocation knows a fingerprint of the hosts that it was made for. Where
settings, or a provider's own word, name others, a refresh ends with ``endpoints_changed``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final

from connected_accounts import security
from connected_accounts.database.batches import in_batches
from connected_accounts.exceptions import ConnectedAccountsError, Undecryptable
from connected_accounts.models import ConnectedAccount, Outcome, Reason, Revocation, Status
from connected_accounts.models.bound_tokens import change_facts
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.security import SecurityEvent

BATCH: Final = 500


@dataclass
class Moved:
    """The number of rows that wait for a yes, by the hosts that they would go to; ``unknown`` of
    them cannot be assigned, because their provider does not say now where it is."""

    hosts: Counter[str] = field(default_factory=Counter)
    unknown: int = 0


def moved(alias: str) -> Moved:
    """The rows that ``confirm_endpoints`` would confirm, counted. Changes nothing and sends no
    token."""
    found = Moved()
    for _, _, hosts, _ in _rows_with_other_hosts(alias, found):
        found.hosts[hosts] += 1
    return found


def confirm_endpoints(alias: str, *, hosts: set[str], now: datetime) -> int:
    """Let the tokens of a provider go to ``hosts``, each an entry of ``Moved.hosts``; return how
    many rows were changed. Accounts that had ended for it are refreshed next."""
    changed = 0
    for row, before, new, after in _rows_with_other_hosts(alias, Moved()):
        if new not in hosts:
            continue  # it came up after the operator was asked
        changed += _confirm(row, before, after, now=now)
    security.log(SecurityEvent.ENDPOINTS_CONFIRMED, provider=alias)
    return changed


def _confirm(row: ConnectedAccount | Revocation, before: str, after: str, *, now: datetime) -> int:
    same: Any = type(row)._default_manager.filter(pk=row.pk)

    def change() -> int:
        if isinstance(row, ConnectedAccount):
            return int(same.mark_endpoints_confirmed(before, after, now=now))
        return int(same.filter(endpoint_fingerprint=before).update(endpoint_fingerprint=after))

    try:
        return change_facts([row], change, {"endpoint_fingerprint"})
    except Undecryptable:
        return 0  # its key is away, without which it goes nowhere; confirmed when that is back


def _rows_with_other_hosts(
    alias: str, moved_rows: Moved
) -> Iterator[tuple[ConnectedAccount | Revocation, str, str, str]]:
    """Every row whose hosts are not those of today: it, its fingerprint, the hosts, theirs."""
    provider = get_provider(alias)
    ended = ConnectedAccount.objects.filter(reason=Reason.ENDPOINTS_CHANGED)
    accounts = (ended | ConnectedAccount.objects.filter(status=Status.ACTIVE)).at(alias)
    owed = Revocation.objects.filter(provider=alias, outcome__in=(Outcome.PENDING, Outcome.HELD))
    known: dict[str, tuple[str, str] | None] = {}
    rows: tuple[Any, ...] = (accounts, owed)
    for queryset in rows:
        for row in chain.from_iterable(
            in_batches(queryset.only("endpoint_fingerprint", "inputs"), BATCH)
        ):
            key = repr(sorted(row.inputs.items()))
            if key not in known:
                known[key] = _today(provider, row.inputs)
            today = known[key]
            if today is None:
                moved_rows.unknown += 1
            elif row.endpoint_fingerprint != today[1]:
                yield row, row.endpoint_fingerprint, *today


def _today(provider: Provider, inputs: dict[str, str]) -> tuple[str, str] | None:
    try:
        endpoints = provider.bound(inputs=inputs).endpoints()
    except ConnectedAccountsError:
        return None
    if endpoints.partial:
        return None
    return ", ".join(endpoints.token_origins()), endpoints.token_fingerprint()
