"""Dynamic client registration (RFC 7591): the site makes itself a client, once per host."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import requests
from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf, security
from connected_accounts.accounts import DatabaseNow
from connected_accounts.exceptions import ClientRejected, ProviderUnavailable, UnexpectedResponse
from connected_accounts.models import Event, Kind, ProviderClient, ProviderState
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.secret import Secret
from connected_accounts.security import SecurityEvent
from connected_accounts.services.clients import client_in_use, open_client, seal_client_secret
from connected_accounts.services.pauses import provider_state

POLL: Final = 0.1
MARGIN: Final = 30.0  # seconds that the turn outlives the call
MAX_METADATA: Final = 100  # fields of the answer that are kept
NOT_KEPT: Final = ("client_secret", "registration_access_token")


def registered_client(
    provider: Provider, endpoints: Endpoints, *, redirect_uri: str, scopes: list[str]
) -> Client:
    """The client for this host, registered now if there is none, or its secret has expired.

    One process at a time registers; the others wait for its result. Raises ProviderUnavailable,
    ClientRejected (the host refuses) or UnexpectedResponse. Must not run in a transaction.
    """
    state = provider_state(provider.alias)
    deadline = float(conf.get("HTTP_DEADLINE"))
    ends = time.monotonic() + deadline + MARGIN
    rows = ProviderState.objects.filter(pk=state.pk)
    free = Q(registering_until__isnull=True) | Q(registering_until__lt=DatabaseNow())
    while (client := client_in_use(provider, redirect_uri=redirect_uri)) is None:
        until = DatabaseNow() + timedelta(seconds=deadline + MARGIN)
        if rows.filter(free).update(registering_until=until):
            try:
                # Somebody may have finished between our look and our turn.
                return client_in_use(provider, redirect_uri=redirect_uri) or _register(
                    provider, endpoints, redirect_uri, scopes
                )
            finally:
                rows.update(registering_until=None)
        if time.monotonic() > ends:
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
    answer = transport.fetch(request, public=endpoints.public_only)
    told = parse_json_object(answer.body)
    if answer.status == 429 or answer.status >= 500:
        raise ProviderUnavailable(
            f"status_{answer.status}", status=answer.status, retry_after=answer.retry_after()
        )
    if not 200 <= answer.status < 300:
        raise ClientRejected("registration_refused", status=answer.status)
    client_id = (told or {}).get("client_id")
    secret = (told or {}).get("client_secret") or ""
    texts = isinstance(client_id, str) and isinstance(secret, str)
    if told is None or not texts or not client_id or not (client_id + secret).isprintable():
        raise UnexpectedResponse("registration", status=answer.status)
    return open_client(_store(provider, told, redirect_uri, Secret(secret), now))


def _store(
    provider: Provider, told: dict[str, Any], redirect_uri: str, secret: Secret, now: datetime
) -> ProviderClient:
    seal_id = uuid.uuid4()
    ends = seconds_since_1970(told.get("client_secret_expires_at"))
    kept = [(name, value) for name, value in told.items() if name not in NOT_KEPT]
    row = ProviderClient.objects.create(
        provider=provider.alias,
        host=provider.inputs.get("host", "")[:255],
        client_id=told["client_id"][:255],
        client_secret=seal_client_secret(secret, seal_id),
        seal_id=seal_id,
        # What the server echoes may differ; it is registered for what was asked.
        metadata=dict(kept[:MAX_METADATA]) | {"redirect_uris": [redirect_uri]},
        secret_expires_at=ends,
        created_at=now,
    )
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
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
