"""Badge Connect: a site registers itself (RFC 7591, as Open Badges 2.1 and 3.0 narrow it).

The toolkit has registration too, but for other needs: none of these fields is demanded there or
given back, and no secret expires.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_application_model

from .dialects import Dialect
from .models import Registration, Tally

Metadata = dict[str, Any]
TEXTS = ("client_name", "software_id", "software_version")
ADDRESSES = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
FALLBACKS: Metadata = {
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}


@dataclass(eq=False)
class Refused(Exception):
    """What is wrong with a request to register, and with which of its fields."""

    field: str
    text: str

    @property
    def error(self) -> str:
        return (
            "invalid_redirect_uri" if self.field == "redirect_uris" else "invalid_client_metadata"
        )


Narrow = Callable[[Dialect, list[str]], list[str]]
"""What becomes of the scopes that were asked for. May raise Refused."""


def narrow_to_offered(dialect: Dialect, asked: list[str]) -> list[str]:
    return [name for name in asked if name in dialect.scopes]


def refuse_if_not_offered(dialect: Dialect, asked: list[str]) -> list[str]:
    """badgr-server 3.14.1, observed 2026: one scope that it does not offer refuses them all."""
    for name in asked:
        if name not in dialect.scopes:
            raise Refused("scope", f"Scope {name} not valid for registration")
    return asked


def read_metadata(body: bytes) -> Metadata:
    try:
        metadata = json.loads(body)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise Refused("body", "The request must be a JSON object")
    return FALLBACKS | metadata


def check(metadata: Metadata) -> None:
    for field in (*TEXTS, *ADDRESSES):
        if not isinstance(metadata.get(field), str) or not metadata[field].strip():
            raise Refused(field, "This field is required.")
    redirect_uris = metadata.get("redirect_uris")
    if not is_list_of_texts(redirect_uris):
        raise Refused("redirect_uris", "This field is required.")
    check_addresses({field: metadata[field] for field in ADDRESSES}, redirect_uris)
    if metadata["token_endpoint_auth_method"] != "client_secret_basic":
        raise Refused("token_endpoint_auth_method", "Only client_secret_basic is supported.")
    if metadata["response_types"] != ["code"]:
        raise Refused("response_types", "Only code is supported.")
    grants = metadata["grant_types"]
    known = {"authorization_code", "refresh_token"}
    if not is_list_of_texts(grants) or "authorization_code" not in grants or set(grants) - known:
        raise Refused("grant_types", "Only authorization_code and refresh_token are supported.")


def is_list_of_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def check_addresses(addresses: dict[str, str], redirect_uris: list[str]) -> None:
    """Open Badges 2.1 and 3.0: all by https, and at one host. A sandbox lives on the loopback."""
    domain = hostname(addresses["client_uri"])
    pairs = [*addresses.items(), *(("redirect_uris", address) for address in redirect_uris)]
    for field, address in pairs:
        host = hostname(address)
        if host is None or (not address.startswith("https://") and host not in LOOPBACK):
            raise Refused(field, "Must be an https address.")
        if host != domain:
            raise Refused(field, "Addresses do not match domain.")


def hostname(address: str) -> str | None:
    """None for what is no web address. The toolkit keeps addresses in a list parted by spaces."""
    if address.split() != [address]:
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def register(dialect: Dialect, body: bytes, narrow: Narrow, wants_scope: bool) -> Metadata:
    """The site's metadata, with what it was given. Raises Refused."""
    metadata = read_metadata(body)
    check(metadata)
    asked = metadata.get("scope", "")
    if not isinstance(asked, str) or (wants_scope and not asked.strip()):
        raise Refused("scope", "This field is required.")
    if asked:
        metadata["scope"] = " ".join(narrow(dialect, asked.split()))
    secret = generate_client_secret()
    with transaction.atomic():
        registration = create_client(dialect, metadata, secret)
        Tally.add(dialect.name, "registration")
    expires_at = registration.secret_expires_at
    return metadata | {
        "client_id": registration.application.client_id,
        "client_secret": secret,
        "client_id_issued_at": int(timezone.now().timestamp()),
        "client_secret_expires_at": int(expires_at.timestamp()) if expires_at else 0,
    }


def create_client(dialect: Dialect, metadata: Metadata, secret: str) -> Registration:
    application = get_application_model()(
        name=metadata["client_name"],
        client_type="confidential",
        authorization_grant_type=dialect.grant,
        redirect_uris=" ".join(metadata["redirect_uris"]),
        client_secret=secret,
    )
    try:
        application.full_clean()
    except ValidationError as error:
        field, texts = next(iter(error.message_dict.items()))
        raise Refused({"name": "client_name"}.get(field, field), texts[0]) from error
    application.save()
    seconds = settings.SANDBOX_CLIENT_SECRET_SECONDS  # type: ignore[misc]
    return Registration.objects.create(
        application=application,
        dialect=dialect.name,
        scope=metadata.get("scope", ""),
        refreshes="refresh_token" in metadata["grant_types"],
        secret_expires_at=timezone.now() + timedelta(seconds=seconds) if seconds else None,
    )
