"""Building a request to the token or revocation endpoint: body, and one client authentication."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import requests

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.secret import Secret

METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
# Those in which the body names the client and holds no secret (RFC 6749 3.2.1, RFC 8705 2).
NAMED_ONLY: Final = ("none", "tls_client_auth", "self_signed_tls_client_auth")
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII)  # the same in every encoding


def best_auth_method(
    supported: Any,
    *,
    client_id: str,
    client_secret: Secret,
    registered: bool,
    registers: bool,
    strong: Sequence[str] = (),
) -> str:
    """The best way to authenticate that a server's ``token_endpoint_auth_methods_supported`` offers
    for a client (RFC 8414 2). ``registers``: there is no client yet, and it is registered for what
    this returns; ``registered``: the server made the secret itself; ``strong``: what the site has
    the means for besides a secret."""
    for method in strong:
        if not isinstance(supported, list) or method in supported:
            return method
    offered = [m for m in METHODS if m in supported] if isinstance(supported, list) else [*METHODS]
    secret = client_secret.reveal()
    if not secret and not registers:
        return "none"
    # Servers decode Basic in four ways; in the body a secret with such letters is one text.
    is_plain = _PLAIN.fullmatch(client_id + secret) is not None or registered
    if not is_plain and "client_secret_post" in offered:
        return "client_secret_post"
    return (offered or METHODS)[0]


def build_request(
    url: str,
    data: Mapping[str, str],
    *,
    body_format: str,
    auth_method: str,
    basic_auth_encoding: str,
    client_id: str,
    client_secret: Secret,
    headers: Mapping[str, str],
    client_id_parameter: str = "client_id",
    method: str = "POST",
    bearer: Secret | None = None,
    client_assertion: Secret | None = None,
) -> requests.Request:
    """A request with exactly one way of authentication (RFC 6749 2.3) and nothing in its URL.

    ``auth_method`` ``none`` names the client in the body without a secret, as a public client must
    at the token and at the revocation endpoint (RFC 6749 3.2.1, RFC 7009 2.1); ``bare`` does not
    name it. ``bearer``, of the method of that name, is the token that may end itself, and
    ``client_assertion`` is what ``private_key_jwt`` sends (RFC 7523 2.2).
    """
    body: dict[str, str] = dict(data)
    sent_headers = dict(headers)
    if auth_method == "client_secret_basic":
        sent_headers["Authorization"] = basic_auth(client_id, client_secret, basic_auth_encoding)
    elif auth_method == "client_secret_post":
        body |= {client_id_parameter: client_id, "client_secret": client_secret.reveal()}
    elif auth_method == "bearer":
        sent_headers["Authorization"] = f"Bearer {bearer.reveal() if bearer else ''}"
    elif auth_method == "private_key_jwt":
        signed = client_assertion.reveal() if client_assertion else ""
        body |= {client_id_parameter: client_id, "client_assertion_type": ASSERTION_TYPE}
        body["client_assertion"] = signed
    elif auth_method in NAMED_ONLY:
        body[client_id_parameter] = client_id
    content: dict[str, Any] = {"json": body} if body_format == "json" else {"data": body}
    return requests.Request(method, url, headers=sent_headers, **(content if body else {}))


def basic_auth(client_id: str, client_secret: Secret, encoding: str) -> str:
    """The Basic header. ``form`` encodes both halves first, as RFC 6749 2.3.1 says; ``raw`` does
    not, for servers that only split at the colon (a client id with a colon cannot be sent so).

    A space is ``%20``: form decoding and percent decoding both read it, and only the former ``+``.
    """
    secret = client_secret.reveal()
    if encoding == "form":
        pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    elif ":" in client_id:
        raise ConfigurationError("client_id", "A client id with a colon needs form encoding.")
    else:
        pair = f"{client_id}:{secret}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
