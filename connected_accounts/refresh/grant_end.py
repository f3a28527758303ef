"""Ending a grant, and finding out whether one that cannot be renewed is still alive."""

from collections.abc import Collection
from datetime import datetime
from functools import partial

from django.db.models import Q
from django.utils import timezone

from connected_accounts import security, signals
from connected_accounts.database.transactions import after_commit
from connected_accounts.exceptions import ConnectedAccountsError, ProviderError
from connected_accounts.models import ConnectedAccount, Event, Kind, Reason
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.registry import get_provider, known_provider
from connected_accounts.refresh.refusals import TRIED_AGAIN_IN
from connected_accounts.security import SecurityEvent
from connected_accounts.tokens.document import access_token_of
from connected_accounts.tokens.identity import identify


def end_if_dead(account: ConnectedAccount) -> None:
    """Ask the provider, once, whose the token is; end the grant where it says that it is nobody's.

    For a token without an end and without anything to refresh it with (a personal token), after an
    API has refused it: one call alone may be refused for reasons of its own. ``row`` has its token
    loaded.
    """
    provider = get_provider(account.provider).bound(inputs=account.inputs)
    if provider.identity_source != "userinfo":
        return
    token = TokenResponse(access_token_of(account.open_token()))
    try:
        identify(provider, provider.endpoints(), token)
        return  # alive
    except ConnectedAccountsError as error:
        # It once said whose the token is, and has no other reason to refuse it now.
        if not isinstance(error, ProviderError) or error.code not in ("status_401", "status_403"):
            return
    personal = provider.grant_type == "personal_token"
    reason = Reason.CREDENTIALS_REJECTED if personal else Reason.REVOKED
    end_grant(account, reason, at=timezone.now())


def end_grant(account: ConnectedAccount, reason: Reason, *, at: datetime) -> bool:
    """Mark that the person must connect again, and tell of it, once. False: the row is no longer
    as it was read, and nothing was done. ``account.reason`` is the reason then: where another
    connection of the same account is newer and goes on, it took this one's place."""
    if reason is Reason.REVOKED and _has_newer_elsewhere(account):
        reason = Reason.REPLACED
    retry_at = at + TRIED_AGAIN_IN if reason is Reason.REFUSED else None
    if not account.mark_reconnect_required(reason, retry_at=retry_at):
        return False
    Event.record(Kind.RECONNECT_REQUIRED, account, at=at, detail=reason)
    security.log(
        SecurityEvent.RECONNECT_REQUIRED,
        provider=account.provider,
        owner=account.owner_key,
        account=account.pk,
        reason=reason.value,
    )
    send = partial(
        signals.reconnect_required.send_robust,
        ConnectedAccount,
        account=account,
        reason=reason.value,
    )
    after_commit(send)
    return True


def lost_an_answer_elsewhere(account: ConnectedAccount) -> bool:
    """Whether an answer for another connection of the same account was lost: some servers end all
    grants of a person when a spent refresh token comes back, and nobody has withdrawn this one."""
    others = ConnectedAccount.objects.current().at(account.provider).exclude(pk=account.pk)
    lost = Q(reason=Reason.ROTATION_LOST) | Q(attempt_started_at__isnull=False, failure_count__gt=0)
    return bool(others.filter(lost, subject_digest=account.subject_digest).exists())


def end_copies(pks: Collection[int]) -> None:
    """End those of these accounts that the ledger knows for copies, or for what is past: nothing of
    what they hold may be sent."""
    for row in ConnectedAccount.objects.current().renewable().copies().filter(pk__in=pks):
        end_grant(row, Reason.RESTORED_COPY, at=timezone.now())


def _has_newer_elsewhere(account: ConnectedAccount) -> bool:
    """Whether another owner connected the same account of the provider after this one last worked:
    some servers keep one grant for a person and client."""
    provider = known_provider(account.provider)
    if provider is not None and provider.identity_source == "none":
        return False  # nobody knows whose is whose
    worked = max(filter(None, (account.connected_at, account.refreshed_at)))
    others = ConnectedAccount.objects.current().active().at(account.provider)
    same = others.filter(subject_digest=account.subject_digest, connected_at__gt=worked)
    return bool(same.exclude(owner_key=account.owner_key).exists())
