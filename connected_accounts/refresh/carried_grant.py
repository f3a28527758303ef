"""A refreshed grant that the broker carries while the database is away, and what it meets later.

It may come late: after another attempt, a reconnect, a disconnect, a restored backup or a change of
keys. It takes the place of what it was refreshed from and of nothing newer; what belongs to a
connection that has ended is withdrawn at the provider.
"""

import logging
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from connected_accounts.database.locks import statements_retried
from connected_accounts.exceptions import (
    ConfigurationError,
    ProviderUnavailable,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.models.lease import LEASE_IS_FREE
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.disconnect import revoke_orphan
from connected_accounts.sealing import open_carried, seal_document
from connected_accounts.secret import Sealed, Secret, SecretFields, clears_traceback_locals
from connected_accounts.tokens.lifetimes import grant_values

logger = logging.getLogger("connected_accounts")

# Ends that attempts came to for want of this grant; it undoes them.
UNDONE: Final = ("", Reason.ROTATION_LOST, Reason.RESTORED_COPY)
# What is needed to withdraw it once the account is gone.
_ABOUT: Final = (
    *("provider", "owner_key", "subject", "client_id"),
    *("endpoint_fingerprint", "inputs", "host"),
)


def carried_document(
    account: ConnectedAccount, document: SecretFields, sent_at: datetime
) -> SecretFields:
    """The token document with what is to be known of it wherever it comes to."""
    about = {name: getattr(account, name) for name in _ABOUT}
    known = {"sent_at": sent_at.isoformat(), "revision": account.revision, "about": about}
    return SecretFields({**document, **known})


@statements_retried()
@clears_traceback_locals
def store_sealed(account_id: int, generation: int, sealed: str) -> bool:
    """Store a grant that the broker carried, unless its account got a newer one meanwhile.

    Raises ProviderUnavailable (``busy``) while a later attempt is under way, whose answer may be
    newer, and Undecryptable (``key_missing``) while its key is away: it is to be tried again.
    """
    account = ConnectedAccount.objects.current().filter(pk=account_id).first()
    try:
        seal_id, document = open_carried(Sealed(sealed))
        entry = LedgerEntry.objects.current().filter(seal_id=UUID(seal_id)).first()
        if entry is not None and entry.account_pk not in (None, account_id):
            raise Undecryptable("foreign")
        sent_at = datetime.fromisoformat(document["sent_at"])
        about, revision = dict(document["about"]), int(document["revision"])
        document = _without_what_was_known(document)
    except Undecryptable as error:
        if account is not None:
            account.mark_undecryptable(error.code, at=timezone.now())
        if error.code == "key_missing":
            raise
        return False
    except (KeyError, ValueError, TypeError):
        return False  # not what we gave to the broker
    lives = account is not None and entry is not None and entry.account_pk == account_id
    if account is None or not lives or account.reason not in UNDONE:
        _withdraw(about, document)
        return False
    if account.refreshed_at is not None and account.refreshed_at >= sent_at:
        return False
    if account.generation > generation and _is_held(account):
        raise ProviderUnavailable("busy", sent=False)
    values = _values(account, document, sent_at)
    if account.mark_refreshed(**values):
        return True
    # It may have been put back; what was refreshed then is the newest if nobody asked since.
    account.seal_id, account.revision = UUID(seal_id), revision
    account.client_id, account.inputs = about["client_id"], about["inputs"]
    account.host = about["host"]
    account.endpoint_fingerprint = about["endpoint_fingerprint"]
    values["token"] = seal_document(document, account)
    return bool(account.mark_refreshed(put_back=True, **values))


def _without_what_was_known(document: SecretFields) -> SecretFields:
    known = ("sent_at", "about", "revision")
    return SecretFields({name: v for name, v in dict(document).items() if name not in known})


def _is_held(account: ConnectedAccount) -> bool:
    return not ConnectedAccount.objects.current().filter(LEASE_IS_FREE, pk=account.pk).exists()


def _values(account: ConnectedAccount, document: SecretFields, sent_at: datetime) -> dict[str, Any]:
    token = TokenResponse(
        access_token=Secret(document["access_token"]),
        expires_in=document.get("expires_in"),
        refresh_token_expires_in=document.get("refresh_token_expires_in"),
    )
    values = grant_values(
        get_provider(account.provider),
        token,
        document,
        holder=account,
        sent_at=sent_at,
        known_end=account.refresh_token_expires_at,
    )
    # The next generation fences off an attempt that is under way.
    return values | {"refreshed_at": sent_at, "generation": account.generation + 1}


def _withdraw(about: dict[str, Any], document: SecretFields) -> None:
    """Queue the grant for revocation: the connection that it was for has ended."""
    try:
        provider = get_provider(about["provider"])
    except ConfigurationError:
        logger.error("carried grant not withdrawn: no provider=%s", about["provider"])
        return
    whose: Any = SimpleNamespace(**about)
    made_at, subject = about["endpoint_fingerprint"], about["subject"]
    revoke_orphan(provider, made_at, whose, document, subject=subject, at=timezone.now())
    logger.warning("carried grant withdrawn: provider=%s", provider.alias)
