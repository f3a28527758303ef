"""Questions about the toolkit's token tables, and the one deed done from outside OAuth."""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)

from .dialects import Dialect

AccessToken = get_access_token_model()
RefreshToken = get_refresh_token_model()
Grant = get_grant_model()


def checksum(raw_token: str) -> str:
    return hashlib.sha256(raw_token.encode()).hexdigest()


def find_refresh_token(dialect: Dialect, raw_token: str) -> Any | None:
    return (
        RefreshToken.objects.filter(
            token_checksum=checksum(raw_token), application__client_id=dialect.client_id
        )
        .select_related("access_token", "user")
        .first()
    )


def find_access_token(dialect: Dialect, raw_token: str) -> Any | None:
    return AccessToken.objects.filter(
        token_checksum=checksum(raw_token), application__client_id=dialect.client_id
    ).first()


def was_rotated(refresh_token: Any) -> bool:
    """Whether a younger token of its family has taken its place (and it was not just revoked)."""
    younger = RefreshToken.objects.filter(
        token_family=refresh_token.token_family, pk__gt=refresh_token.pk
    )
    return bool(younger.exists())


def refresh_lives(dialect: Dialect) -> tuple[timedelta, timedelta] | None:
    if dialect.refresh_seconds is None:
        return None
    first, rotated = dialect.refresh_seconds
    override = settings.SANDBOX_REFRESH_TOKEN_SECONDS  # type: ignore[misc]
    return timedelta(seconds=override or first), timedelta(seconds=override or rotated)


def refresh_expires_at(dialect: Dialect, refresh_token: Any) -> datetime | None:
    lives = refresh_lives(dialect)
    if lives is None:
        return None
    access_token = refresh_token.access_token
    rotated = access_token is not None and access_token.source_refresh_token_id is not None
    expires_at: datetime = refresh_token.created + lives[rotated]
    return expires_at


def alive_grants(dialect: Dialect) -> QuerySet[Any]:
    """One row per grant: the refresh token that is neither revoked nor expired.

    A Badgr grant of which only the access token was revoked counts as alive, since the
    provider still lists it.
    """
    alive: QuerySet[Any] = RefreshToken.objects.filter(
        application__client_id=dialect.client_id, revoked__isnull=True
    )
    lives = refresh_lives(dialect)
    if lives is None:
        return alive
    now = timezone.now()
    first = Q(access_token__source_refresh_token__isnull=True)
    return alive.filter(
        (first & Q(created__gt=now - lives[0])) | (~first & Q(created__gt=now - lives[1]))
    )


def kill_grants(dialect: Dialect, user: AbstractUser) -> int:
    """What happens when a person removes the client in the provider's own settings page."""
    mine = {"application__client_id": dialect.client_id, "user": user}
    with transaction.atomic():
        Grant.objects.filter(**mine).delete()
        tokens = list(RefreshToken.objects.filter(**mine, revoked__isnull=True))
        for token in tokens:
            token.revoke()
        AccessToken.objects.filter(**mine).delete()
    return len(tokens)
