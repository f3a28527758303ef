"""The authentication of a client of the httpx family: what ``httpx`` and ``httpx2`` share."""

import ssl
from collections.abc import AsyncGenerator, Generator
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.utils.functional import cached_property

from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.secret import Secret
from connected_accounts.services import get_session


class AccountAuth:
    """Adds the account's bearer to requests to its provider, and nothing else; mixed into the
    ``Auth`` of a library. ``byte_stream`` is its class for a body that can be sent again.

    A request to any other host raises ConfigurationError and is not sent; where the provider
    redirects to another host, the library takes the bearer away. After a 401 the token is renewed
    and the request repeated, once, unless its body is a stream.
    """

    byte_stream: ClassVar[type[Any]]

    def __init__(self, account: ConnectedAccount) -> None:
        self._account = account

    def __repr__(self) -> str:
        return f"<ConnectedAccountAuth of {self._account!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("An account's authentication holds access to it and cannot be pickled.")

    @cached_property
    def _session(self) -> ProviderSession:
        # Never sent with: it knows the hosts, the token, and how a refused one is renewed.
        return get_session(self._account)

    def ssl_context(self) -> ssl.SSLContext:
        """For the client's ``verify``: with the certificate of settings, where the provider binds
        tokens to it (RFC 8705 3). A client without it is refused there."""
        context = ssl.create_default_context(cafile=transport.ca_file())
        if self._session.certificate is not None:
            context.load_cert_chain(*self._session.certificate)
        return context

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        token = self._sign(request)
        for may_renew in (True, False):
            response = yield request
            if self._wants_nonce(request, response, token):
                response.read()
                self._sign_with(request, token)
                response = yield request
            if not (may_renew and self._was_refused(request, response)):
                break
            response.read()
            renewed = self._session.renewed(token)
            if renewed is None:
                break
            token = renewed
            self._sign_with(request, token)
        self._session.raise_for_scopes(response.status_code, response.headers)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        token = await sync_to_async(self._sign)(request)
        for may_renew in (True, False):
            response = yield request
            if self._wants_nonce(request, response, token):
                await response.aread()
                self._sign_with(request, token)
                response = yield request
            if not (may_renew and self._was_refused(request, response)):
                break
            await response.aread()
            renewed = await sync_to_async(self._session.renewed)(token)
            if renewed is None:
                break
            token = renewed
            self._sign_with(request, token)
        self._session.raise_for_scopes(response.status_code, response.headers)

    def _sign(self, request: Any) -> Secret:
        token = self._session.token_for(str(request.url))
        self._sign_with(request, token)
        return token

    def _sign_with(self, request: Any, token: Secret) -> None:
        request.headers.update(self._session.credentials(token, request.method, str(request.url)))

    def _wants_nonce(self, request: Any, response: Any, token: Secret) -> bool:
        said = response.status_code, response.headers, str(response.request.url)
        asks = self._session.asks_for_nonce(token, *said)
        return asks and self._can_be_repeated(request, response)

    def _can_be_repeated(self, request: Any, response: Any) -> bool:
        # Behind a redirect it may be another host that answers, and without the token.
        same = bool(response.request.url == request.url)
        return same and isinstance(request.stream, self.byte_stream)

    def _was_refused(self, request: Any, response: Any) -> bool:
        """Whether the provider itself refused the token, and the request can be sent again."""
        if not self._can_be_repeated(request, response):
            return False
        said = response.status_code, response.headers, str(request.url)
        return self._session.refuses_token(*said)
