"""The toolkit's hooks, shared by all dialects: validator, scopes, token alphabet, token view."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import TokenView
from oauthlib.common import generate_token

from .dialects import BITBADGES, DIALECTS, OIDC, Dialect
from .grants import checksum, find_access_token, find_refresh_token, was_rotated
from .models import Tally

GRANT_TYPES = ("authorization_code", "refresh_token")
COUNTED_GRANT_TYPES = (*GRANT_TYPES, "client_credentials")


def generate_dialect_token(request: Any) -> str:
    """64 hexadecimal digits at BitBadges, 30 letters and digits elsewhere, as at Badgr."""
    if request.client.registration.dialect == BITBADGES.name:
        return secrets.token_hex(32)
    token: str = generate_token()
    return token


class DialectScopes(BaseScopes):  # type: ignore[misc]
    """Each client may ask for the scopes of its own provider only, or for fewer."""

    def dialect_of(self, application: Any) -> Dialect:
        return DIALECTS[application.registration.dialect]

    def get_all_scopes(self) -> dict[str, str]:
        scopes: dict[str, str] = oauth2_settings.SCOPES
        return scopes

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        if application is None:  # for the discovery documents
            return list(OIDC.scopes)
        registered: list[str] = application.registration.scope.split()
        return registered or list(self.dialect_of(application).scopes)

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return list(self.dialect_of(application).default_scopes)


class DialectValidator(OAuth2Validator):  # type: ignore[misc]
    """The toolkit's rules, kept within one provider: no client or token works at the other."""

    dialect: Dialect

    def is_ours(self, client: Any) -> bool:
        return client is not None and client.registration.dialect == self.dialect.name

    def validate_client_id(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        return super().validate_client_id(client_id, request) and self.is_ours(request.client)

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        if not super().authenticate_client(request) or not self.is_ours(request.client):
            return False
        return not request.client.registration.is_dead

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        return self.dialect.requires_pkce

    def rotate_refresh_token(self, request: Any) -> bool:
        return self.dialect.rotates

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        return super().validate_bearer_token(token, scopes, request) and self.is_ours(
            request.client
        )

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        # The toolkit also lets pass another port of the loopback address and an added query.
        return redirect_uri in request.client.redirect_uris.split()

    def save_authorization_code(
        self, client_id: str, code: Any, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        expires = timezone.now() + timedelta(seconds=self.dialect.code_seconds)
        self._create_authorization_code(request, code, expires=expires)

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        known = find_refresh_token(self.dialect, refresh_token)
        if known is not None and was_rotated(known):
            Tally.add(self.dialect.name, "reuse_detected")
        valid: bool = super().validate_refresh_token(refresh_token, client, request)
        return valid

    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        refresh_token = find_refresh_token(self.dialect, token)
        alive = refresh_token is not None and refresh_token.revoked is None
        if alive or find_access_token(self.dialect, token) is not None:
            Tally.add(self.dialect.name, "revocation")
        super().revoke_token(token, token_type_hint, request)


# The sandbox is one process. Its threads wait for their turn here: of those that wait for SQLite's
# write lock some may starve, for as long as there are others.
_turn = threading.Lock()
_answering: set[str] = set()  # refresh tokens, of the requests that are being answered
_guard = threading.Lock()


@contextmanager
def answering(dialect: Dialect, raw_refresh_token: str) -> Iterator[None]:
    """Note a refresh token that comes again while a request with it is still being answered."""
    name = checksum(raw_refresh_token)
    with _guard:
        first = not raw_refresh_token or name not in _answering
        _answering.add(name)
    if not first:
        Tally.add(dialect.name, "sent_while_pending")
    try:
        yield
    finally:
        if first:
            with _guard:
                _answering.discard(name)


class DialectTokenView(TokenView):  # type: ignore[misc]
    """One request to the token endpoint: one transaction, and one mark in the tally."""

    dialect: Dialect

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Two requests with one refresh token come one after the other. Left alone, the toolkit
        # 3.4.1 lets both pass its check and gives the second what the first was given.
        pending = answering(self.dialect, request.POST.get("refresh_token", ""))
        with pending, _turn, transaction.atomic():
            response = self.answer(request)
            grant_type = request.POST.get("grant_type")
            if grant_type in COUNTED_GRANT_TYPES:
                Tally.add(self.dialect.name, grant_type)
            if response.status_code != 200:
                Tally.add(self.dialect.name, "failed_token_request")
        return response

    def answer(self, request: HttpRequest) -> HttpResponse:
        return self.ask_toolkit(request)

    def ask_toolkit(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = super().post(request)
        return response
