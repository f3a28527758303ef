"""From an alias in settings to its provider."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from django.utils.module_loading import import_string

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers import options
from connected_accounts.providers.base import Provider

__all__ = ["get_provider", "get_providers"]


def get_provider(alias: str) -> Provider:
    """The provider of an alias, made from today's settings.

    Raises ConfigurationError (``unknown_provider`` where settings have no such alias).
    """
    entry = conf.provider_entry(alias)
    if alias in _in_order and _in_order[alias][0] == entry:
        _, config, backend = _in_order[alias]
        return backend(config)
    config = conf.provider_config(alias)
    found, problem = _import_backend(config)
    if found is None:
        raise _as_error(problem)
    for problem in options.problems(found, config):
        if problem.id.startswith("E"):
            raise _as_error(problem)
    if entry is not None:
        _in_order[alias] = deepcopy(entry), config, found
    return found(config)


# What was found to be in order, by alias, as it stood in settings then: a page asks for its
# providers several times, and looking for faults takes longer than all the rest. Settings that
# change are looked at anew.
_in_order: dict[str, tuple[Any, ProviderConfig, type[Provider]]] = {}


def get_providers() -> list[Provider]:
    """All providers in settings that are in order, in the site's order."""
    found = []
    for alias in conf.provider_aliases():
        try:
            found.append(get_provider(alias))
        except ConfigurationError:
            continue  # the system checks speak of it; the others go on working
    return found


def problems() -> Iterator[Problem]:
    """Every fault of the ``PROVIDERS`` setting."""
    for alias, entry in conf.get("PROVIDERS").items():
        faults = list(conf.provider_problems(alias, entry))
        yield from faults
        if not faults:
            config = conf.provider_config(alias)
            backend, problem = _import_backend(config)
            if backend is None:
                yield problem
            else:
                yield from options.problems(backend, config)


def _import_backend(config: ProviderConfig) -> tuple[type[Provider] | None, Problem]:
    where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['BACKEND']"
    hint = 'Write for example "connected_accounts.providers.badgr.Badgr".'
    try:
        backend = import_string(config.backend)
    except (ImportError, ValueError, TypeError):  # "." and "..x" are the latter two
        return None, Problem("E008", f"{where} {config.backend!r} cannot be imported.", hint)
    problem = Problem("E008", f"{where} {config.backend!r} is not a provider.", hint)
    if not (isinstance(backend, type) and issubclass(backend, Provider)):
        return None, problem
    return backend, problem


def _as_error(problem: Problem) -> ConfigurationError:
    return ConfigurationError(problem.id, f"{problem.message} {problem.hint}")
