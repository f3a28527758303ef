"""When a grant is due for refresh, how long to wait after a failure, and what a row keeps of it."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from connected_accounts import conf
from connected_accounts.oauth2.token import TokenResponse, seconds
from connected_accounts.providers.base import Provider
from connected_accounts.sealing import Holder, seal_document
from connected_accounts.secret import SecretFields

SOONEST: Final = 20.0  # seconds from one refresh to the next, however short a token is said to live
FIRST_BACKOFF: Final = 60.0
MAX_BACKOFF: Final = 3600.0
# Grants that another token is asked for by what the first was; a refresh token has no part in it.
ASKED_ANEW: Final = ("client_credentials", "identity_assertion")


def refresh_time(
    provider: Provider,
    token: TokenResponse,
    *,
    renewable: bool,
    ends_at: datetime | None,
    sent_at: datetime,
) -> datetime | None:
    """When this grant is due: the same share of the life of whichever token dies first.

    Drawn once, with jitter, so that grants made together do not come due together. None where
    there is no refresh token or no known end. With a REFRESH_MARGIN an access token is due within
    that time before its end, and not earlier: some providers refuse it. A policy of ``on_use``
    leaves the access token to be refreshed when asked for; only a refresh token that would die
    unused is renewed ahead.
    """
    if not renewable:
        return None
    share = provider.refresh_at * random.uniform(1 - conf.JITTER, 1 + conf.JITTER)  # noqa: S311
    share, margin = min(share, 1.0), provider.refresh_margin
    due = [] if ends_at is None else [(ends_at - sent_at).total_seconds() * share]
    if provider.refresh_policy == "ahead" and token.expires_in is not None:
        # What is asked sooner than the margin it refuses, or answers with the same token.
        last = token.expires_in - margin * random.uniform(0.5, 1)  # noqa: S311
        due.append(last if margin else token.expires_in * share)
    return sent_at + timedelta(seconds=max(min(due), SOONEST)) if due else None


def backoff(failure_count: int, retry_after: float | None) -> timedelta:
    """The wait after the n-th failure in a row: doubling from a minute to an hour, with jitter, and
    never less than the provider asked for."""
    wait = min(FIRST_BACKOFF * 2 ** min(max(failure_count - 1, 0), 10), MAX_BACKOFF)
    if retry_after is not None:
        wait = max(wait, min(retry_after, MAX_BACKOFF))
    wait *= random.uniform(1, 1 + 2 * conf.JITTER)  # noqa: S311
    return timedelta(seconds=min(wait, MAX_BACKOFF * (1 + 2 * conf.JITTER)))


def with_known_life(
    provider: Provider, token: TokenResponse, previous: SecretFields
) -> TokenResponse:
    """The answer to a refresh, with the access token's life that was told last where it tells none:
    to leave it out is allowed (RFC 6749 5.1), and does not say that tokens have no end now. Nought
    says so."""
    is_told = token.raw.get(provider.expires_in_field) not in (None, "")
    if token.expires_in is not None or is_told:
        return token
    return replace(token, expires_in=seconds(previous.get("expires_in")))


def grant_values(
    provider: Provider,
    token: TokenResponse,
    document: SecretFields,
    *,
    holder: Holder,
    sent_at: datetime,
    known_end: datetime | None = None,
) -> dict[str, Any]:
    """The columns that a token answer sets, on connect and on refresh alike. ``known_end`` is that
    of the refresh token that is kept where the answer has none. ``holder`` is the row they are for,
    with the facts that it will have."""
    renewable = bool(document.get("refresh_token")) or provider.grant_type in ASKED_ANEW
    ends_at = token.refresh_token_expires_at(sent_at)
    if ends_at is None and token.refresh_token is None and known_end and known_end > sent_at:
        ends_at = known_end  # else it was not its end: it has just worked
    refresh_at = refresh_time(
        provider, token, renewable=renewable, ends_at=ends_at, sent_at=sent_at
    )
    return {
        "token": seal_document(document, holder),
        "expires_at": token.expires_at(sent_at),
        "refresh_token_expires_at": ends_at,
        # What cannot be renewed is looked at when it ends, so that its owner is told.
        "refresh_at": refresh_at if renewable else token.expires_at(sent_at),
        "is_renewable": renewable,
    }
