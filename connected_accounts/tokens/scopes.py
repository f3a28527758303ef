"""Scopes compared by what they mean: a provider may answer with other names than were asked for."""

from collections.abc import Iterable
from typing import Final

from connected_accounts.providers.base import Provider

# The permission to have a refresh token: in OpenID Connect Core 11, and as others call it.
OFFLINE: Final = ("offline_access", "offline")


def missing_scopes(
    provider: Provider | None, wanted: Iterable[str], granted: Iterable[str]
) -> list[str]:
    """Those of ``wanted`` that nothing in ``granted`` stands for, by what the provider declares.
    Without a provider, names are compared as they are."""
    wanted = list(wanted)
    if not wanted:
        return []
    meant = _meant(provider, granted)
    return [scope for scope in wanted if _folded(provider, scope) not in meant]


def granted_scopes(
    provider: Provider,
    asked: Iterable[str],
    answered: Iterable[str] | None,
    *,
    renewable: bool,
) -> list[str]:
    """The scopes granted of ``asked``: those that the answer names (None: all, RFC 6749 5.1), and
    those that answers never name although they took effect. ``renewable``: there is a refresh
    token, so the permission to have one was given."""
    named = list(asked) if answered is None else list(answered)
    unnamed = [scope for scope in asked if scope in provider.unnamed_scopes]
    given = [scope for scope in unnamed if renewable or scope not in OFFLINE]
    return named + missing_scopes(provider, given, named)


def _meant(provider: Provider | None, granted: Iterable[str]) -> set[str]:
    """Everything that the granted scopes stand for, themselves included."""
    stands_for: dict[str, list[str]] = {}
    if provider is not None:
        for scope, name in provider.scope_aliases.items():
            stands_for.setdefault(_folded(provider, scope), []).append(name)
        for scope, others in provider.scope_includes.items():
            stands_for.setdefault(_folded(provider, scope), []).extend(others)
    meant: set[str] = set()
    waiting = [_folded(provider, scope) for scope in granted if isinstance(scope, str)]
    while waiting:
        scope = waiting.pop()
        if scope not in meant:
            meant.add(scope)
            waiting += [_folded(provider, other) for other in stands_for.get(scope, ())]
    return meant


def _folded(provider: Provider | None, scope: str) -> str:
    return scope.casefold() if provider is not None and provider.scopes_ignore_case else scope
