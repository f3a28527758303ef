"""``FakeProvider``: what a test holds in its hands."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import requests
from django.apps import apps
from django.db.models import DateTimeField, F, QuerySet

from connected_accounts.oauth2 import transport
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.testing.adapter import (
    FakeAdapter,
    RecordedRequest,
    UnexpectedRequest,
    record,
)
from connected_accounts.testing.dialect import ENDPOINTS, Dialect
from connected_accounts.testing.dialects import dialect_of
from connected_accounts.testing.faults import Answer, Scripted
from connected_accounts.testing.server import (
    AS_USUAL,
    OMITTED,
    AuthorizationServer,
    Behaviour,
    Grant,
    RegisteredClient,
)

DOWN: Final = Answer(503, body="<h1>Service Unavailable</h1>")


class AuthorizationPageError(AssertionError):
    """The provider would show an error page, and not send the person back (RFC 6749 4.1.2.1)."""


class FakeProvider:
    """An authorization server in memory that stands for one alias of the site's settings.

    A context manager::

        with FakeProvider("badgr") as provider:
            url = start_authorization(…)
            complete_authorization(…, params=provider.authorize(url))

    While it is entered, every request of the app to the alias's hosts is answered here, in that
    backend's dialect, and a request to any other host raises UnexpectedRequest, here and again on
    leaving. Fakes of several aliases nest, also of one service: each gets what shows its codes,
    tokens or client. A service of the catalogue is played with its recorded
    answers, and its tokens live and rotate as they do there. ``behaviour`` may be changed at any
    moment:

    - ``rotates``: a refresh gives a new refresh token (a spent one, presented again, ends the
      grant and counts in ``reuses``); False: it repeats the old one;
    - ``omit_refresh_token``: answers have none, and a refresh leaves the old one good;
    - ``expires_in``, ``refresh_token_expires_in``: any JSON value, or ``OMITTED``. BitBadges, which
      tells moments, gets the moment that many seconds ahead, as a number or a text like the value;
    - ``code_lifetime``: seconds;
    - ``reuse_window``: seconds in which the refresh token that was rotated out last is taken again;
    - ``proof_nonce``: must be in each proof of a key (RFC 9449 8); empty: in none.

    ``dialect`` is another way to speak than the backend's own, such as ``BadgrBadgeConnect``.

    The clock moves by ``advance`` only, for the tokens here and for the stored accounts alike;
    ``expire_access_tokens`` and ``expire_codes`` end what is out, whatever its life.
    """

    def __init__(
        self,
        alias: str,
        *,
        inputs: Mapping[str, str] | None = None,
        dialect: type[Dialect] | None = None,
        redirect_uris: Iterable[str] | None = None,
        rotates: Any = AS_USUAL,
        omit_refresh_token: Any = AS_USUAL,
        expires_in: Any = AS_USUAL,
        refresh_token_expires_in: Any = OMITTED,
        code_lifetime: float = 60.0,
        reuse_window: float = 0.0,
        proof_nonce: str = "",
    ) -> None:
        provider = self._provider(alias)
        speaks = dialect or dialect_of(provider)
        given = {
            "rotates": rotates,
            "omit_refresh_token": omit_refresh_token,
            "expires_in": expires_in,
        }
        said = {name: value for name, value in given.items() if value is not AS_USUAL}
        self.behaviour = Behaviour(
            refresh_token_expires_in=refresh_token_expires_in,
            code_lifetime=code_lifetime,
            reuse_window=reuse_window,
            proof_nonce=proof_nonce,
            **speaks.usual_behaviour(provider) | said,
        )
        self.alias = alias
        self.inputs = dict(inputs or {})
        self.requests: list[RecordedRequest] = []
        self.unexpected: list[str] = []
        self._redirect_uris = None if redirect_uris is None else frozenset(redirect_uris)
        self._server = AuthorizationServer(self.behaviour)
        endpoints = speaks.endpoints_of(provider, self.inputs)
        self._dialect = speaks(provider, endpoints, self._server)
        self._scripts: dict[str, deque[Scripted]] = {name: deque() for name in ENDPOINTS}
        self._down: Scripted | None = None
        # Drains call from many threads.
        self._lock = threading.RLock()
        self._adapter = FakeAdapter(self._stands_for, self._handle, self._refuse, self._claims)
        self._entered = 0  # times

    def _provider(self, alias: str) -> Provider:
        return get_provider(alias)

    def __enter__(self) -> Self:
        self._entered += 1
        if self._entered == 1:
            self._dialect.begin()
            self._adapter.behind = transport.install_adapter(self._adapter)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if not self._entered:
            self._dialect.begin()
            transport.install_adapter(self._adapter.behind)
            self._adapter.behind = None
        if self.unexpected and error is None:
            # Once more: the caller may have taken the first one for a failure of the provider.
            raise UnexpectedRequest(f"Not this provider's: {', '.join(self.unexpected)}")

    # The person.

    def authorize(
        self,
        url: str,
        *,
        subject: str = "person-1",
        label: str | None = None,
        scopes: Iterable[str] | None = None,
        deny: bool = False,
    ) -> dict[str, str]:
        """The parameters that come back to the callback when ``subject`` follows ``url`` and
        agrees, or not.

        ``scopes`` is what the person grants, by default what was asked for. Raises
        AuthorizationPageError where a server must not send anybody back: wrong address, client or
        redirect URI. Any other fault of the request comes back as ``error``.
        """
        asked = self._read_authorization_url(url)
        dialect = self._dialect
        state = asked.get("state")
        fault = dialect.authorization_fault(asked)
        if fault or deny:
            return dialect.denial(fault or "access_denied", state)
        if scopes is None:
            asked_for = asked.get(dialect.provider.scope_parameter, "")
            scopes = filter(None, asked_for.split(dialect.provider.scope_separator))
        shown = f"{subject}@example.org" if label is None else label
        with self._lock:
            grant = Grant(subject, shown, tuple(scopes), asked["redirect_uri"])
            grant.thumbprint = asked.get("dpop_jkt", "")
            code = self._server.authorize(grant, asked.get("code_challenge", ""))
        return dialect.callback(code, state, grant)

    def _read_authorization_url(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        page = urlsplit(self._dialect.endpoints.authorization_endpoint)
        if (parts.scheme, parts.netloc, parts.path) != (page.scheme, page.netloc, page.path):
            raise AuthorizationPageError("This is not the authorization endpoint.")
        query = parse_qs(parts.query, keep_blank_values=True)
        twice = sorted(name for name, values in query.items() if len(values) > 1)
        if twice:
            raise AuthorizationPageError(f"Given more than once: {', '.join(twice)}.")
        asked = {name: values[0] for name, values in query.items()}
        named = self._dialect.provider.client_id_parameter
        if "request_uri" in asked:
            known = self._server.pushed(asked["request_uri"])
            if not known or known.get(named) != asked.get(named):
                raise AuthorizationPageError("request_uri is not this client's, or is over.")
            asked = known
        elif self._dialect.provider.require_pushed_authorization_requests:
            raise AuthorizationPageError("The request has to be pushed.")
        client_id, uri = asked.get(named, ""), asked.get("redirect_uri", "")
        client = self._server.client(client_id, None)
        if client is None:
            raise AuthorizationPageError("client_id is not the site's.")
        self._check_redirect_uri(uri)
        if client.redirect_uris is not None and uri not in client.redirect_uris:
            raise AuthorizationPageError("redirect_uri is not registered.")
        return asked

    def _check_redirect_uri(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("https", "http") or not parts.netloc or parts.fragment:
            raise AuthorizationPageError("redirect_uri is not an absolute web address.")
        if self._redirect_uris is not None and uri not in self._redirect_uris:
            raise AuthorizationPageError("redirect_uri is not registered.")

    # Credentials.

    def add_client(
        self, client_id: str, client_secret: str, *, subject: str | None = None, label: str = ""
    ) -> None:
        """Take these credentials too, besides those that settings had when the fake was made. With
        client credentials their tokens are ``subject``'s, by default one named as the client."""
        with self._lock:
            self._server.clients.append(
                RegisteredClient(client_id, client_secret, subject or client_id, label)
            )

    def remove_client(self, client_id: str, client_secret: str | None = None) -> None:
        """Refuse a client from now on, or one of its secrets. Its tokens stay good."""
        with self._lock:
            self._server.clients = [
                client
                for client in self._server.clients
                if client.client_id != client_id
                or client_secret not in (None, client.client_secret)
            ]

    def add_personal_token(
        self, token: str, *, subject: str = "person-1", label: str | None = None
    ) -> Grant:
        """Let a token be good that a person made at the provider."""
        shown = f"{subject}@example.org" if label is None else label
        with self._lock:
            return self._server.add_token(Grant(subject, shown, (), ""), token)

    # The script.

    def script(self, endpoint: str, *answers: Scripted) -> None:
        """Queue what the next calls of ``token``, ``revocation``, ``identity``, ``api``,
        ``discovery``, ``registration``, ``authorization`` or ``pushed_request`` get."""
        self._scripts[endpoint].extend(answers)

    def unavailable(self, answer: Scripted = DOWN) -> None:
        """Give every call ``answer``, whatever is scripted, until ``available()``."""
        self._down = answer

    def available(self) -> None:
        self._down = None

    def expire_codes(self) -> None:
        """Let the life of all codes that were handed out be over."""
        self._server.expire_codes()

    def expire_access_tokens(self) -> None:
        """Let the life of all access tokens be over; refresh tokens stay good."""
        self._server.expire_access_tokens()

    def advance(self, **how_long: float) -> None:
        """Let time pass: ``advance(hours=2)``, with the arguments of ``timedelta``.

        Tokens and codes whose life is over end here, and every moment that the site has stored
        for this alias lies that much further back. Nothing waits, and no other alias gets older.
        """
        passed = timedelta(**how_long)
        with self._lock:
            self._server.advance(passed.total_seconds())
        move_back(self.alias, passed)

    def withdraw(self) -> None:
        """All people withdraw, at the provider, what they granted."""
        for grant in self.grants:
            grant.revoke()

    # What happened.

    @property
    def grants(self) -> list[Grant]:
        """Every grant that tokens were given for; ``is_alive`` and ``revoke()`` are a grant's."""
        return self._server.grants

    @property
    def presentations(self) -> Counter[str]:
        """The number of times that each refresh token came to the token endpoint."""
        return self._server.presentations

    @property
    def reuses(self) -> int:
        """The number of grants that were ended by a refresh token that had been rotated out."""
        return self._server.reuses

    @property
    def secrets(self) -> set[str]:
        """Every code and token that was handed out, and every PKCE verifier that was shown."""
        return set(self._server.secrets)

    def sent_to(self, endpoint: str) -> list[RecordedRequest]:
        """The requests that reached one endpoint."""
        return [request for request in self.requests if request.endpoint == endpoint]

    # The adapter's side.

    def _stands_for(self, url: str) -> bool:
        return self._dialect.endpoint_of(url) is not None

    def _claims(self, request: requests.PreparedRequest) -> int:
        with self._lock:
            seen = record("", request)
            shown = (seen.url, *seen.headers.values(), *seen.fields.values())
            if self._server.knows(" ".join(map(str, shown))):
                return 2
            return int(self._dialect.client_of(seen) is not None)

    def _refuse(self, request: requests.PreparedRequest) -> UnexpectedRequest:
        where = urlsplit(request.url or "")
        self.unexpected.append(f"{request.method} {where.scheme}://{where.netloc}{where.path}")
        return UnexpectedRequest(f"Not this provider's: {self.unexpected[-1]}")

    def _handle(self, request: requests.PreparedRequest) -> Answer:
        with self._lock:
            seen = record("", request)
            endpoint = self._dialect.endpoint_asked(seen)
            seen = replace(seen, endpoint=endpoint)
            queue = self._scripts[endpoint]
            step = self._down or (queue.popleft() if queue else None)
            if step is not None and not step.reaches_server:
                return step.play(request, Answer)
            self.requests.append(seen)
            if endpoint == "token" and "refresh_token" in seen.fields:
                self.presentations[seen.fields["refresh_token"]] += 1
            act = getattr(self._dialect, endpoint)
            return act(seen) if step is None else step.play(request, lambda: act(seen))


def move_back(alias: str, passed: timedelta) -> None:
    """Let every moment that is stored for a provider lie ``passed`` further back."""
    for model in apps.get_app_config("connected_accounts").get_models():
        fields = model._meta.get_fields()
        moments = [field.name for field in fields if isinstance(field, DateTimeField)]
        if moments and any(field.name == "provider" for field in fields):
            rows = model._base_manager.filter(provider=alias)
            # Past what an account refuses: no grant changes its place.
            QuerySet.update(rows.all(), **{name: F(name) - passed for name in moments})
