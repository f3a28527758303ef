"""The tables: accounts, started authorizations, clients, and the history that outlives them."""

from connected_accounts.models.accounts import ConnectedAccount
from connected_accounts.models.authorizations import (
    AuthorizationRequest,
    ProviderClient,
    ProviderState,
)
from connected_accounts.models.choices import Reason, Status
from connected_accounts.models.deployment import Deployment
from connected_accounts.models.history import Event, Kind, Outcome, Revocation

__all__ = [
    "AuthorizationRequest",
    "ConnectedAccount",
    "Deployment",
    "Event",
    "Kind",
    "Outcome",
    "ProviderClient",
    "ProviderState",
    "Reason",
    "Revocation",
    "Status",
]
