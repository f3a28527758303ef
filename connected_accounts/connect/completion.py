"""Connect, second half: from the callback to a stored grant (RFC 6749 4.1.2, RFC 9207)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.clients.credentials import clients_of, note_refused, retire, with_any_client
from connected_accounts.connect.authorization import (
    DPOP_KEY_PURPOSE,
    VERIFIER_PURPOSE,
    callback_key,
)
from connected_accounts.connect.callback_params import check_issuer, read_params, refusal_of
from connected_accounts.connect.connection import Authorized, store_connection
from connected_accounts.connect.failures import failures_traced
from connected_accounts.connect.outer_transactions import refuse_sites_transaction
from connected_accounts.connect.refusals import logs_refusals, record_refusal
from connected_accounts.database.functions import digest
from connected_accounts.database.locks import PATIENCE, statements_retried
from connected_accounts.database.selects import read_all
from connected_accounts.database.transactions import retry_while_unavailable
from connected_accounts.database.updates import update_and_read
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    InvalidState,
    ReauthorizationRequired,
    Undecryptable,
    WayOn,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.models.authorizations import STORED_CLIENT
from connected_accounts.models.deployment import Deployment, adopt_database
from connected_accounts.models.history import record_undecryptable
from connected_accounts.oauth2 import state
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.owners import (
    CONNECT_THE_SITE,
    SITE_OWNER,
    may_connect,
    may_still_connect,
    owner_key,
    read_again,
)
from connected_accounts.provider_state.pauses import report
from connected_accounts.providers.base import Client, Endpoints, Identity, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.interruptions import signals_held
from connected_accounts.revoke.disconnect import revoke_orphan
from connected_accounts.sealing import unseal
from connected_accounts.secret import (
    Secret,
    SecretFields,
    clears_traceback_locals,
    hidden,
    revealed,
)
from connected_accounts.tokens.document import token_document
from connected_accounts.tokens.endpoint import exchange_code
from connected_accounts.tokens.identity import identify, with_claims

T = TypeVar("T")


@dataclass(frozen=True)
class Completed:
    """A finished authorization: the account, whether it is new, and where the person was going."""

    account: ConnectedAccount
    created: bool
    next: str


@failures_traced
@statements_retried()
@logs_refusals
@clears_traceback_locals
@sensitive_variables()
def complete_authorization(
    *,
    user: Any,
    provider: str,
    browser_secret: str,
    params: Mapping[str, str] | SecretFields,
    callback_host: str = "",
    now: datetime | None = None,
) -> Completed:
    """Finish an authorization from the callback's query parameters. ``browser_secret`` may be a
    Secret, and ``params`` SecretFields. ``callback_host`` is what stood for a host in the address
    that was called.

    Raises InvalidState (nothing was spent unless its code is ``code_rejected``),
    AuthorizationDenied, or ProviderError; ConfigurationError (``in_transaction``) inside a
    transaction, with which a spent code would be rolled back.
    """
    refuse_sites_transaction()
    now = now or timezone.now()
    found = get_provider(provider)
    return _complete(found, hidden(params), user, browser_secret, callback_host, now)


@sensitive_variables()
def _complete(
    provider: Provider,
    params: SecretFields,
    user: Any,
    browser_secret: str,
    callback_host: str,
    now: datetime,
) -> Completed:
    response = read_params(params)
    nonce = Secret(state.read(response.get("state", "")))
    if not provider.connect_fields:  # else the issuer depends on what the request holds
        check_issuer(provider, response.get("iss"))
    if not response.get("code") and not response.get("error"):
        raise InvalidState("code_missing")
    request = _consume(
        nonce, user=user, alias=provider.alias, browser_secret=browser_secret, now=now
    )
    try:
        _refuse_another_host(provider, request, callback_host)
        _refuse_unless_permitted(request, now)
        account, created = _exchange_and_store(provider, request, response)
    except ConnectedAccountsError as error:
        error.way_on = _way_on(request)
        raise
    return Completed(account, created, request.next)


def _refuse_another_host(
    provider: Provider, request: AuthorizationRequest, callback_host: str
) -> None:
    """Raise InvalidState (``wrong_issuer``) where a host sent the person back to the address of
    another one (RFC 9700 4.4.2.1): the code is not of whom the request was for."""
    key = callback_key(provider.bound(inputs=request.inputs).host)
    last = request.redirect_uri.rstrip("/").rpartition("/")[2]
    if callback_host != (key if last == key else ""):
        raise InvalidState("wrong_issuer")


@signals_held()
@sensitive_variables()
def _exchange_and_store(
    provider: Provider, request: AuthorizationRequest, response: SecretFields
) -> tuple[ConnectedAccount, bool]:
    """Exchange the code of a spent request, ask whose the grant is, and store the account."""
    provider = provider.bound(inputs=request.inputs)
    if provider.connect_fields:
        check_issuer(provider, response.get("iss"))
    endpoints = provider.endpoints()
    clients = _clients_of(provider, request)
    if request.endpoint_fingerprint != endpoints.authorization_fingerprint():
        raise InvalidState("settings_changed")
    if "error" in response:
        raise refusal_of(response["error"])
    sent_at = timezone.now()
    provider, token = _exchange_with_any_client(
        provider, clients, endpoints, request, Secret(response["code"]), sent_at
    )
    sent_again = "redirect_uri" in provider.refresh_request_fields
    redirect_uri = request.redirect_uri if sent_again else ""
    document = token_document(token, redirect_uri=redirect_uri)
    identity, authorized = Identity(""), None
    try:
        token = with_claims(provider, endpoints, token, nonce=request.oidc_nonce, now=sent_at)
        identity = identify(provider, endpoints, token)
        token = _with_identity(token, identity)
        document = token_document(token, redirect_uri=redirect_uri)
        _refuse_unless_permitted(request, sent_at, again=True)  # the provider took its time
        authorized = Authorized(endpoints, token, document, identity, sent_at)
        return store_connection(provider, request, authorized)
    except Exception as error:
        if authorized and _is_stored(authorized, request):
            raise  # out of a callback of the site's, behind the commit
        # Nobody will ever use this grant: it must not stay alive at the provider.
        withdraw = partial(revoke_orphan, provider, endpoints, request, document, at=sent_at)
        subject, others = identity.subject, identity.other_subjects
        _when_available(lambda: withdraw(subject=subject, other_subjects=others))
        if _is_of_a_gone_row(error, request.user):
            raise InvalidState("unknown") from None
        raise


def _is_stored(authorized: Authorized, request: AuthorizationRequest) -> bool:
    return _when_available(lambda: authorized.is_stored(request.owner_key, request.provider))


def _when_available(work: Callable[[], T]) -> T:
    """Do it although the database was away just now, which may be why the grant is not stored."""
    return retry_while_unavailable(work, time.monotonic() + PATIENCE)


def _with_identity(token: TokenResponse, identity: Identity) -> TokenResponse:
    """The token answer with what only the identity tells of the grant."""
    scope = token.scope if identity.scopes is None else identity.scopes
    return replace(token, scope=scope, api_base=identity.api_base or token.api_base)


def _clients_of(provider: Provider, request: AuthorizationRequest) -> list[Client]:
    stored = request.names_stored_client
    return clients_of(provider, request.client_id, request.owner_key, may_be_stored=stored)


def _is_of_a_gone_row(error: Exception, user: Any) -> bool:
    """Whether the user, or what else was to be found, was deleted meanwhile."""
    if isinstance(error, IntegrityError):
        return user is not None and read_again(user) is None
    return isinstance(error, ObjectDoesNotExist)


@sensitive_variables()
def _exchange_with_any_client(
    provider: Provider,
    clients: Sequence[Client],
    endpoints: Endpoints,
    request: AuthorizationRequest,
    code: Secret,
    sent_at: datetime,
) -> tuple[Provider, TokenResponse]:
    """Exchange with the newest pair, or with an older one of the same client where the provider
    refuses that: a refused client has spent no code."""
    if not clients:
        raise InvalidState("settings_changed")  # no pair with that client id is left
    refused: list[int | None] = []

    def note(client: Client) -> None:
        refused.append(client.pk)
        if client.registered:
            retire(client.pk, sent_at)  # the next try registers anew

    def exchange(bound: Provider) -> tuple[Provider, TokenResponse]:
        return bound, _exchange(bound, endpoints, request, code)

    try:
        bound, token = with_any_client(provider, clients, exchange, on_refused=note)
    except ClientRejected as error:
        note_refused(refused, sent_at)
        if all(client.owned for client in clients):  # mistyped, for all that is known
            raise ClientRejected("credentials", status=error.status) from None
        # No pause: a person can bring about some of these answers.
        report(provider.alias, error.code, host=provider.host, now=sent_at)
        raise
    if refused:
        note_refused(refused, sent_at)
        report(provider.alias, "client_rejected", host=provider.host, now=sent_at)
    return bound, token


@sensitive_variables()
def _consume(
    nonce: Secret, *, user: Any, alias: str, browser_secret: str, now: datetime
) -> AuthorizationRequest:
    """Spend the request, once, for the right person in the right browser; or say why not."""
    spent = _spend(nonce, user=user, alias=alias, browser_secret=browser_secret, now=now)
    if spent is not None:
        if not spent.is_in_named_database and conf.site_id():
            adopt_database()  # before something is connected
        spent.user = user  # the UPDATE matched on this user; saves a query
        if spent.account_id is not None:
            spent.account = ConnectedAccount.objects.current().filter(pk=spent.account_id).first()
        return spent
    # From the database that was written to, not from a replica that is behind.
    found: list[AuthorizationRequest]
    found = read_all(AuthorizationRequest, {"nonce_digest": digest(nonce.reveal())})
    request = found[0] if found else None
    cause = "unknown"
    if request is not None:
        cause = _cause(request, user=user, alias=alias, browser_secret=browser_secret, now=now)
        record_refusal(request, cause, at=now)
    error = InvalidState(cause)
    if request is not None and cause == "expired":
        error.way_on = _way_on(request)
    raise error


@sensitive_variables()
def _spend(
    nonce: Secret, *, user: Any, alias: str, browser_secret: str, now: datetime
) -> AuthorizationRequest | None:
    """The request, spent by this very call; None where something about it is not so."""
    user_pk = None if user is None else user.pk
    if not browser_secret or (user is not None and user_pk is None):
        return None  # a request without a user is the site's, and nobody else's
    conditions = {
        "nonce_digest": digest(nonce.reveal()),
        "user": user_pk,
        "provider": alias,
        "browser_digest": digest(revealed(browser_secret)),
        "expires_at__gt": now,
        "consumed_at": None,
    }
    request: AuthorizationRequest | None = update_and_read(
        AuthorizationRequest,
        {"consumed_at": now},
        conditions,
        key="nonce_digest",
        existing={"names_stored_client": STORED_CLIENT},
        filled={"is_in_named_database": Deployment},
    )
    return request


def _way_on(request: AuthorizationRequest) -> WayOn:
    for_site = request.owner_key == SITE_OWNER
    own_key = owner_key(request.user if request.user_id else None)
    return WayOn(
        next=request.next,
        scopes=tuple(request.scopes),
        reconnect=request.account_id,
        for_site=for_site,
        owner="" if for_site or request.owner_key == own_key else request.owner_key,
    )


def _refuse_unless_permitted(
    request: AuthorizationRequest, at: datetime, *, again: bool = False
) -> None:
    """Raise InvalidState (``not_permitted``) where the user may not, or no longer, connect for the
    site or for a team. ``again``: read the user from the database anew."""
    if not _is_permitted(request.user, request.owner_key, again=again):
        record_refusal(request, "not_permitted", at=at)
        raise InvalidState("not_permitted")


def _is_permitted(user: Any, key: str, *, again: bool) -> bool:
    if key != SITE_OWNER:
        return may_still_connect(user, key) if again else may_connect(user, key)
    if user is None:
        return True
    user = read_again(user) if again else user
    # As the admin asks at the start.
    is_staff = user is not None and getattr(user, "is_staff", False)
    return bool(is_staff and user.has_perm(CONNECT_THE_SITE))


def _cause(
    request: AuthorizationRequest, *, user: Any, alias: str, browser_secret: str, now: datetime
) -> str:
    if request.provider != alias:
        return "other_provider"
    if request.user_id != (None if user is None else user.pk) or (user and user.pk is None):
        return "other_user"
    late = request.expires_at <= now
    # The cookie has ended by then: the browser that is late is like any other.
    if not late and request.browser_digest != digest(revealed(browser_secret)):
        return "other_browser"
    return "expired" if late and request.consumed_at is None else "replayed"


@sensitive_variables()
def _exchange(
    provider: Provider, endpoints: Endpoints, request: AuthorizationRequest, code: Secret
) -> TokenResponse:
    try:
        verifier = unseal(
            request.code_verifier, purpose=VERIFIER_PURPOSE, bound_to=request.nonce_digest
        )
        proof_key = None
        if request.dpop_key is not None:
            row = request.nonce_digest
            proof_key = Secret(unseal(request.dpop_key, purpose=DPOP_KEY_PURPOSE, bound_to=row))
    except Undecryptable as error:
        record_undecryptable(
            error.code,
            at=timezone.now(),
            provider=request.provider,
            owner=request.owner_key,
        )
        raise InvalidState("settings_changed") from None  # its key went meanwhile
    try:
        token = exchange_code(
            provider,
            endpoints,
            code=code.reveal(),
            redirect_uri=request.redirect_uri,
            code_verifier=verifier,
            scopes=request.scopes_requested,
            proof_key=proof_key,
        )
    except ReauthorizationRequired:
        raise InvalidState("code_rejected") from None
    # An answer that names no scope gives what was asked for (RFC 6749 5.1).
    if token.scope is None:
        return replace(token, scope=tuple(request.scopes_requested))
    return token
