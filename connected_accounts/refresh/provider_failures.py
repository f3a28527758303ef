"""One account's failed attempt, and the trouble of the provider that it may tell of."""

from connected_accounts.exceptions import (
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.oauth2.wire import NO_THREAD
from connected_accounts.provider_state import outages, pauses
from connected_accounts.refresh.attempts import Attempt


def note_provider_failure(attempt: Attempt) -> bool:
    """Count a settled attempt that was its account's first failure, if the provider is to blame.
    Returns whether the provider, or the account's host at it, is paused now."""
    account, outcome = attempt.account, attempt.outcome
    if attempt.asked and isinstance(outcome, ReauthorizationRequired):
        outages.answered(attempt.provider.alias, host=account.host)
    if not attempt.is_first_failure:
        return False
    if not isinstance(outcome, ProviderUnavailable | UnexpectedResponse):
        return False
    if outcome.code == NO_THREAD:
        return False
    unexpected = isinstance(outcome, UnexpectedResponse)
    if unexpected and not attempt.asked:
        return False
    return outages.note_failure(
        attempt.provider.alias,
        now=attempt.sent_at,
        retry_after=outcome.retry_after,
        reason=pauses.REFUSING if unexpected and outcome.refused else pauses.OUTAGE,
        host=account.host,
    )
