"""The intent to connect, checked before anything is sent: the same for both ways to connect."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connected_accounts.exceptions import ConfigurationError, InvalidState
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import SITE_OWNER, key_to_connect_for
from connected_accounts.providers.base import Provider
from connected_accounts.providers.inputs import checked_inputs
from connected_accounts.providers.registry import get_provider


@dataclass(frozen=True)
class Intent:
    """``owner_key`` names the owner that the account will have, ``account`` the one to be connected
    again, if any. ``scopes`` are all that the site wants, ``entered`` all that the person entered.
    """

    user: Any
    provider: Provider
    owner_key: str
    account: ConnectedAccount | None
    scopes: list[str]
    entered: dict[str, str] = field(repr=False)


def check_intent(
    *,
    user: Any,
    alias: str,
    with_code: bool,
    entered: Mapping[str, str],
    scopes: Iterable[str],
    account: ConnectedAccount | None,
    owner: str | None,
    keep_scopes: bool,
    for_site: bool = False,
) -> Intent:
    """Check the arguments that ``start_authorization`` (``with_code``) and ``connect_directly``
    have in common; they say what each is.

    Raises ConfigurationError (``unknown_provider``, ``grant_type``, ``unknown_scope``, ``inputs``)
    or InvalidState (``not_permitted``, ``other_user``).
    """
    provider = get_provider(alias)
    if with_code and provider.grant_type != "authorization_code":
        raise ConfigurationError("grant_type", "This provider has no page to send anybody to.")
    if not with_code and provider.grant_type == "authorization_code":
        raise ConfigurationError("grant_type", "This provider is connected by authorization code.")
    wanted = requested_scopes(provider, scopes, account if keep_scopes else None)
    key = SITE_OWNER if for_site else key_to_connect_for(user, owner)
    if account is not None and (account.owner_key, account.provider) != (key, alias):
        raise InvalidState("other_user")
    fields = provider.asked_fields(for_site=key == SITE_OWNER)
    return Intent(user, provider, key, account, wanted, checked_inputs(fields, entered))


def requested_scopes(
    provider: Provider, extra: Iterable[str] = (), account: ConnectedAccount | None = None
) -> list[str]:
    """SCOPES, the ``extra`` ones, and the optional scopes that ``account`` had when it was last
    connected. Raises ConfigurationError (``unknown_scope``) for any other."""
    optional = set(provider.config.optional_scopes)
    extra = list(extra)
    if not set(extra) <= optional | set(provider.scopes):
        raise ConfigurationError(
            "unknown_scope",
            "A scope was asked for that stands neither in SCOPES nor in OPTIONAL_SCOPES.",
        )
    before = optional_scopes_of(provider, account) if account else []
    return list(dict.fromkeys([*provider.scopes, *before, *extra]))


def optional_scopes_of(provider: Provider, account: ConnectedAccount) -> list[str]:
    """The optional scopes that were wanted when the account was last connected."""
    optional = provider.config.optional_scopes
    return [scope for scope in account.scopes_wanted if scope in optional]
