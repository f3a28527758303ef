"""A definite refusal that stays: when it is taken for the end of a grant, and how it may heal.

Servers say that a grant is dead in many words, and some in none. Where a 4xx is not a declared
word for it, only time tells.
"""

from datetime import datetime, timedelta
from typing import Final

from connected_accounts.exceptions import (
    ConnectedAccountsError,
    ProviderError,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.provider_state import pauses
from connected_accounts.refresh.attempts import REPLAY_PAUSE, Attempt
from connected_accounts.tokens.lifetimes import backoff

# How long, and how many times in a row, one account is refused until its grant is taken for dead:
# while the provider serves others, and where nobody's success tells that it does.
REFUSED_FOR: Final = timedelta(hours=6)
REFUSED_ALONE_FOR: Final = timedelta(hours=12)
REFUSALS: Final = 5
# Some refusals end by themselves, such as that of a person who is deactivated for a while.
TRIED_AGAIN_IN: Final = timedelta(days=1)
TRIED_FOR: Final = timedelta(days=30)


def is_refusal(error: ConnectedAccountsError) -> bool:
    """Whether the provider said no to this account, and not to the site's client."""
    return isinstance(error, UnexpectedResponse) and error.refused


def stays(attempt: Attempt) -> bool:
    """Whether the refusal of an attempt is one too many: each time for hours, and with an access
    token that has run out. One that is still good may be why the provider refuses another."""
    account, since = attempt.account, attempt.account.refused_since
    good = account.expires_at is not None and account.expires_at > attempt.sent_at
    if since is None or good or account.failure_count < REFUSALS - 1:
        return False
    served_at = pauses.get_or_create_state(account.provider, account.host).served_at
    serves_others = served_at is not None and served_at > since
    return attempt.sent_at - since >= (REFUSED_FOR if serves_others else REFUSED_ALONE_FOR)


def settle_after_the_end(
    attempt: Attempt, outcome: ConnectedAccountsError
) -> ConnectedAccountsError:
    """Write down that a grant which had ended by a refusal was asked for once more, in vain."""
    account = attempt.account
    since = account.refused_since or attempt.sent_at
    over = isinstance(outcome, ReauthorizationRequired) or attempt.sent_at - since > TRIED_FOR
    account.release(
        attempt_started_at=attempt.unresolved_since,
        refresh_at=None if over else attempt.sent_at + TRIED_AGAIN_IN,
    )
    return ReauthorizationRequired(account.reason)


def retry_time(attempt: Attempt, error: ConnectedAccountsError, *, unknown: bool) -> datetime:
    """When an account is tried again after a failure; ``unknown``: its refresh token may be
    spent."""
    account = attempt.account
    retry_after = error.retry_after if isinstance(error, ProviderError) else None
    wait = backoff(account.failure_count + 1, retry_after)
    if retry_after is None and attempt.may_replay(error):
        wait = timedelta(seconds=REPLAY_PAUSE)
    soonest, ends_at = attempt.sent_at + wait, account.expires_at
    if unknown and not attempt.provider.replay_lost_answer:
        # Nothing is sent again: the grant ends when its access token does.
        return max(ends_at or soonest, soonest)
    if is_refusal(error) and retry_after is None and ends_at and ends_at > attempt.sent_at:
        # It may be one that refuses early: at the token's end it would be taken.
        return min(soonest, ends_at)
    return soonest
