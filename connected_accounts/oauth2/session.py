"""The session that calls a provider's API with an access token, and only that provider's."""

from collections.abc import Callable, Collection, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from requests.hooks import default_hooks, dispatch_hook
from requests_oauthlib import OAuth2Session
from urllib3.util import parse_url

from connected_accounts import conf, security
from connected_accounts.exceptions import ConfigurationError, UnexpectedResponse
from connected_accounts.oauth2 import dpop, transport
from connected_accounts.oauth2.challenge import (
    is_throttled,
    means_dead_token,
    other_reason,
    scopes_wanted,
)
from connected_accounts.oauth2.resource import is_at_or_below
from connected_accounts.oauth2.token import parse_json
from connected_accounts.oauth2.wire import PrivateAddress, public_addresses
from connected_accounts.oauth2.wire import public_only as only_public
from connected_accounts.secret import Secret, clears_traceback_locals

__all__ = ["ProviderSession"]

# The parameter of RFC 6750 2.3.
QUERY_PARAM = "access_token"
Origin = tuple[str, str, int]
BAD_URL = "This is not a URL that can be called."
# RFC 9110 9.2.1: sent twice they do no harm.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"https": 443, "http": 80}


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL, as the HTTP client will read it (RFC 6454)."""
    try:
        parts = parse_url(url)
    except ValueError:
        raise ConfigurationError("bad_url", BAD_URL) from None
    scheme = (parts.scheme or "").lower()
    return scheme, (parts.host or "").lower().rstrip("."), parts.port or _PORTS.get(scheme, 0)


def refuse_private(url: str) -> None:
    """Raise UnexpectedResponse (``private_address``) for a URL whose host leads to an address that
    is not public."""
    _, host, port = origin_of(url)
    try:
        public_addresses(host.strip("[]"), port)
    except PrivateAddress:
        raise UnexpectedResponse("private_address", sent=False) from None


def is_replayable(request: requests.PreparedRequest) -> bool:
    """Whether a request can be sent again: its body is no stream."""
    return request.body is None or isinstance(request.body, bytes | str)


def _with_token(url: str, token: Secret) -> str:
    parts = urlsplit(url)
    kept = [p for p in parse_qsl(parts.query, keep_blank_values=True) if p[0] != QUERY_PARAM]
    return urlunsplit(parts._replace(query=urlencode([*kept, (QUERY_PARAM, token.reveal())])))


class ProviderSession(OAuth2Session):
    """A ``requests.Session`` that adds the bearer, and refuses every other host.

    ``access_token`` is asked for at each request, ``renew`` once with a token that was refused: by
    one of ``dead_token_statuses``, or by a 403 of the address that once said whose it is.
    ``more_scopes`` makes the error for a call that wants more permissions (RFC 6750 3.1).
    OAuth2Session's own token handling is passed by: it logs tokens, and its refresh puts
    the caller's parameters into the token endpoint's body.
    """

    def __init__(
        self,
        *,
        client_id: str,
        base_url: str,
        origins: Collection[Origin],
        access_token: Callable[[], Secret],
        renew: Callable[[Secret], Secret] | None = None,
        headers: Mapping[str, str] | None = None,
        bearer_method: str = "header",
        access_token_header: str = "",
        requires_challenge: bool = False,
        public_only: bool = False,
        named_by_people: bool = False,
        dead_token_statuses: Collection[int] = (401,),
        identity_url: str = "",
        only_below: str = "",
        more_scopes: Callable[[tuple[str, ...]], Exception] | None = None,
        provider: str = "",
        certificate: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(client_id=client_id)
        self._provider = provider
        self._dead_token_statuses = frozenset(dead_token_statuses)
        self._identity_url = identity_url
        self._base_url = base_url
        self._only_below = only_below
        self._more_scopes = more_scopes
        self._origins = frozenset(origins)
        self._access_token = access_token
        self._renew = renew
        self._in_query = bearer_method == "query"
        self._own_header = access_token_header
        self._requires_challenge = requires_challenge
        self._public_only = public_only
        self._named_by_people = named_by_people
        # RFC 8705 3: a token that is bound to it needs it at each call.
        self.cert = self.certificate = certificate
        self.headers.update({"User-Agent": transport.USER_AGENT, **(headers or {})})
        # Neither .netrc, which would replace the bearer, nor cookies, which would mix up threads.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for prefix in ("https://", "http://"):
            self.mount(prefix, transport.adapter())

    def fetch_token(self, *args: Any, **kwargs: Any) -> Any:
        """Not for us: it logs codes, secrets and tokens, and follows redirects with them."""
        raise TypeError("Tokens are fetched by connected_accounts.services only.")

    refresh_token = token_from_fragment = fetch_token

    @property
    def authorized(self) -> bool:
        return True

    def __reduce__(self) -> Any:
        raise TypeError("A provider session holds access to an account and cannot be pickled.")

    def absolute_url(self, url: str) -> str:
        """Join a relative URL to ``api_base_url``; leave an absolute one as it is."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ConfigurationError("bad_url", BAD_URL) from None
        if parts.scheme or parts.netloc:
            return url
        return f"{self._base_url.rstrip('/')}/{url.lstrip('/')}"

    def request(  # type: ignore[override]  # everything but the URL is passed on
        self, method: str, url: str, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """As ``requests.Session.request``. Raises ConfigurationError for a host of others."""
        url = self.absolute_url(str(url))
        self._check(url)
        kwargs.setdefault("timeout", float(conf.get("HTTP_TIMEOUT")))
        kwargs.setdefault("verify", transport.ca_bundle())
        kwargs.setdefault("proxies", transport.proxies_for(url))
        kwargs.pop("withhold_token", None)
        return requests.Session.request(self, method, url, *args, **kwargs)

    @clears_traceback_locals
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Every hop passes here, redirects too: check the host, add the bearer, renew it where it
        was refused."""
        self._check(request.url or "")
        kwargs.setdefault("cert", self.cert)
        if not kwargs.get("verify", self.verify):
            raise ConfigurationError("insecure", "A token is not sent past a certificate.")
        token = self._access_token()
        response = self._send_with(request, token, kwargs)
        # A refusal behind a redirect was seen, and acted on, at its own hop.
        seen = bool(response.history)
        said = response.status_code, response.headers, request.url or ""
        if seen or not is_replayable(request) or not self.refuses_token(*said):
            return self._permitted(response)
        renewed = self.renewed(token)
        if renewed is None:
            return response
        response.close()
        return self._permitted(self._send_with(request, renewed, kwargs))

    def _permitted(self, response: requests.Response) -> requests.Response:
        self.raise_for_scopes(response.status_code, response.headers)
        return response

    def raise_for_scopes(self, status: int, headers: Mapping[str, str]) -> None:
        """Raise what ``more_scopes`` returns where an answer asks for more permissions."""
        wanted = scopes_wanted(status, headers) if self._more_scopes is not None else None
        if wanted is not None and self._more_scopes is not None:
            raise self._more_scopes(wanted)

    def token_for(self, url: str) -> Secret:
        """The access token, for a client of another kind that is about to call ``url``.

        Raises ConfigurationError for a host of others, and for a provider whose calls need more
        care than a header: the token in the query, or hosts that people name. For a protected
        resource that people name, UnexpectedResponse (``private_address``) where its name leads to
        a private address; what it leads to a moment later is only held by its certificate.
        """
        self._check(url)
        of_many = self._named_by_people and not self._only_below
        if self._in_query or self._own_header or of_many:
            raise ConfigurationError("other_client", "Call this provider with get_session.")
        if self._public_only:
            refuse_private(url)
        return self._access_token()

    def refuses_token(self, status: int, headers: Mapping[str, str], url: str) -> bool:
        """Whether an answer of the API means that the token is dead."""
        if self._requires_challenge and status == 401 and "WWW-Authenticate" not in headers:
            return False
        statuses = self._dead_token_statuses
        if urlunsplit(urlsplit(url)._replace(query="", fragment="")) == self._identity_url:
            statuses = statuses | {401, 403}
        return status in statuses and means_dead_token(headers)

    def renewed(self, failed: Secret) -> Secret | None:
        """Another token in place of one that was refused, or None."""
        renewed = None if self._renew is None else self._renew(failed)
        return None if renewed is None or renewed.reveal() == failed.reveal() else renewed

    def credentials(self, token: Secret, method: str, url: str) -> dict[str, str]:
        """The headers that carry the token in one request, with a proof where it is bound."""
        if self._own_header:
            return {self._own_header: token.reveal()}
        return dpop.authorization(token, method, url)

    def asks_for_nonce(
        self, token: Secret, status: int, headers: Mapping[str, str], url: str
    ) -> bool:
        """Whether a proof was refused for want of the nonce that comes with the answer. It is
        remembered for the next proof."""
        if not isinstance(token, dpop.BoundToken):
            return False
        dpop.note_nonce(url, headers)
        return dpop.asks_for_nonce(status, headers)

    def _send_with(
        self, request: requests.PreparedRequest, token: Secret, kwargs: dict[str, Any]
    ) -> requests.Response:
        with only_public(self._public_only):
            if self._in_query:
                return self._send_in_query(request, token, kwargs)
            response = self._transmit(request, kwargs, token)
            said = response.status_code, response.headers, response.url
            wants_nonce = self.asks_for_nonce(token, *said)
            if not wants_nonce or response.history or not is_replayable(request):
                return response
            response.close()
            return self._transmit(request, kwargs, token)

    def _transmit(
        self,
        request: requests.PreparedRequest,
        kwargs: dict[str, Any],
        token: Secret | None = None,
    ) -> requests.Response:
        """Send, with ``token`` in its header; where no answer came because the connection broke, a
        safe method once more."""
        self._sign(request, token)
        try:
            return super().send(request, **kwargs)
        except (requests.Timeout, requests.exceptions.SSLError):
            raise
        except requests.ConnectionError:
            if request.method not in SAFE_METHODS:
                raise
        self._sign(request, token)  # a proof is good once
        return super().send(request, **kwargs)

    def _sign(self, request: requests.PreparedRequest, token: Secret | None) -> None:
        if token is not None:
            method, url = request.method or "", request.url or ""
            request.headers.update(self.credentials(token, method, url))

    def _send_in_query(
        self, request: requests.PreparedRequest, token: Secret, kwargs: dict[str, Any]
    ) -> requests.Response:
        """The token in the URL of the call, and of nothing that outlives it: neither the answer,
        which the caller's hooks see, nor an error shows it. Redirects are not followed, since they
        would repeat it."""
        signed = request.copy()
        signed.hooks = default_hooks()
        signed.prepare_url(_with_token(request.url or "", token), None)
        failure: requests.RequestException | None = None
        try:
            response = self._transmit(signed, kwargs | {"allow_redirects": False})
        except requests.RequestException as error:
            # Of the same kind, for whoever handles it, but without the URL in its text.
            failure = type(error)("The call to the provider failed.")
        if failure is not None:
            raise failure
        response.request, response.url = request, request.url or ""
        response.raw.url = response.url
        hooks = request.hooks
        return dispatch_hook("response", hooks, response, **kwargs)  # type: ignore[no-untyped-call, no-any-return]

    def _check(self, url: str) -> None:
        elsewhere = self._only_below and not is_at_or_below(parse_url(url).url, self._only_below)
        if origin_of(url) not in self._origins or elsewhere:
            security.log(security.SecurityEvent.FOREIGN_HOST, provider=self._provider)
            raise ConfigurationError(
                "foreign_host",
                "This URL is not on the provider's API host, so no token is sent there. "
                "Name further hosts in the provider's OPTIONS['api_hosts'].",
            )

    @clears_traceback_locals
    def fetch(self, method: str, url: str, **kwargs: Any) -> Any:
        """Call the API and return its JSON, as ``answer`` does. Raises as that."""
        return parse_json(self.answer(method, url, **kwargs).body)

    @clears_traceback_locals
    def answer(self, method: str, url: str, *, accept: str = "", **kwargs: Any) -> transport.Answer:
        """Call the API and return its answer, within the deadline and size limit of all our calls.

        Raises ProviderUnavailable (no answer, 429, 5xx) or UnexpectedResponse (any other failure;
        ``status`` tells which, and ``code`` a reason other than the token). Does not refresh: for
        ``fetch_identity`` and connection tests.
        """
        url = self.absolute_url(url)
        self._check(url)
        headers = {str(name): str(value) for name, value in self.headers.items()}
        headers = {k: v for k, v in headers.items() if k not in ("Accept-Encoding", "Accept")}
        headers |= {"Accept": accept} if accept else {}
        request = requests.Request(method, url, headers=headers, **kwargs)
        # Into the request alone, not into a variable: those are shown on error pages.
        if self._in_query:
            request.url = _with_token(url, self._access_token())
            answer = self._fetch(request)
        else:
            answer = self._answer_to(request, self._access_token())
        answer.raise_if_unavailable()
        if not 200 <= answer.status < 300:
            code = "throttled" if is_throttled(answer.headers) else f"status_{answer.status}"
            raise UnexpectedResponse(other_reason(answer.headers) or code, status=answer.status)
        return answer

    def _answer_to(self, request: requests.Request, token: Secret) -> transport.Answer:
        url = request.prepare().url or ""

        def send(seconds: float | None = None) -> transport.Answer:
            request.headers.update(self.credentials(token, request.method or "", url))
            return self._fetch(request, seconds)

        if not isinstance(token, dpop.BoundToken):
            return send()
        return dpop.answered_with_nonce(send, url, seconds=float(conf.get("HTTP_DEADLINE")))

    def _fetch(self, request: requests.Request, seconds: float | None = None) -> transport.Answer:
        return transport.fetch(
            request, public=self._public_only, certificate=self.certificate, seconds=seconds
        )
