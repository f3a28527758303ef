"""From an alias in settings to its provider."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from django.utils.module_loading import import_string

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers import options
from connected_accounts.providers.base import Provider

__all__ = ["get_provider", "get_providers"]

T = TypeVar("T")


def get_provider(alias: str) -> Provider:
    """The provider of an alias, made from today's settings.

    Raises ConfigurationError (``unknown_provider`` where settings have no such alias).
    """
    entry = conf.provider_entry(alias)
    if alias in _in_order and _in_order[alias][0] == entry:
        _, config, backend = _in_order[alias]
        return backend(config)
    config, found = _checked(conf.provider_config(alias))
    if entry is not None:
        _in_order[alias] = deepcopy(entry), config, found
    return found(config)


def known_provider(alias: str) -> Provider | None:
    """The provider of an alias; None where settings have none, or not in order."""
    try:
        return get_provider(alias)
    except ConfigurationError:
        return None


def provider_of(config: ProviderConfig) -> Provider:
    """The provider of an entry that need not stand in settings. Raises ConfigurationError."""
    config, backend = _checked(config)
    return backend(config)


def _checked(entry: ProviderConfig) -> tuple[ProviderConfig, type[Provider]]:
    config = _sound(_with_service(entry))
    backend = _sound(_import_backend(config))
    for problem in options.problems(backend, config):
        if problem.id.startswith("E"):
            raise _as_error(problem)
    return config, backend


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


def exclusive_aliases(provider: Provider) -> list[str]:
    """The aliases, in order, at which an account that ``provider`` connects must be nobody else's:
    its own, and those of the same service by another workflow, where either is EXCLUSIVE."""
    return sorted(
        other.alias
        for other in get_providers()
        if (provider.config.exclusive or other.config.exclusive)
        and _service_of(other) == _service_of(provider)
    )


def _service_of(provider: Provider) -> tuple[type[Provider], str]:
    known = provider.known_endpoints()
    return type(provider), known.api_base_url or known.issuer or known.token_endpoint


def problems() -> Iterator[Problem]:
    """Every fault of the ``PROVIDERS`` setting."""
    for alias, entry in conf.get("PROVIDERS").items():
        faults = list(conf.provider_problems(alias, entry))
        yield from faults
        if not faults:
            yield from _problems_of(conf.provider_config(alias))


def _problems_of(entry: ProviderConfig) -> Iterator[Problem]:
    config = _with_service(entry)
    if isinstance(config, Problem):
        yield config
        return
    backend = _import_backend(config)
    if isinstance(backend, Problem):
        yield backend
    else:
        yield from options.problems(backend, config)
        yield from _empty_secret(backend, config)


def _empty_secret(backend: type[Provider], config: ProviderConfig) -> Iterator[Problem]:
    """W026: a secret that is written, as from the environment, and is empty."""
    entry = conf.provider_entry(config.alias)
    method = config.options.get(
        "token_endpoint_auth_method", getattr(backend, "token_endpoint_auth_method", "")
    )
    if "CLIENT_SECRET" not in entry or not config.client_id or config.client_secret.reveal():
        return
    if method in ("client_secret_post", "client_secret_basic"):
        yield Problem(
            "W026",
            f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['CLIENT_SECRET'] is empty.",
            "Set the variable that it is read from; leave the key out for a client without a "
            "secret.",
        )


def _with_service(config: ProviderConfig) -> ProviderConfig | Problem:
    """The entry as it would stand in settings without SERVICE: with the service's backend, and its
    values below those of OPTIONS; in a mapping, those of each key."""
    if not config.service:
        return config
    from connected_accounts.providers.catalogue import (
        services,  # a site without SERVICE does not pay for it
    )

    found = services.service(config.service)
    if found is None:
        near = " or ".join(map(repr, services.nearest(config.service)))
        return Problem(
            "E021",
            f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['SERVICE'] is "
            f"{config.service!r}, which the catalogue does not have.",
            (f"Did you mean {near}? " if near else "")
            + "The documentation's page Catalogue lists all; any other server is a BACKEND.",
        )
    values = {**found.options, **config.options}
    for name, value in config.options.items():
        ours = found.options.get(name)
        if isinstance(ours, Mapping) and isinstance(value, Mapping):
            values[name] = {**ours, **value}
    return config._replace(backend=found.backend, options=values)


def _import_backend(config: ProviderConfig) -> type[Provider] | Problem:
    where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['BACKEND']"
    hint = 'Write for example "connected_accounts.providers.badgr.Badgr".'
    try:
        backend = import_string(config.backend)
    except (ImportError, ValueError, TypeError) as error:  # "." and "..x" are the latter two
        return Problem("E008", f"{where} {config.backend!r} cannot be imported: {error}.", hint)
    if not (isinstance(backend, type) and issubclass(backend, Provider)):
        return Problem("E008", f"{where} {config.backend!r} is not a provider.", hint)
    return backend


def _sound(found: T | Problem) -> T:
    if isinstance(found, Problem):
        raise _as_error(found)
    return found


def _as_error(problem: Problem) -> ConfigurationError:
    return ConfigurationError(problem.id, f"{problem.message} {problem.hint}")
