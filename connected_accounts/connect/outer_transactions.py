"""Transactions that a site has open around a connection: one could undo a grant whose code, or
whose credentials, the provider has accepted, and it is held during calls to the provider."""

from connected_accounts.database.transactions import in_sites_transaction
from connected_accounts.exceptions import ConfigurationError


def refuse_sites_transaction() -> None:
    """Raise ConfigurationError (``in_transaction``) where connecting would be part of a transaction
    of the site's. Nothing was sent then."""
    if in_sites_transaction():
        raise ConfigurationError(
            "in_transaction",
            "Connecting must not be part of a transaction, which could undo what the provider has "
            "given already; nothing was sent. A middleware, a decorator or atomic() of the site "
            "has opened one: leave the app's addresses out of it; see the check W019.",
        )
