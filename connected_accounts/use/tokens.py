"""Access tokens that work now, and a session that keeps them so."""

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.models import (
    BigAutoField,
    BinaryField,
    BooleanField,
    DateTimeField,
    ExpressionWrapper,
    F,
    Q,
)
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.database.compiled import Compiled, Parameter, compiled_select
from connected_accounts.database.locks import is_out_of_line, statements_retried
from connected_accounts.database.selects import read_compiled, read_one
from connected_accounts.exceptions import (
    ConnectedAccountsError,
    InsufficientScope,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Reason, Status
from connected_accounts.models.accounts import (
    ConnectedAccountQuerySet,
    has_active_owner,
    owner_state,
)
from connected_accounts.models.ledger import PRESENT, contradicts
from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.owners import owner_key
from connected_accounts.provider_state import pauses
from connected_accounts.providers.registry import get_provider, known_provider
from connected_accounts.refresh.attempts import OWNER_INACTIVE
from connected_accounts.refresh.grant_end import end_grant, end_if_dead
from connected_accounts.refresh.on_demand import renew, with_row_apart
from connected_accounts.sealing import open_column
from connected_accounts.secret import Secret, SecretFields, clears_traceback_locals
from connected_accounts.tokens.api_session import session_for
from connected_accounts.tokens.document import access_token_of

logger = logging.getLogger("connected_accounts")

MARGIN: Final = timedelta(seconds=conf.LAST_MINUTE)
YOUNG: Final = timedelta(minutes=1)  # a token that just came is not what is wrong
CURED_FOR: Final = timedelta(hours=1)  # as its life, where that is longer or not told
USED: Final = (
    "owner_key",
    "subject_digest",
    "revision",
    "provider",
    "status",
    "reason",
    "expires_at",
    "refresh_at",
    "is_renewable",
    "connected_at",
    "refreshed_at",
    "failure_count",
    "last_error",
    "token",
    "seal_id",
    "generation",
    "client_id",
    "endpoint_fingerprint",  # compared with where a session sends it
)


@clears_traceback_locals
def get_access_token(account: ConnectedAccount) -> str:
    """The account's access token, refreshed first when it expires within 60 s (or within the
    provider's ``refresh_margin``, where that is less).

    One query when the token is fresh. Where the refresh fails, a token that is still valid is
    returned. Raises ReauthorizationRequired, ProviderUnavailable (without sending anything while
    the account is in backoff), ClientRejected, UnexpectedResponse or Undecryptable.
    """
    return current_token(account).reveal()


@clears_traceback_locals
@sensitive_variables()
def get_access_token_of(user: Any, provider: str) -> str:
    """The access token of a user's own newest account at a provider, by its alias, in one query
    when the token is fresh; of the site's own for None.

    Raises as ``get_access_token``, ReauthorizationRequired (``disconnected``) where there is no
    account.
    """
    given = {"owner_key": owner_key(user), "provider": provider, "user": getattr(user, "pk", None)}
    fresh = _read_quickly(_newest_of_owner, given)
    token = None if fresh is None else _token_if_fresh(fresh, None)
    if token is not None:
        return token.reveal()
    return current_token(_newest_account(user, provider)).reveal()


@statements_retried()
def _newest_account(user: Any, provider: str) -> ConnectedAccount:
    accounts = ConnectedAccount.objects.current().for_user(user).at(provider).order_by("-pk")
    account = accounts.active().first() or accounts.first()
    if account is None:
        raise ReauthorizationRequired("disconnected")
    return account


async def aget_access_token(account: ConnectedAccount) -> str:
    """``get_access_token`` for asynchronous code."""
    return await sync_to_async(get_access_token)(account)


def get_session(account: ConnectedAccount) -> ProviderSession:
    """A ``requests.Session`` for the provider's API with the account's bearer.

    Relative URLs join ``api_base_url``. The bearer goes to the provider's own origins only; any
    other URL raises ConfigurationError and is not sent. After a 401 the token is renewed and the
    call repeated, once, if its body can be sent again. InsufficientScope is raised for a call that
    wants more permissions, where the provider has ``raises_insufficient_scope``.
    """
    provider = get_provider(account.provider).bound(inputs=account.inputs)
    endpoints = provider.endpoints()
    endpoints.refuse_if_unsure(account.endpoint_fingerprint)
    fingerprint = endpoints.token_fingerprint()
    if provider.has_api_of_grant:
        # The account's own, which is sealed with its token.
        endpoints = provider.endpoints_of_grant(endpoints, _open(_read(account)).get("api_base"))
    return session_for(
        provider,
        endpoints,
        access_token=lambda: current_token(account, fingerprint=fingerprint),
        renew=lambda failed: renewed_token(account, failed, fingerprint=fingerprint),
        more_scopes=lambda wanted: InsufficientScope(
            "insufficient_scope",
            scopes=tuple(dict.fromkeys([*account.scopes_requested, *wanted])),
            account_id=account.pk,
        ),
    )


@clears_traceback_locals
@sensitive_variables()
def current_token(account: ConnectedAccount, *, fingerprint: str | None = None) -> Secret:
    """``get_access_token``, hidden from logs and tracebacks. ``fingerprint`` is that of where
    the token is to be sent: it must be what the account was connected at."""
    fresh = _read_quickly(_by_key, {"id": account.pk})
    if fresh is not None and account.is_same_as(fresh):
        token = _token_if_fresh(fresh, fingerprint)
        if token is not None:
            return token
    return _token_at_a_closer_look(account, fingerprint)


@statements_retried()
@sensitive_variables()
def _token_at_a_closer_look(account: ConnectedAccount, fingerprint: str | None) -> Secret:
    stored = _read(account, fingerprint)
    if not _is_stale(stored, timezone.now()):
        return _access_token(stored)
    try:
        # What was read above is the site's view of things; this is done apart from it.
        return with_row_apart(stored, lambda seen: _renewed(seen, fingerprint))
    except ConnectedAccountsError:
        if stored.expires_at is None or stored.expires_at > timezone.now():
            return _access_token(stored)
        raise


@statements_retried()
@clears_traceback_locals
@sensitive_variables()
def renewed_token(
    account: ConnectedAccount, failed: Secret, *, fingerprint: str | None = None
) -> Secret:
    """A token other than the one a provider just refused: the stored one, if it is newer. The same
    one where another would be refused, too."""
    stored = _read(account, fingerprint)
    document = _open(stored)
    token = access_token_of(document)
    if token != failed:
        return token
    if not _may_help(stored, document, timezone.now()):
        return failed
    try:
        return with_row_apart(stored, lambda seen: _renewed(seen, fingerprint, failed=failed))
    except ReauthorizationRequired as error:
        if error.code == "no_refresh_token" and _first_in_a_minute(stored):
            with_row_apart(stored, lambda seen: end_if_dead(_read(seen, fingerprint)))
            _read(account)  # raises with the reason, if it has ended
        raise


def _may_help(stored: ConnectedAccount, document: SecretFields, now: datetime) -> bool:
    """Whether a token that was refused may be so for its age: not right after it came, and not
    again within its life where a refresh for the same cause did not help."""
    if not stored.is_renewable:
        return True  # a look is taken at it
    age = now - max(filter(None, (stored.connected_at, stored.refreshed_at)))
    if age < YOUNG or not document.get("after_refusal"):
        return age >= YOUNG
    life = document.get("expires_in")
    return age >= (min(timedelta(seconds=life), CURED_FOR) if life else CURED_FOR)


def _first_in_a_minute(stored: ConnectedAccount) -> bool:
    """Whether the provider has not been asked in this minute if the token is alive, by any process
    with the same cache: a call refused for reasons of its own may be one of thousands. A cache that
    is broken or absent counts nothing."""
    name = f"connected_accounts.asked.{stored.pk}.{stored.seal_id}"
    try:
        return cache.add(name, True, timeout=YOUNG.total_seconds())
    except Exception as error:  # the cache's own; its message may hold its address
        logger.warning("cache away, nothing is limited: %s", type(error).__name__)
        return True


class _Row(NamedTuple):
    """The facts that a seal is bound to, the token's column as it is, and whether anything else
    speaks against it. A model of it would cost more than the query."""

    owner_key: str
    provider: str
    subject_digest: str
    seal_id: uuid.UUID
    client_id: str
    endpoint_fingerprint: str
    column: Any
    is_good: Any


_FACTS: Final = _Row._fields[:-2]


def _read_quickly(select: Callable[[str], Compiled], given: Mapping[str, Any]) -> _Row | None:
    """The row of a SELECT. None also where the database could not bring it in line with another
    transaction: the closer look tries again."""
    until = timezone.now() + MARGIN
    try:
        row = read_compiled(ConnectedAccount, select, {**given, "until": until}, _FACTS)
    except DatabaseError as error:
        if connection.in_atomic_block or not is_out_of_line(error):
            raise
        return None
    return None if row is None else _Row._make(row)


def _by_key(using: str) -> Compiled:
    pk = Parameter("id", BigAutoField())
    return _select_row(ConnectedAccount.objects.using(using).filter(pk=pk), Q())


def _newest_of_owner(using: str) -> Compiled:
    """A row in which SQL has written another user is nobody's."""
    field: Any = ConnectedAccount._meta.get_field
    given = {name: Parameter(name, field(name)) for name in ("owner_key", "provider")}
    rows = ConnectedAccount.objects.using(using).active().filter(**given).order_by("-pk")
    user = Parameter("user", field("user").target_field)
    return _select_row(rows, Q(user=None) | Q(user=user))


def _select_row(rows: ConnectedAccountQuerySet, usable: Q) -> Compiled:
    """The first of the rows, and whether it is good: the database says so for less than it takes
    to read all that this hangs on and to look at it here."""
    lasts = Q(expires_at=None) | Q(expires_at__gt=Parameter("until", DateTimeField()))
    usable &= Q(status=Status.ACTIVE) & lasts & has_active_owner() & ~Q(contradicts())
    column = ExpressionWrapper(F("token"), BinaryField())
    good = ExpressionWrapper(usable, BooleanField())
    return compiled_select(rows.values_list(*_FACTS, column, good)[:1])


def _token_if_fresh(row: _Row, fingerprint: str | None) -> Secret | None:
    """The token of a row that nothing speaks against; None where a closer look must be taken."""
    if not row.is_good or fingerprint not in (None, row.endpoint_fingerprint):
        return None
    try:
        return access_token_of(open_column(row.column, row))
    except Undecryptable:
        return None  # which the closer look notes


def _renewed(
    seen: ConnectedAccount, fingerprint: str | None, *, failed: Secret | None = None
) -> Secret:
    """The token of a row after its renewal; ``failed`` was refused. It may have been renewed since
    the moment that the site's transaction sees."""
    now = timezone.now()
    due = _is_stale(seen, now) if failed is None else _access_token(seen) == failed
    if due:
        _refuse_in_backoff(seen, now)
        renew(seen, heeds_pause=True, after_refusal=failed is not None)
    return _access_token(_read(seen, fingerprint))


def _access_token(stored: ConnectedAccount) -> Secret:
    return access_token_of(_open(stored))


def _open(stored: ConnectedAccount) -> SecretFields:
    try:
        return stored.open_token()
    except Undecryptable as error:
        stored.mark_undecryptable(error.code, at=timezone.now())
        raise


def _read(account: ConnectedAccount, fingerprint: str | None = None) -> ConnectedAccount:
    # Runs at every use of a token, so it reads only the columns that it needs.
    stored: ConnectedAccount | None = read_one(
        ConnectedAccount,
        account.pk,
        USED,
        true_unless=owner_state(),
        agreeing={"is_original": PRESENT},
    )
    if stored is None or not account.is_same_as(stored):
        raise ReauthorizationRequired("disconnected")
    if stored.needs_reconnect:
        raise ReauthorizationRequired(stored.reason)
    if not stored.is_original:
        end_grant(_all_columns(stored), Reason.RESTORED_COPY, at=timezone.now())
        raise ReauthorizationRequired(Reason.RESTORED_COPY)
    if fingerprint is not None and stored.endpoint_fingerprint != fingerprint:
        end_grant(_all_columns(stored), Reason.ENDPOINTS_CHANGED, at=timezone.now())
        raise ReauthorizationRequired(Reason.ENDPOINTS_CHANGED)
    if not stored.owner_is_active:
        raise ProviderUnavailable(OWNER_INACTIVE, sent=False)
    return stored


def _all_columns(stored: ConnectedAccount) -> ConnectedAccount:
    """The row with all the columns that its transitions compare and its events copy."""
    full: ConnectedAccount = ConnectedAccount.objects.current().get(pk=stored.pk)
    return full


def _is_stale(stored: ConnectedAccount, now: datetime) -> bool:
    if stored.expires_at is None:
        return False
    if stored.expires_at - now > MARGIN:
        return False
    margin = _margin(stored.provider)
    if stored.expires_at - now > margin:
        return False
    life = _open(stored).get("expires_in")
    if life is None or life > margin.total_seconds() or stored.refreshed_at is None:
        return True
    # A life shorter than MARGIN: refresh after half of it, and not at every use.
    return stored.expires_at <= now or now - stored.refreshed_at > timedelta(seconds=life / 2)


def _margin(alias: str) -> timedelta:
    """The time before its end in which a token is renewed: less where the provider refuses it."""
    provider = known_provider(alias)
    own = provider.refresh_margin if provider is not None else 0
    return min(MARGIN, timedelta(seconds=own)) if own else MARGIN


def _refuse_in_backoff(stored: ConnectedAccount, now: datetime) -> None:
    if stored.failure_count and stored.refresh_at is not None and stored.refresh_at > now:
        raise ProviderUnavailable(stored.last_error, sent=False)
    if pauses.pause_of(stored.provider, now, host=stored.host):
        raise ProviderUnavailable("paused", sent=False)
