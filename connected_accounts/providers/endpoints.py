"""The addresses of one connection, and the identity that is found there."""

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final
from urllib.parse import quote, urlsplit

from connected_accounts.conf import is_dns_label, is_host_name, is_safe_url
from connected_accounts.exceptions import (
    ConfigurationError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2.id_token import MAX_SUBJECT
from connected_accounts.oauth2.token import read_scope
from connected_accounts.security import one_line


@dataclass(frozen=True)
class Identity:
    """The identity of the account at the provider. ``subject`` is stable and unique there;
    ``label`` is what a person recognises; ``other_subjects`` are other spellings of it. ``scopes``
    were granted, where only the answer to this question tells; None: the token answer's count.
    ``api_base`` is the address of the account's own API, where the account is at one of many.

    Raises UnexpectedResponse (``no_identity``) for what no database takes, or is too long; a label
    is made one line."""

    subject: str
    label: str = ""
    other_subjects: frozenset[str] = frozenset()
    scopes: tuple[str, ...] | None = None
    api_base: str = ""

    def __post_init__(self) -> None:
        if len(self.subject) > MAX_SUBJECT:
            raise UnexpectedResponse("no_identity")
        text = self.subject + self.label
        # A NUL or half a surrogate pair, which JSON can carry and no database takes.
        if "\x00" in text or text.encode(errors="ignore").decode() != text:
            raise UnexpectedResponse("no_identity")
        # What a provider wrote stands in pages, mails and logs.
        object.__setattr__(self, "label", one_line(self.label))
        object.__setattr__(self, "scopes", read_scope(self.scopes, " "))


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one provider, after regions and inputs are filled in."""

    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    registration_endpoint: str = ""
    pushed_authorization_request_endpoint: str = ""
    api_base_url: str = ""
    issuer: str = ""
    # A person or a document of the provider's named them: nothing is sent to a private address (RFC
    # 9728 7.7).
    public_only: bool = False
    # A document that is away for now may name others.
    partial: bool = False
    # The protected resource that the bearer is for: it goes there and below, and nowhere else.
    only_below: str = ""

    def token_origins(self) -> list[str]:
        """The origins that tokens and the client's secret travel to, or come from."""
        urls = [self.token_endpoint, self.refresh_endpoint, self.revocation_endpoint]
        urls += [self.registration_endpoint, self.pushed_authorization_request_endpoint]
        urls += [self.only_below, *self.api_urls()]
        return sorted({"/".join(url.split("/", 3)[:3]).lower() for url in urls if url})

    def token_fingerprint(self) -> str:
        """A fingerprint of ``token_origins``; kept on the account, so in fewer letters than hex."""
        digest = hashlib.sha256(" ".join(self.token_origins()).encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def refuse_if_unsure(self, before: str) -> None:
        """Raise ProviderUnavailable (``no_metadata``) where these are not those of ``before``, a
        ``token_fingerprint``, and a document is away that may name the rest: nothing moved, as far
        as is known."""
        if self.partial and self.token_fingerprint() != before:
            raise ProviderUnavailable("no_metadata", sent=False)

    def authorization_fingerprint(self) -> str:
        """A fingerprint of where an open authorization began and is to end."""
        ends = (self.authorization_endpoint, self.token_endpoint, self.issuer)
        return hashlib.sha256(repr(ends).encode()).hexdigest()

    def api_urls(self) -> tuple[str, ...]:
        """The addresses whose origins may be sent the bearer."""
        if self.only_below:
            return (self.only_below,)
        return tuple(u for u in (self.api_base_url, self.userinfo_endpoint, self.issuer) if u)


_NO_ADDRESS: Final = ("public_only", "partial", "only_below")
ENDPOINT_NAMES: Final = tuple(
    field.name for field in fields(Endpoints) if field.name not in _NO_ADDRESS
)


def as_origin(host: str) -> str:
    """An entry of ``api_hosts`` as a URL: a bare host name means https."""
    return host if "://" in host or not host else f"https://{host}"


def api_base(told: Any, domains: Collection[str]) -> str:
    """The address of an account's own API out of a token answer, where it is on one of the
    service's domains: the bearer goes there. Raises UnexpectedResponse (``api_base``)."""
    try:
        parts = urlsplit(as_origin(told) if isinstance(told, str) else "")
        host, plain = parts.hostname or "", parts.port is None and parts.username is None
    except ValueError:
        host, plain = "", False
    ours = any(host == domain or host.endswith(f".{domain}") for domain in domains)
    if not (ours and plain and is_host_name(host) and parts.scheme == "https"):
        raise UnexpectedResponse("api_base")
    address = f"https://{host}{parts.path.rstrip('/')}"
    if not is_safe_url(address):
        raise UnexpectedResponse("api_base")
    return address


CLIENT_ID: Final = "{client_id}"


def is_host_entered(template: str) -> bool:
    """Whether a person enters part of the host's name of an address. For a whole one, ``{host}``,
    its provider says."""
    _, _, rest = template.partition("://")
    return "{" in rest.partition("/")[0].replace("{host}", "")


def with_client_id(url: str, client_id: str) -> str:
    """An address that names the client in its path, as GitHub's for revoking does."""
    return url.replace(CLIENT_ID, quote(client_id, safe=""))


def fill(template: str, inputs: Mapping[str, str]) -> str:
    """``https://{account}.example`` with what the person entered.

    Whatever was checked before, nothing but a DNS label ever gets into an address. The client id
    is no input: ``with_client_id`` fills it in. Raises ConfigurationError (``inputs``).
    """
    if "{" not in template:
        return template
    for name, value in inputs.items():
        place = f"{{{name}}}"
        if place in template:
            if not is_dns_label(value):
                raise ConfigurationError("inputs", "What was entered cannot stand in an address.")
            template = template.replace(place, value.lower())
    if "{" in template.replace(CLIENT_ID, ""):
        raise ConfigurationError("inputs", "The address of this provider needs more inputs.")
    return template
