"""When a grant is due for refresh, how long to wait after a failure, and what a row keeps of it."""

import random
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connected_accounts import conf
from connected_accounts.fields import seal_document
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Provider

JITTER: Final = 0.1  # share of the time to the refresh, either way
MIN_INTERVAL: Final = 30.0  # seconds: a provider whose tokens live for less is not asked faster
FIRST_BACKOFF: Final = 60.0
MAX_BACKOFF: Final = 3600.0


def refresh_time(
    provider: Provider, token: TokenResponse, *, renewable: bool, sent_at: datetime
) -> datetime | None:
    """When this grant is due: the same share of the life of whichever token dies first.

    Drawn once, with jitter, so that grants made together do not come due together. None where
    there is no refresh token or no known end. A policy of ``on_use`` leaves the access token to be
    refreshed when asked for; only a refresh token that would die unused is renewed ahead.
    """
    if not renewable:
        return None
    lives = [token.refresh_token_expires_in]
    if provider.config.refresh_policy == "ahead":
        lives.append(token.expires_in)
    known = [life for life in lives if life is not None]
    if not known:
        return None
    share = float(conf.get("REFRESH_AT")) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return sent_at + timedelta(seconds=max(min(known) * share, MIN_INTERVAL))


def backoff(failure_count: int, retry_after: float | None) -> timedelta:
    """The wait after the n-th failure in a row: doubling from a minute to an hour, with jitter, and
    never less than the provider asked for."""
    wait = min(FIRST_BACKOFF * 2 ** min(max(failure_count - 1, 0), 10), MAX_BACKOFF)
    if retry_after is not None:
        wait = max(wait, min(retry_after, MAX_BACKOFF))
    wait *= random.uniform(1, 1 + 2 * JITTER)  # noqa: S311
    return timedelta(seconds=min(wait, MAX_BACKOFF * (1 + 2 * JITTER)))


def grant_values(
    provider: Provider,
    token: TokenResponse,
    document: Mapping[str, Any],
    *,
    seal_id: uuid.UUID,
    sent_at: datetime,
) -> dict[str, Any]:
    """The columns that a token answer sets, on connect and on refresh alike."""
    renewable = bool(document.get("refresh_token"))
    return {
        "token": seal_document(dict(document), seal_id),
        "expires_at": token.expires_at(sent_at),
        "refresh_token_expires_at": token.refresh_token_expires_at(sent_at),
        "refresh_at": refresh_time(provider, token, renewable=renewable, sent_at=sent_at),
    }
