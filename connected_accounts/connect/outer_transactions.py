"""Transactions that a site has open around a connection: one could undo a grant whose code, or
whose credentials, the provider has accepted, and it is held during calls to the provider."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from connected_accounts.database.transactions import in_sites_transaction
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.registry import get_providers

REVISION_MIDDLEWARE = "reversion.middleware.RevisionMiddleware"


def refuse_sites_transaction() -> None:
    """Raise ConfigurationError (``in_transaction``) where connecting would be part of a transaction
    of the site's. Nothing was sent then."""
    if in_sites_transaction():
        raise ConfigurationError(
            "in_transaction",
            "Connecting must not be part of a transaction, which could undo what the provider has "
            "given already; nothing was sent. A middleware, a decorator or atomic() of the site "
            "has opened one: leave the app's addresses out of it (docs/how-to/deploy.md, "
            "“Transactions”).",
        )


def check_middleware(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W018: a middleware has a transaction open while people connect with what they enter."""
    if not any(provider.grant_type != "authorization_code" for provider in get_providers()):
        return []  # a callback is a GET, which makes no revision
    return [
        checks.Warning(
            f"{name} in MIDDLEWARE opens a transaction around each POST: connecting with "
            "credentials or a personal token is refused.",
            hint="Let its request_creates_revision() say no for the app's addresses, or set its "
            "atomic to False; see docs/how-to/deploy.md, “Transactions”.",
            id="connected_accounts.W018",
        )
        for name in _atomic_middleware()
    ]


def _atomic_middleware() -> Iterator[str]:
    """The revision middlewares that say nothing else about which requests they are for."""
    for name in settings.MIDDLEWARE or ():
        try:
            found = import_string(name)
        except ImportError:
            continue  # Django says so itself, when it starts
        bases = [
            base
            for base in getattr(found, "__mro__", ())
            if f"{base.__module__}.{base.__qualname__}" == REVISION_MIDDLEWARE
        ]
        own = "request_creates_revision"
        if bases and found.atomic and getattr(found, own) is getattr(bases[0], own):
            yield name
