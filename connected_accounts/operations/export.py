"""An export of all that is stored about one person, for that person."""

from typing import Any, Final

from django.db import models
from django.db.models import Q

from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    Revocation,
)
from connected_accounts.owners import owner_key
from connected_accounts.sealing import SealedTextField

PARTS: Final[dict[str, type[models.Model]]] = {
    "connected_accounts": ConnectedAccount,
    "started_authorizations": AuthorizationRequest,
    "revocations": Revocation,
    "events": Event,
    "provider_clients": ProviderClient,
}
# Events whose ``detail`` is the key of who did it, where that is not the owner.
DONE_BY_SOMEBODY: Final = (Kind.CONNECTED, Kind.RECONNECTED, Kind.DISCONNECTED, Kind.MOVED)
# Says nothing about the person: digests, and what workers agree on.
INTERNAL: Final = frozenset(
    {
        "account",
        "browser_digest",
        "endpoint_fingerprint",
        "generation",
        "lease_holder",
        "lease_until",
        "nonce_digest",
        "oidc_nonce",
        "owner_key",
        "revision",
        "seal_id",
        "subject_digest",
        "user",
    }
)


def export(user: Any) -> dict[str, list[dict[str, Any]]]:
    """All that is stored about a user, as plain values for ``DjangoJSONEncoder``.

    It includes what they began or did for the site or a team; the accounts of those are not theirs.
    Sealed values are left out: they are keys to accounts, and say nothing about the person.
    """
    key = owner_key(user)
    acted: dict[str, Q] = {
        "started_authorizations": Q(user=user),
        "events": Q(kind__in=DONE_BY_SOMEBODY, detail=key),
    }
    return {
        name: [
            _plain(row)
            for row in model._base_manager.filter(Q(owner_key=key) | acted.get(name, Q(pk=None)))
        ]
        for name, model in PARTS.items()
    }


def _plain(row: models.Model) -> dict[str, Any]:
    return {
        field.name: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.name not in INTERNAL and not isinstance(field, SealedTextField)
    }
