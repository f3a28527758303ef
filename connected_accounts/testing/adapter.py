"""The adapter that takes requests in place of the network: recorded, and answered from memory."""

import base64
import binascii
import json as json_module
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from connected_accounts.conf import ProviderConfig
from connected_accounts.providers.client.keys import signing_keys
from connected_accounts.testing.faults import Answer

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION_LIFE: Final = 300.0  # seconds


class UnexpectedRequest(AssertionError):
    """A request went to a host that no fake provider stands for; nothing left the process."""


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it reached the fake. ``form`` or ``json`` is None where the body is no such."""

    endpoint: str
    method: str
    url: str
    headers: Mapping[str, str]
    form: dict[str, str] | None = None
    json: Any = None

    @property
    def fields(self) -> dict[str, Any]:
        """The parameters in the body, whichever way they were written."""
        return self.form or (self.json if isinstance(self.json, dict) else {})

    @property
    def bearer(self) -> str:
        """The access token in the ``Authorization`` header, or an empty text."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme in ("Bearer", "DPoP") else ""

    def proof(self) -> tuple[dict[str, Any], str]:
        """The claims of the ``DPoP`` header, whose signature is checked, and the thumbprint of its
        key (RFC 9449 4.3); both are empty where there is none. Raises ValueError."""
        proof = self.headers.get("DPoP", "")
        if not proof:
            return {}, ""
        # Loads joserfc.
        from joserfc import jws, jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey

        try:
            header = jws.extract_compact(proof.encode()).headers()
            key = ECKey.import_key(header["jwk"])
            claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        except (JoseError, TypeError, KeyError):
            raise ValueError("not a proof") from None
        if header.get("typ") != "dpop+jwt" or key.is_private:
            raise ValueError("not a proof")
        return dict(claims), key.thumbprint()

    def asserted_client(self, config: ProviderConfig, audiences: Collection[str]) -> str:
        """The client id that a client assertion proves (RFC 7523 3), signed with one of the keys in
        settings for one of ``audiences``; empty where it proves none."""
        # Loads joserfc.
        from joserfc import jws, jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import import_key

        from connected_accounts.oauth2.jose import REGISTRY

        signed = str(self.fields.get("client_assertion", ""))
        try:
            kid = jws.extract_compact(signed.encode()).headers().get("kid")
            key = next(key for key in signing_keys(config) if key.kid == kid)
            public: Any = import_key(dict(key.public_jwk()))
            claims = jwt.decode(signed, public, list(key.algorithms), registry=REGISTRY).claims
            left = claims["exp"] - time.time()
            client: str = claims["sub"]
            named = (claims["iss"], self.fields.get("client_id", client))
            is_good = claims["jti"] and claims["aud"] in audiences
        except (JoseError, StopIteration, KeyError, TypeError, ValueError):
            return ""
        is_good = is_good and self.fields.get("client_assertion_type") == ASSERTION_TYPE
        is_good = is_good and 0 < left <= MAX_ASSERTION_LIFE
        return client if is_good and named == (client, client) else ""

    def basic(self, *, form_encoded: bool) -> tuple[str, str] | None:
        """Client id and secret of a Basic header, decoded as RFC 6749 2.3.1 says or left raw."""
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        try:
            client, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return (unquote_plus(client), unquote_plus(secret)) if form_encoded else (client, secret)


def record(endpoint: str, request: requests.PreparedRequest) -> RecordedRequest:
    """Read a prepared request the way a server would."""
    body = request.body or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    kind = request.headers.get("Content-Type", "").partition(";")[0]
    form, content = None, None
    if kind == "application/x-www-form-urlencoded":
        form = dict(parse_qsl(text, keep_blank_values=True))
    elif kind == "application/json":
        with suppress(ValueError):
            content = json_module.loads(text)
    headers = CaseInsensitiveDict(request.headers)
    return RecordedRequest(
        endpoint, request.method or "", request.url or "", headers, form, content
    )


class FakeAdapter(HTTPAdapter):
    """Hands requests to one fake; those it does not stand for go to a fake installed before. Where
    several stand for a host, ``claims`` tells by a number which of them a request is meant for; of
    those with the highest, the last installed gets it."""

    def __init__(
        self,
        stands_for: Callable[[str], bool],
        handle: Callable[[requests.PreparedRequest], Answer],
        refuse: Callable[[requests.PreparedRequest], UnexpectedRequest],
        claims: Callable[[requests.PreparedRequest], int],
    ) -> None:
        super().__init__(max_retries=0)
        self._stands_for = stands_for
        self._handle = handle
        self._refuse = refuse
        self._claims = claims
        self.behind: Any = None

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        fakes = [self]
        while isinstance(fakes[-1].behind, FakeAdapter):
            fakes.append(fakes[-1].behind)
        here = [fake for fake in fakes if fake._stands_for(request.url or "")]
        if not here:
            raise fakes[-1]._refuse(request)
        meant = max(here, key=lambda fake: fake._claims(request)) if len(here) > 1 else here[0]
        answer = meant._handle(request)
        raw = HTTPResponse(
            body=BytesIO(answer.content()),
            headers=answer.all_headers(),
            status=answer.status,
            preload_content=False,
            decode_content=False,
        )
        return self.build_response(request, raw)
