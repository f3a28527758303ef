"""social-auth-app-django: ``UserSocialAuth``, whose ``extra_data`` holds the token answer (8.0 with
social-auth-core 7.0 was read). Its content depends on the backend and on the site's settings.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connected_accounts.importers.rows import ForeignGrant, Source, label_of, moment

TOKENS: Final = ("access_token", "refresh_token", "id_token")
# Where social-auth itself draws the line: a larger ``expires`` is a moment, not a life.
LONGEST_LIFE: Final = 63072000


class SocialAuth(Source):
    name = "social-auth"
    app = "social_django"
    model_name = "social_django.UserSocialAuth"
    columns = ("extra_data",)

    def read(self, row: Any) -> ForeignGrant:
        kept = _kept(row)
        return ForeignGrant(
            pk=row.pk,
            user_pk=row.user_id,
            provider=row.provider,
            subject=row.uid,
            label=label_of(kept),
            payload=self.payload(row),
            expires_at=_expires_at(kept, written_at=row.modified),
            connected_at=row.created,
        )

    def payload(self, row: Any) -> dict[str, Any]:
        kept = _kept(row)
        return {name: kept.get(name) for name in (*TOKENS, "token_type", "scope")}

    def empty(self, row: Any) -> None:
        row.extra_data = {n: value for n, value in _kept(row).items() if n not in TOKENS}


def _kept(row: Any) -> Mapping[str, Any]:
    return row.extra_data if isinstance(row.extra_data, Mapping) else {}


def _expires_at(kept: Mapping[str, Any], *, written_at: datetime) -> datetime | None:
    """When the access token ends, as social-auth reads it: ``expires_on`` is a moment,
    ``expires_in`` a life, ``expires`` one or the other."""
    for name in ("expires_on", "expires_in", "expires"):
        told = _number(kept.get(name))
        if told is not None:
            break
    else:
        return None
    if name == "expires_on" or (name == "expires" and told > LONGEST_LIFE):
        return moment(told)
    began = _number(kept.get("auth_time"))
    start = written_at if began is None else moment(began)
    try:
        return None if start is None else start + timedelta(seconds=told)
    except OverflowError:
        return None


def _number(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
