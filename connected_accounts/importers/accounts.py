"""From a grant that another package kept to an account of ours, not stored yet; or why not."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model

from connected_accounts.clients.credentials import clients_of, with_client_in_use
from connected_accounts.database.functions import subject_digest
from connected_accounts.exceptions import (
    ConfigurationError,
    ProviderError,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.importers.rows import ForeignGrant
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.token import MAX_LIFE, TokenResponse
from connected_accounts.owners import owner_key
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.tokens.document import token_document
from connected_accounts.tokens.endpoint import token_response_of
from connected_accounts.tokens.lifetimes import grant_values

# Why a row is left where it is, in words for whoever runs the command.
REASONS: Final[Mapping[str, str]] = {
    "no_provider": "settings have no such provider; map the name with --provider theirs=ours",
    "settings": "the provider's settings are wrong: see manage.py check",
    "other_grant_type": "the provider is not connected by authorization code",
    "inputs_needed": "the provider asks people for more than was kept; they must connect again",
    "provider_away": "the provider does not say where its endpoints are; run it again later",
    "no_client": "there is no client id for the provider, or its secret cannot be opened",
    "other_client": "it was made with another client id than those of the site",
    "no_token": "there is no access token in it",
    "not_oauth2": "what it holds is no OAuth 2.0 bearer token",
    "no_identity": "it does not say whose account it is",
    "no_user": "its user is not there any more",
    "expired": "its token has expired and cannot be renewed",
    "already_connected": "its owner has this account here already",
    "account_in_use": "another user has this account, and the provider is EXCLUSIVE",
}


class LeftAlone(Exception):
    """A row is not imported; ``reason`` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """A provider with the site's client, and its addresses."""

    provider: Provider
    endpoints: Endpoints


class Adoption:
    """Makes accounts of grants. ``aliases`` maps names there to aliases here, where they differ;
    ``scopes`` are what was granted where a row does not say."""

    def __init__(
        self, aliases: Mapping[str, str], scopes: tuple[str, ...], *, now: datetime
    ) -> None:
        self.aliases, self.scopes, self.now = aliases, scopes, now
        self._targets: dict[str, Target | str] = {}

    def account(self, grant: ForeignGrant) -> ConnectedAccount:
        """An account with the grant's tokens sealed into it. Raises LeftAlone."""
        target = self._target(grant.provider)
        provider = _with_client(target.provider, grant)
        token = self._token(provider, grant)
        identity = _identity(grant)
        granted = list(self.scopes if token.scope is None else token.scope)
        account = ConnectedAccount(
            user_id=grant.user_pk,
            owner_key=owner_key(get_user_model()(pk=grant.user_pk)),
            provider=provider.alias,
            subject=identity.subject,
            subject_digest=subject_digest(identity.subject),
            label=identity.label,
            seal_id=uuid.uuid4(),
            scopes_wanted=granted,
            scopes_requested=granted,
            scopes_granted=granted,
            connected_at=grant.connected_at or self.now,
            client_id=provider.client.client_id,
            endpoint_fingerprint=target.endpoints.token_fingerprint(),
        )
        # What is left of its life is not the life that a next token will have.
        document = token_document(replace(token, expires_in=None))
        values = grant_values(provider, token, document, holder=account, sent_at=self.now)
        # As they stood there, and not by way of whole seconds from now.
        values |= {
            "expires_at": grant.expires_at,
            "refresh_token_expires_at": grant.refresh_token_expires_at,
        }
        for name, value in values.items():
            setattr(account, name, value)
        return account

    def _token(self, provider: Provider, grant: ForeignGrant) -> TokenResponse:
        if not grant.payload.get("access_token"):
            raise LeftAlone("no_token")
        try:
            token = token_response_of(provider, grant.payload)
        except UnexpectedResponse:
            raise LeftAlone("not_oauth2") from None
        ended = grant.expires_at is not None and grant.expires_at <= self.now
        renewal_ends = grant.refresh_token_expires_at
        if ended and (
            token.refresh_token is None or (renewal_ends is not None and renewal_ends <= self.now)
        ):
            raise LeftAlone("expired")
        return replace(
            token,
            expires_in=_life(grant.expires_at, self.now),
            refresh_token_expires_in=_life(renewal_ends, self.now),
        )

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            try:
                self._targets[name] = _find_target(self.aliases.get(name, name))
            except LeftAlone as left:
                self._targets[name] = left.reason
        found = self._targets[name]
        if isinstance(found, str):
            raise LeftAlone(found)
        return found


def _find_target(alias: str) -> Target:
    try:
        provider = get_provider(alias)
    except ConfigurationError as error:
        missing = error.code == "unknown_provider"
        raise LeftAlone("no_provider" if missing else "settings") from None
    if provider.grant_type != "authorization_code":
        raise LeftAlone("other_grant_type")
    if provider.connect_fields:
        raise LeftAlone("inputs_needed")
    try:
        provider = with_client_in_use(provider)
        return Target(provider, provider.endpoints())
    except ProviderError:
        raise LeftAlone("provider_away") from None
    except (ConfigurationError, Undecryptable):
        raise LeftAlone("no_client") from None


def _with_client(provider: Provider, grant: ForeignGrant) -> Provider:
    """The provider with the client of this grant, which alone may renew it (RFC 6749 6)."""
    if grant.client_id in ("", provider.client.client_id):
        return provider
    try:
        others = clients_of(provider, grant.client_id, "")
    except Undecryptable:
        others = []
    if not others:
        raise LeftAlone("other_client")
    return provider.bound(client=others[0])


def _identity(grant: ForeignGrant) -> Identity:
    try:
        identity = Identity(str(grant.subject or ""), grant.label)
    except UnexpectedResponse:
        raise LeftAlone("no_identity") from None
    if not identity.subject or grant.user_pk is None:
        raise LeftAlone("no_identity")
    return identity


def _life(ends_at: Any, now: datetime) -> int | None:
    if ends_at is None:
        return None
    return int(min(max((ends_at - now).total_seconds(), 0), MAX_LIFE))
