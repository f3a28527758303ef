"""The intent to connect, checked before anything is sent: the same for both ways to connect."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connected_accounts.exceptions import ConfigurationError, InvalidState
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import SITE_OWNER, key_to_connect_for
from connected_accounts.providers.base import Provider
from connected_accounts.providers.inputs import (
    OWN_CLIENT,
    ConnectField,
    checked_inputs,
    field_named,
)
from connected_accounts.providers.registry import get_provider

MAX_EXTRA: Final = 100


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
    fields += own_client_fields(provider, entered)
    return Intent(user, provider, key, account, wanted, checked_inputs(fields, entered))


def own_client_fields(provider: Provider, entered: Mapping[str, str]) -> list[ConnectField]:
    """The fields of a client of the person's own, as far as it was entered: at a server that they
    named, and that lets nobody become a client by itself."""
    if "server" not in provider.connect_fields:
        return []
    return [field_named(name) for name in OWN_CLIENT if entered.get(name)]


def requested_scopes(
    provider: Provider, extra: Iterable[str] = (), account: ConnectedAccount | None = None
) -> list[str]:
    """SCOPES, the ``extra`` ones, and the optional scopes that ``account`` had when it was last
    connected. Raises ConfigurationError (``unknown_scope``) for any other."""
    extra = list(extra)
    if len(extra) > MAX_EXTRA or not all(map(provider.may_ask_for, extra)):
        raise ConfigurationError(
            "unknown_scope",
            "A scope was asked for that stands neither in SCOPES nor in OPTIONAL_SCOPES.",
        )
    before = provider.scopes_before(account) if account else []
    return list(dict.fromkeys([*provider.scopes, *before, *extra]))
