"""One attempt to withdraw a grant at its provider: claim, plan, ask, settle.

``ask`` is network only, and safe in any thread; the others talk to the database.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.clients.credentials import clients_of, orphaned_clients, with_any_client
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    Undecryptable,
)
from connected_accounts.models import Event, Kind, Outcome, Revocation
from connected_accounts.models.deployment import adopt_database
from connected_accounts.models.history import Cause, record_undecryptable
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.hooks import call_hook
from connected_accounts.providers.registry import get_provider
from connected_accounts.sealing import open_document
from connected_accounts.secret import SecretFields
from connected_accounts.tokens.lifetimes import backoff

logger = logging.getLogger("connected_accounts")

CLAIM: Final = timedelta(minutes=5)  # longer than any one attempt can take
REMAINDER_EVERY: Final = timedelta(days=1)
UNDECRYPTABLE: Final = "undecryptable"


@dataclass(frozen=True)
class RevocationResult:
    """The result of an attempt; ``pending``: nothing yet. ``troubled``: the provider does not
    answer or refuses the site, so that its other grants need not be tried at the moment."""

    outcome: Outcome
    error: str = ""
    detail: str = ""
    retry_after: float | None = None
    troubled: bool = False


@dataclass(frozen=True)
class RevocationCall:
    """The call to make, in ``delay`` seconds."""

    provider: Provider
    clients: Sequence[Client]  # that may serve, the first before the others
    fingerprint: str  # of the endpoints that the token may go to
    document: SecretFields
    delay: float = 0.0


def claim(revocation: Revocation, now: datetime) -> bool:
    """Make the row ours for a while. False: another worker has it."""
    unchanged = Revocation.objects.filter(
        pk=revocation.pk, attempts=revocation.attempts, outcome=revocation.outcome
    )
    if not unchanged.update(attempts=F("attempts") + 1, next_attempt_at=now + CLAIM):
        return False
    revocation.attempts += 1
    return True


def plan(revocation: Revocation, delay: float = 0.0) -> RevocationCall | RevocationResult:
    """The call to make, in ``delay`` seconds; or the result, where none can be made."""
    try:
        provider = get_provider(revocation.provider)
        if adopt_database().differ:
            raise ConfigurationError("other_site")  # in a copy it would end the original's grant
        provider = provider.bound(inputs=revocation.inputs)
        clients = clients_of(provider, revocation.client_id, revocation.owner_key)
        document = open_document(revocation.token, revocation)
    except ConnectedAccountsError as failure:
        return _result_of(failure)
    except Exception as failure:  # a backend's hook, or inputs of a shape that it did not expect
        logger.error("revocation hook failed: %s", type(failure).__name__)
        return RevocationResult(Outcome.PENDING, "hook_failed")
    return RevocationCall(provider, clients, revocation.endpoint_fingerprint, document, delay)


@sensitive_variables()
def ask(call: RevocationCall) -> RevocationResult:
    """Ask the provider, once. Returns the result, and raises nothing."""
    from connected_accounts.tokens.endpoint import revoke_token  # loads requests

    def revoke(provider: Provider) -> Outcome:
        return call_hook("revocation", lambda: revoke_token(provider, endpoints, call.document))

    try:
        endpoints = call_hook("revocation", lambda: _find_endpoints(call))
        time.sleep(call.delay)
        clients = call.clients or [call.provider.client]
        return RevocationResult(with_any_client(call.provider, clients, revoke))
    except ConnectedAccountsError as failure:
        return _result_of(failure)


def _find_endpoints(call: RevocationCall) -> Endpoints:
    """The addresses of a call, for which its host may be asked. Raises ConnectedAccountsError."""
    provider = call.provider
    endpoints = provider.endpoints()
    endpoints.refuse_if_unsure(call.fingerprint)
    if endpoints.token_fingerprint() != call.fingerprint:
        raise ConfigurationError("endpoints_changed")
    needs_client = provider.grant_type != "personal_token" and endpoints.revocation_endpoint
    if needs_client and not call.clients:
        raise ConfigurationError("client_id_changed")
    return endpoints


def _result_of(failure: ConnectedAccountsError) -> RevocationResult:
    if isinstance(failure, Undecryptable):
        return RevocationResult(Outcome.PENDING, UNDECRYPTABLE, detail=failure.code)
    return RevocationResult(
        Outcome.PENDING,
        failure.code,
        retry_after=failure.retry_after if isinstance(failure, ProviderError) else None,
        troubled=isinstance(failure, ProviderUnavailable | ClientRejected),
    )


def settle(revocation: Revocation, result: RevocationResult, now: datetime) -> None:
    """Store the result of an attempt, and record an event where it settles something."""
    values = _next_values(revocation, result, now)
    ours = Revocation.objects.filter(
        pk=revocation.pk, attempts=revocation.attempts, outcome=revocation.outcome
    )
    if not ours.update(**values):
        return
    if result.error == UNDECRYPTABLE != revocation.last_error:
        record_undecryptable(result.detail, revocation, at=now)
    outcome: Outcome = values["outcome"]
    if outcome == revocation.outcome:
        return
    orphaned_clients().filter(provider=revocation.provider, owner_key=revocation.owner_key).delete()
    if revocation.cause != Cause.UNUSED:  # nobody disconnected anything
        kind = Kind.GIVEN_UP if outcome is Outcome.GIVEN_UP else Kind.REVOKED
        detail = result.error if outcome is Outcome.GIVEN_UP else outcome.value
        Event.record(kind, revocation, at=now, detail=detail)
    logger.info("revocation settled: provider=%s outcome=%s", revocation.provider, outcome.value)


def _next_values(revocation: Revocation, result: RevocationResult, now: datetime) -> dict[str, Any]:
    """The columns of the row after an attempt."""
    outcome = result.outcome
    given_up = revocation.outcome == Outcome.GIVEN_UP or is_overdue(revocation, now)
    if outcome is Outcome.PENDING and given_up:
        outcome = Outcome.GIVEN_UP
    values: dict[str, Any] = {"outcome": outcome, "last_error": result.error[:64]}
    if outcome is Outcome.PENDING:
        return values | {"next_attempt_at": now + backoff(revocation.attempts, result.retry_after)}
    if outcome is Outcome.GIVEN_UP:
        # The remainder: it keeps its token, and is tried once a day until it is purged.
        ended = revocation.finished_at or now
        return values | {"next_attempt_at": now + REMAINDER_EVERY, "finished_at": ended}
    # Finished: the token is not needed any more.
    return values | {"next_attempt_at": None, "finished_at": now, "token": None}


def is_overdue(revocation: Revocation, now: datetime) -> bool:
    return (now - revocation.created_at).total_seconds() >= float(conf.get("REVOKE_GIVE_UP_AFTER"))


def give_up_overdue(now: datetime, limit: int) -> None:
    """Give up what was tried before, is over its time, and did not get a turn in this round."""
    late = now - timedelta(seconds=float(conf.get("REVOKE_GIVE_UP_AFTER")))
    rows = Revocation.objects.due(now).filter(outcome=Outcome.PENDING, attempts__gt=0)
    for revocation in rows.filter(created_at__lte=late).order_by("next_attempt_at")[:limit]:
        settle(revocation, RevocationResult(Outcome.PENDING, revocation.last_error), now)
