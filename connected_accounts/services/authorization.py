"""Connect: from the authorization request to a stored grant (RFC 6749 4.1, RFC 7636, RFC 9207)."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
    InvalidState,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.fields import seal, unseal
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    digest,
    owner_key,
)
from connected_accounts.oauth2 import pkce, state
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import forgetful
from connected_accounts.services.answers import check_issuer, read_params, refusal_of
from connected_accounts.services.connection import store_connection
from connected_accounts.services.exchange import (
    exchange_code,
    identify,
    token_document,
    with_claims,
)
from connected_accounts.services.pauses import provider_state
from connected_accounts.services.revocation import revoke_orphan
from connected_accounts.services.storing import in_sites_transaction

logger = logging.getLogger("connected_accounts")

VERIFIER_PURPOSE: Final = "connected_accounts.code_verifier"


@dataclass(frozen=True)
class Completed:
    """A finished authorization: the account, whether it is new, and where the person was going."""

    account: ConnectedAccount
    created: bool
    next: str


@forgetful
def start_authorization(
    *,
    user: Any,
    provider: str,
    redirect_uri: str,
    browser_secret: str,
    next: str = "",
    scopes: Iterable[str] = (),
    account: ConnectedAccount | None = None,
    inputs: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> str:
    """Open an authorization for ``user`` in one browser and return the URL to send it to.

    ``browser_secret`` is what the browser's own cookie holds (``oauth2.state.new_secret()``).
    ``scopes`` are asked for besides the provider's SCOPES. With ``account``, that account is to be
    connected again. Raises ConfigurationError for an unknown provider or scope.
    """
    if not browser_secret:
        raise ValueError("browser_secret is empty: nothing would bind the flow to a browser.")
    service = get_provider(provider)
    now = now or timezone.now()
    wanted = requested_scopes(service, scopes, account)
    if account is not None and (account.owner_key, account.provider) != (owner_key(user), provider):
        raise InvalidState("other_user")
    endpoints = service.endpoints(inputs)
    provider_state(provider)  # from the first connection on, the database is this deployment's
    nonce = state.new_secret()
    nonce_digest = digest(nonce)
    verifier = pkce.new_code_verifier() if service.code_challenge_method else ""
    row = AuthorizationRequest(
        nonce_digest=nonce_digest,
        code_verifier=seal(verifier, purpose=VERIFIER_PURPOSE, bound_to=nonce_digest),
        user=user,
        owner_key=owner_key(user),
        provider=provider,
        client_id=service.config.client_id,
        endpoint_fingerprint=endpoints.exact(),
        redirect_uri=redirect_uri,
        next=next,
        scopes=wanted,
        inputs=dict(inputs or {}),
        browser_digest=digest(browser_secret),
        account=account,
        created_at=now,
        expires_at=now + timedelta(seconds=float(conf.get("STATE_MAX_AGE"))),
    )
    if "openid" in wanted and endpoints.issuer:
        row.oidc_nonce = state.new_secret()  # OpenID Connect Core 3.1.2.1
    row.save(force_insert=True)
    return _authorization_url(service, endpoints, row, state.sign(nonce), verifier)


def requested_scopes(
    provider: Provider, extra: Iterable[str] = (), account: ConnectedAccount | None = None
) -> list[str]:
    """What to ask for: SCOPES, what was asked for besides, and, on a reconnect, the optional scopes
    that the account had. Raises ConfigurationError (``unknown_scope``) for any other."""
    optional = set(provider.config.optional_scopes)
    extra = list(extra)
    if not set(extra) <= optional | set(provider.scopes):
        raise ConfigurationError(
            "unknown_scope",
            "A scope was asked for that stands neither in SCOPES nor in OPTIONAL_SCOPES.",
        )
    kept = [scope for scope in (account.scopes_requested if account else ()) if scope in optional]
    return list(dict.fromkeys([*provider.scopes, *kept, *extra]))


def _authorization_url(
    provider: Provider,
    endpoints: Endpoints,
    row: AuthorizationRequest,
    signed_state: str,
    verifier: str,
) -> str:
    params = {str(k): str(v) for k, v in provider.authorization_params.items()}
    params |= {
        "response_type": "code",
        "client_id": row.client_id,
        "redirect_uri": row.redirect_uri,
        "state": signed_state,
    }
    if row.scopes:
        params["scope"] = provider.scope_separator.join(row.scopes)
    if row.oidc_nonce:
        params["nonce"] = row.oidc_nonce
    if verifier:
        params["code_challenge"] = pkce.code_challenge(verifier)
        params["code_challenge_method"] = "S256"
    parts = urlsplit(endpoints.authorization_endpoint)
    # The endpoint may carry a query of its own, which is kept (RFC 6749 3.1).
    own = parse_qsl(parts.query, keep_blank_values=True)
    query = [(name, value) for name, value in own if name not in params] + [*params.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))


@forgetful
@sensitive_variables()
def complete_authorization(
    *,
    user: Any,
    provider: str,
    browser_secret: str,
    params: Mapping[str, str],
    now: datetime | None = None,
) -> Completed:
    """Finish an authorization from the callback's query parameters.

    Raises InvalidState (nothing was spent unless its code is ``code_rejected``),
    AuthorizationDenied, or ProviderError. Must not run inside a transaction: a spent code would be
    rolled back with it.
    """
    if in_sites_transaction():
        raise RuntimeError("complete_authorization must not run inside a transaction.")
    now = now or timezone.now()
    service = get_provider(provider)
    answer = read_params(params)
    nonce = state.read(answer.get("state", ""))
    check_issuer(service, answer.get("iss"))
    if not answer.get("code") and not answer.get("error"):
        raise InvalidState("code_missing")
    row = _consume(nonce, user=user, provider=provider, browser_secret=browser_secret, now=now)
    try:
        account, created = _finish(service, row, answer, now)
    except ConnectedAccountsError as error:
        error.next, error.reconnect = row.next, row.account_id
        raise
    return Completed(account, created, row.next)


@sensitive_variables()
def _finish(
    service: Provider, row: AuthorizationRequest, answer: Mapping[str, str], now: datetime
) -> tuple[ConnectedAccount, bool]:
    """What follows once the request is spent: exchange, identity, account."""
    endpoints = service.endpoints(row.inputs)
    if (row.client_id, row.endpoint_fingerprint) != (service.config.client_id, endpoints.exact()):
        raise InvalidState("settings_changed")
    if "error" in answer:
        raise refusal_of(answer["error"])
    sent_at = timezone.now()
    token = _exchange(service, endpoints, row, answer["code"])
    document = token_document(token, redirect_uri=row.redirect_uri)
    subject = ""
    try:
        token = with_claims(service, endpoints, token, nonce=row.oidc_nonce, now=sent_at)
        identity = identify(service, endpoints, token)
        subject = identity.subject
        return store_connection(service, endpoints, row, token, document, identity, sent_at)
    except Exception as error:
        # Nobody will ever use this grant: it must not stay alive at the provider.
        revoke_orphan(service, endpoints, row, document, subject=subject, at=sent_at)
        if isinstance(error, IntegrityError | ObjectDoesNotExist):
            raise InvalidState("unknown") from None  # the user was deleted meanwhile
        raise


@sensitive_variables()
def _consume(
    nonce: str, *, user: Any, provider: str, browser_secret: str, now: datetime
) -> AuthorizationRequest:
    """Spend the request, once, for the right person in the right browser; or say why not."""
    found = AuthorizationRequest.objects.filter(nonce_digest=digest(nonce))
    won = bool(browser_secret) and found.filter(
        user=user,
        provider=provider,
        browser_digest=digest(browser_secret),
        expires_at__gt=now,
        consumed_at__isnull=True,
    ).update(consumed_at=now)
    # From the database that was written to, not from a replica that is behind.
    written = found.using(router.db_for_write(AuthorizationRequest))
    row = written.select_related("user").prefetch_related("account").first()
    if row is not None and won:
        return row
    cause = "unknown"
    if row is not None:
        cause = _cause(row, user=user, provider=provider, browser_secret=browser_secret, now=now)
        Event.record(Kind.REFUSED, at=now, detail=cause, provider=row.provider, owner=row.owner_key)
    logger.warning("authorization refused: provider=%s cause=%s", provider, cause)
    error = InvalidState(cause)
    if row is not None and cause == "expired":
        error.next, error.reconnect = row.next, row.account_id
    raise error


def _cause(
    row: AuthorizationRequest, *, user: Any, provider: str, browser_secret: str, now: datetime
) -> str:
    if row.provider != provider:
        return "other_provider"
    if row.user_id != user.pk:
        return "other_user"
    if row.browser_digest != digest(browser_secret):
        return "other_browser"
    return "expired" if row.expires_at <= now and row.consumed_at is None else "replayed"


@sensitive_variables()
def _exchange(
    provider: Provider, endpoints: Endpoints, row: AuthorizationRequest, code: str
) -> TokenResponse:
    try:
        verifier = unseal(row.code_verifier, purpose=VERIFIER_PURPOSE, bound_to=row.nonce_digest)
    except Undecryptable as error:  # its key went meanwhile, or somebody was at the database
        Event.record(
            Kind.UNDECRYPTABLE,
            at=timezone.now(),
            detail=error.code,
            provider=row.provider,
            owner=row.owner_key,
        )
        raise InvalidState("settings_changed") from None
    try:
        return exchange_code(
            provider, endpoints, code=code, redirect_uri=row.redirect_uri, code_verifier=verifier
        )
    except ReauthorizationRequired:
        raise InvalidState("code_rejected") from None
