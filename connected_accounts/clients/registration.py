"""Dynamic client registration (RFC 7591): the site makes itself a client, once per host."""

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import requests
from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf, security
from connected_accounts.clients.credentials import client_in_use, open_client
from connected_accounts.database.functions import DatabaseNow
from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.transactions import outside_transaction
from connected_accounts.exceptions import ClientRejected, ProviderUnavailable, UnexpectedResponse
from connected_accounts.models import Event, Kind, ProviderClient, ProviderState
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.token import parse_json_object, read_scope
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.base import (
    CERTIFICATE_METHODS,
    SECRET_METHODS,
    Client,
    Endpoints,
    Provider,
)
from connected_accounts.secret import Secret
from connected_accounts.security import SecurityEvent

logger = logging.getLogger("connected_accounts")

POLL: Final = 0.1
MARGIN: Final = 30.0  # seconds that the turn outlives the call
MAX_CLIENT_ID: Final = 255
MAX_SECRET: Final = 4096
KNOWN_METHODS: Final = (*SECRET_METHODS, "private_key_jwt", *CERTIFICATE_METHODS, "none")


def registered_client(
    provider: Provider, endpoints: Endpoints, *, redirect_uri: str, wanted: Sequence[str] = ()
) -> Client:
    """The client for this host, registered now if there is none that serves this address and all
    scopes that the site may ask for, or if its secret is about to expire. ``wanted`` are those of
    the connection that it is for.

    One process at a time registers; the others wait for its result. Raises ProviderUnavailable,
    ClientRejected (``registration_refused``) or UnexpectedResponse.
    """
    scopes = provider.scopes_to_register(list(wanted))
    known = client_in_use(provider, redirect_uri=redirect_uri, scopes=scopes)
    # A registration must not be undone with the transaction of a site's view.
    return known or outside_transaction(
        lambda: _register_in_turn(provider, endpoints, redirect_uri, scopes)
    )


def _register_in_turn(
    provider: Provider, endpoints: Endpoints, redirect_uri: str, scopes: list[str]
) -> Client:
    state = get_or_create_state(provider.alias, provider.host)
    lease = float(conf.get("HTTP_DEADLINE")) + MARGIN
    ends = time.monotonic() + lease
    rows = ProviderState.objects.filter(pk=state.pk)
    free = Q(registering_until__isnull=True) | Q(registering_until__lt=DatabaseNow())
    look = partial(client_in_use, provider, redirect_uri=redirect_uri, scopes=scopes)
    while (client := look()) is None:
        began = time.monotonic()
        until = DatabaseNow() + timedelta(seconds=lease)
        if rows.filter(free).update(registering_until=until):
            try:
                # Somebody may have finished between our look and our turn.
                return look() or _register(provider, endpoints, redirect_uri, scopes)
            finally:
                if time.monotonic() - began < lease:  # else it is another's turn by now
                    rows.update(registering_until=None)
        if began > ends:
            raise ProviderUnavailable("busy", sent=False)
        time.sleep(POLL)
    return client


@sensitive_variables()
def _register(
    provider: Provider, endpoints: Endpoints, redirect_uri: str, scopes: list[str]
) -> Client:
    now = timezone.now()
    metadata = provider.registration(redirect_uri, scopes)
    request = requests.Request("POST", endpoints.registration_endpoint, json=metadata)
    certificate = provider.config.client_certificate
    answer = transport.fetch(request, public=endpoints.public_only, certificate=certificate)
    answer.raise_if_unavailable()
    if 400 <= answer.status < 500:
        # Its reasons are prose at some hosts, so they are not repeated.
        logger.error(
            "registration refused: provider=%s host=%s status=%s%s",
            provider.alias,
            provider.host,
            answer.status,
            # badgr-server says so of a logo that is a page (seen).
            "" if parse_json_object(answer.body) else "; is logo_uri a PNG or SVG that it can get?",
        )
        raise ClientRejected("registration_refused", status=answer.status)
    document = parse_json_object(answer.body) if 200 <= answer.status < 300 else None
    client_id, secret = (document or {}).get("client_id"), (document or {}).get("client_secret")
    secret = "" if secret is None else secret
    # The server may change what was asked for (RFC 7591 3.2.1).
    method = (document or {}).get("token_endpoint_auth_method")
    method = method if method in KNOWN_METHODS else metadata.get("token_endpoint_auth_method")
    needs_secret = method in SECRET_METHODS
    if (
        document is None
        or not (_is_usable(client_id, MAX_CLIENT_ID) and client_id)
        or not (_is_usable(secret, MAX_SECRET) and (secret or not needs_secret))
    ):
        raise UnexpectedResponse("registration", status=answer.status)
    metadata = _metadata_to_keep(document) | {
        "redirect_uris": [redirect_uri],
        "requested_scope": " ".join(scopes),
        "token_endpoint_auth_method": method,
    }
    return open_client(_store(provider, client_id, Secret(secret), metadata, now))


def _is_usable(value: Any, limit: int) -> bool:
    """RFC 6749 A.1 and A.2: printable ASCII."""
    return (
        isinstance(value, str)
        and len(value) <= limit
        and value.isascii()
        and (not value or value.isprintable())
    )


def _metadata_to_keep(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the answer that is of use later. The rest repeats the site's own words, or is a
    secret."""
    metadata: dict[str, Any] = {}
    scope = read_scope(document.get("scope"), " ")
    if scope:
        metadata["scope"] = " ".join(scope)
    for name in ("client_id_issued_at", "client_secret_expires_at"):
        moment = seconds_since_1970(document.get(name))
        metadata[name] = 0 if moment is None else int(moment.timestamp())
    return metadata


def _store(
    provider: Provider, client_id: str, secret: Secret, metadata: dict[str, Any], now: datetime
) -> ProviderClient:
    facts = {
        "seal_id": uuid.uuid4(),
        "provider": provider.alias,
        "host": provider.client_host,
        "client_id": client_id,
    }
    values = {
        **facts,
        "client_secret": ProviderClient(**facts).sealed(secret),
        "metadata": metadata,
        "secret_expires_at": seconds_since_1970(metadata["client_secret_expires_at"]),
        "created_at": now,
    }
    row = insert_in_step(ProviderClient, lambda: ProviderClient.objects.create(**values))
    Event.record(
        Kind.CLIENT_REGISTERED, at=now, detail=row.host, provider=row.provider, owner=row.owner_key
    )
    security.log(SecurityEvent.CLIENT_STORED, provider=row.provider, owner=row.owner_key)
    return row


def seconds_since_1970(value: Any) -> datetime | None:
    """``client_secret_expires_at`` as a moment; 0, or what cannot be read: never (RFC 7591)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value, timezone.now().tzinfo and UTC)
    except (ValueError, OverflowError, OSError):
        return None
