"""The rows that everybody works on: the same number, the same tokens, checked afterwards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from allauth.socialaccount.models import SocialAccount, SocialToken
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone
from social_django.models import UserSocialAuth

from bench.harness import expect
from bench.plain.models import PlainAccount
from bench.stub import LIFE, token
from connected_accounts.database.functions import subject_digest
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Revocation
from connected_accounts.owners import owner_key
from connected_accounts.providers.registry import get_provider
from connected_accounts.sealing import seal_document

BATCH = 2000


def delete_accounts() -> None:
    """Ours alone."""
    ConnectedAccount.objects.all()._raw_delete("default")


def delete_rows() -> None:
    """An empty start; straight to the database, with no signal sent."""
    models = (AuthorizationRequest, Event, Revocation, ConnectedAccount, SocialToken)
    for model in (*models, SocialAccount, UserSocialAuth, PlainAccount, LogEntry):
        model.objects.all()._raw_delete("default")
    get_user_model().objects.all()._raw_delete("default")


def make_users(count: int, prefix: str = "person") -> list[Any]:
    model = get_user_model()
    return model.objects.bulk_create(
        [model(username=f"{prefix}{number}") for number in range(count)], batch_size=BATCH
    )


def document(number: int) -> dict[str, Any]:
    """What our row seals of round 0, as a connect does."""
    return {
        "access_token": token("a", number, 0),
        "refresh_token": token("r", number, 0),
        "expires_in": LIFE,
    }


def our_row(number: int, user: Any, more: Callable[[], dict[str, Any]] = dict) -> ConnectedAccount:
    provider = get_provider("gitea")
    now = timezone.now()
    row = ConnectedAccount(
        user=user,
        owner_key=owner_key(user),
        provider="gitea",
        subject=str(number),
        subject_digest=subject_digest(str(number)),
        label=f"u{number}@provider.example",
        scopes_wanted=["read", "write"],
        scopes_requested=["read", "write"],
        scopes_granted=["read", "write"],
        connected_at=now,
        expires_at=now + timedelta(seconds=LIFE),
        refresh_at=now + timedelta(seconds=LIFE / 2),
        client_id=provider.config.client_id,
        endpoint_fingerprint=provider.endpoints().token_fingerprint(),
    )
    row.token = seal_document(document(number) | more(), row)  # type: ignore[assignment]
    return row


def make_ours(
    users: list[Any], first: int = 0, *, more: Callable[[], dict[str, Any]] = dict
) -> None:
    """Each with ``more()`` in its sealed document besides."""
    rows = [our_row(number, user, more) for number, user in enumerate(users, first)]
    ConnectedAccount.objects.bulk_create(rows, batch_size=BATCH)


def make_allauth(users: list[Any], first: int = 0) -> None:
    ends = timezone.now() + timedelta(seconds=LIFE)
    accounts = SocialAccount.objects.bulk_create(
        [
            SocialAccount(user=user, provider="gitea", uid=str(n), extra_data=profile(n))
            for n, user in enumerate(users, first)
        ],
        batch_size=BATCH,
    )
    SocialToken.objects.bulk_create(
        [
            SocialToken(
                account=account,
                token=token("a", n, 0),
                token_secret=token("r", n, 0),
                expires_at=ends,
            )
            for n, account in enumerate(accounts, first)
        ],
        batch_size=BATCH,
    )


def profile(number: int) -> dict[str, Any]:
    return {"id": number, "login": f"u{number}", "email": f"u{number}@provider.example"}


def make_social(users: list[Any]) -> None:
    kept = {
        "id": 0,
        "expires_in": LIFE,
        "token_type": "Bearer",
        "auth_time": int(timezone.now().timestamp()),
    }
    UserSocialAuth.objects.bulk_create(
        [
            UserSocialAuth(
                user=user,
                provider="gitea",
                uid=str(n),
                extra_data=kept
                | {"access_token": token("a", n, 0), "refresh_token": token("r", n, 0)}
                | {"id": n, "expires": int(timezone.now().timestamp()) + LIFE},
            )
            for n, user in enumerate(users)
        ],
        batch_size=BATCH,
    )


def make_plain(users: list[Any]) -> None:
    ends = timezone.now() + timedelta(seconds=LIFE)
    PlainAccount.objects.bulk_create(
        [
            PlainAccount(
                user=user,
                subject=str(n),
                access_token=token("a", n, 0),
                refresh_token=token("r", n, 0),
                expires_at=ends,
            )
            for n, user in enumerate(users)
        ],
        batch_size=BATCH,
    )


def analyze() -> None:
    """Fresh statistics and no dead rows: what autovacuum would bring about in a while."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def make_due() -> None:
    """All of ours are due, in the order of their keys."""
    ConnectedAccount.objects.update(refresh_at=timezone.now() - timedelta(hours=1))


# --- What must be there afterwards ---------------------------------------------------------------


def check_ours(round_: int, who: Any = None) -> None:
    """Every row holds the tokens of its own account in this round, and no lease."""
    rows = ConnectedAccount.objects.with_token() if who is None else who
    for row in rows.iterator():
        kept = row.open_token()
        good = kept["access_token"] == token("a", row.subject, round_)
        good = good and kept["refresh_token"] == token("r", row.subject, round_)
        expect(good and row.lease_holder is None, f"ours: account {row.subject}, round {round_}")


def check_social(rounds: dict[str, int]) -> None:
    for row in UserSocialAuth.objects.iterator():
        round_ = rounds.get(row.uid, 0)
        good = row.extra_data["access_token"] == token("a", row.uid, round_)
        good = good and row.extra_data["refresh_token"] == token("r", row.uid, round_)
        expect(good, f"social-auth: account {row.uid}, round {round_}")


def check_plain(rounds: dict[str, int]) -> None:
    for row in PlainAccount.objects.iterator():
        round_ = rounds.get(row.subject, 0)
        good = row.access_token == token("a", row.subject, round_)
        good = good and row.refresh_token == token("r", row.subject, round_)
        expect(good, f"requests-oauthlib: account {row.subject}, round {round_}")
