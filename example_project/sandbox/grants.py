"""Questions about the toolkit's token tables, and the one deed done from outside OAuth."""

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)

from .dialects import Dialect
from .models import Registration

AccessToken = get_access_token_model()
RefreshToken = get_refresh_token_model()
Grant = get_grant_model()


def checksum(raw_token: str) -> str:
    return hashlib.sha256(raw_token.encode()).hexdigest()


def of(dialect: Dialect) -> Q:
    """Codes and tokens of the clients of one provider."""
    return Q(application__registration__dialect=dialect.name)


def find_refresh_token(dialect: Dialect, raw_token: str) -> Any | None:
    tokens = RefreshToken.objects.filter(of(dialect), token_checksum=checksum(raw_token))
    return tokens.select_related("access_token", "user").first()


def find_access_token(dialect: Dialect, raw_token: str) -> Any | None:
    return AccessToken.objects.filter(of(dialect), token_checksum=checksum(raw_token)).first()


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
    """One row per grant with a refresh token, which is neither revoked nor expired.

    A Badgr grant of which only the access token was revoked counts as alive, since the
    provider still lists it.
    """
    alive: QuerySet[Any] = RefreshToken.objects.filter(of(dialect), revoked__isnull=True)
    lives = refresh_lives(dialect)
    if lives is None:
        return alive
    now = timezone.now()
    first = Q(access_token__source_refresh_token__isnull=True)
    return alive.filter(
        (first & Q(created__gt=now - lives[0])) | (~first & Q(created__gt=now - lives[1]))
    )


def alive_bare_tokens(dialect: Dialect) -> QuerySet[Any]:
    """Access tokens that came without a refresh token, such as those of Bits."""
    bare: QuerySet[Any] = AccessToken.objects.filter(of(dialect), refresh_token__isnull=True)
    return bare.filter(expires__gt=timezone.now())


def count_alive(dialect: Dialect) -> Counter[str | None]:
    """How many are alive, by the name of their owner; a site's own have none."""
    owner = Coalesce("user__username", "application__user__username")
    alive: Counter[str | None] = Counter()
    for rows in (alive_grants(dialect), alive_bare_tokens(dialect)):
        counted = rows.annotate(owner=owner).values("owner").annotate(n=Count("pk"))
        alive.update({row["owner"]: row["n"] for row in counted.order_by("owner")})
    return alive


@transaction.atomic
def kill_grants(dialect: Dialect, user: AbstractUser) -> int:
    """What happens when a person removes the client in the provider's own settings page.

    Of a person's own credentials (Bits) and personal tokens (Bime) nothing is left either.
    """
    theirs = of(dialect) & (Q(user=user) | Q(application__user=user))
    Grant.objects.filter(of(dialect), user=user).delete()
    tokens = list(RefreshToken.objects.filter(theirs, revoked__isnull=True))
    for token in tokens:
        token.revoke()
    bare = alive_bare_tokens(dialect).filter(theirs).count()
    AccessToken.objects.filter(theirs).delete()
    own = Registration.objects.filter(application__user=user, dialect=dialect.name)
    own.update(secret_expires_at=timezone.now())
    return len(tokens) + bare
