"""The only reader of settings. Values are read when used, so that a change takes effect."""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.secret import Secret

DEFAULTS: dict[str, Any] = {
    "PROVIDERS": {},
    "SITE_ID": None,
    "REDIRECT_BASE_URL": None,
    "STATE_MAX_AGE": 600,
    "HTTP_TIMEOUT": 10,
    "HTTP_DEADLINE": 30,
    "REFRESH_AT": 0.66,
    "REFRESH_CONCURRENCY": 32,
    "REVOKE_GIVE_UP_AFTER": 2592000,
    "EVENT_RETENTION_DAYS": 90,
    "OWNERS": None,
    "PREPARE_CONNECTION": None,
    "RECONNECT_MAIL": False,
}
PROVIDER_DEFAULTS: dict[str, Any] = {
    "BACKEND": "",
    "SERVICE": "",
    "CLIENT_ID": "",
    "CLIENT_SECRET": "",
    "CLIENT_KEY": None,
    "CLIENT_CERTIFICATE": None,
    "SCOPES": None,
    "OPTIONAL_SCOPES": (),
    "OPTIONS": {},
    "EXCLUSIVE": False,
    "MAX_ACCOUNTS": 100,
    "REFRESH_POLICY": None,
    "REFRESH_AT": None,
    "MAX_REQUESTS_PER_SECOND": None,
}
MAX_SITE_ID: Final = 255
MAX_HOST_NAME: Final = 253
MAX_MAX_ACCOUNTS: Final = 10_000
MAX_URL: Final = 2048
JITTER: Final = 0.1  # share of the time to a refresh, either way
LAST_MINUTE: Final = 60.0  # seconds before its end in which a token is not counted on
# Compiled when they are used: every process that starts would pay for it.
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ALIAS: Final = r"[-a-zA-Z0-9_]{1,64}"


class Problem(NamedTuple):
    """A bad setting: a check id without the app's prefix, what is wrong, what to write instead.

    An id with a W is a warning: the provider can be used all the same.
    """

    id: str
    message: str
    hint: str


class ProviderConfig(NamedTuple):
    """One entry of ``PROVIDERS``, as the site wrote it. What is None has the
    backend's or the site's default."""

    alias: str
    backend: str
    client_id: str
    client_secret: Secret
    scopes: tuple[str, ...] | None
    optional_scopes: tuple[str, ...]
    options: Mapping[str, Any]
    exclusive: bool
    refresh_policy: str | None
    max_requests_per_second: float | None
    service: str = ""  # of the catalogue, where it stands in place of a backend
    refresh_at: float | None = None
    max_accounts: int = 100  # of one owner
    client_keys: tuple[Secret, ...] = ()  # PEM, or a JWK in JSON; the first signs
    client_certificate: tuple[str, str] | None = None  # files, of the certificate and of its key

    def __repr__(self) -> str:
        return f"<ProviderConfig {self.alias}>"  # options may hold anything


def known_names(name: Any, known: Iterable[str]) -> str:
    """The hint for a name that is not among the known ones: the nearest, and all."""
    names = list(known)
    folded = {one.lower(): one for one in names}
    near = get_close_matches(str(name).lower(), folded, n=1, cutoff=0.5)
    asked = f"Did you mean {folded[near[0]]}? " if near else ""
    return f"{asked}Known are: {', '.join(names)}."


def is_safe_url(url: str) -> bool:
    """Whether a token may travel to ``url``: https, or plain http to a loopback address literal.

    It is visible ASCII, as RFC 3986 has it, and at most 2048 characters long. A name such as
    ``localhost`` is not a literal: what it resolves to is not ours to trust.
    """
    try:
        if len(url) > MAX_URL or " " in url or not (url.isascii() and url.isprintable()):
            return False
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError):
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_literal(host))


@lru_cache(maxsize=256)  # a host is asked about at each call to it
def is_loopback_literal(host: str) -> bool:
    """Whether ``host`` is written as a loopback IP address, such as ``127.0.0.1`` or ``::1``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_dns_label(text: str) -> bool:
    """Whether ``text`` may be one label of a host name (RFC 1123 2.1), in ASCII."""
    return re.fullmatch(_LABEL, text) is not None


def is_host_name(text: str) -> bool:
    """Whether ``text`` is a host's full name in the public DNS, in ASCII and without a port: no IP
    address, and no name of this network alone."""
    labels = text.split(".")
    named = len(labels) > 1 and len(text) <= MAX_HOST_NAME and not labels[-1].isdigit()
    return named and all(map(is_dns_label, labels))


def base_url_fault(value: Any) -> str:
    """The reason for which a value cannot be the site's own address; empty where it can. Plain http
    is for a developer's machine, and ``localhost`` is what the browser shows there."""
    if not isinstance(value, str):
        return f"is {type(value).__name__}, not a text"
    if "?" in value or "#" in value:
        return f"has {'a query' if '?' in value else 'a fragment'}"
    try:
        parts = urlsplit(value)
        host, _, named = parts.hostname, parts.port, parts.username is not None
    except ValueError:
        return "cannot be read as an address"
    if named:
        return "has a user name in it"
    if parts.scheme == "http" and host:
        local = host == "localhost" or is_loopback_literal(host)
        return "" if local else "is plain http, on another host than localhost"
    return "" if parts.scheme == "https" and host else "is no https:// address with a host"


def raw() -> dict[str, Any]:
    """The site's ``CONNECTED_ACCOUNTS`` dict, or {}."""
    value = getattr(settings, "CONNECTED_ACCOUNTS", {})
    return value if isinstance(value, dict) else {}


def get(name: str) -> Any:
    """One top-level setting, or its default."""
    return raw().get(name, DEFAULTS[name])


def site_id() -> str:
    """The name of this deployment; empty when the site gives none, or one that checks reject."""
    name = get("SITE_ID")
    if name is None or name == "":
        base = get("REDIRECT_BASE_URL")
        name = base if base and not base_url_fault(base) else ""
    return name.rstrip("/") if _is_site_id(name) else ""


def _is_site_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_SITE_ID


def provider_aliases() -> list[str]:
    """The aliases of all providers in settings, in the site's order."""
    providers = get("PROVIDERS")
    return list(providers) if isinstance(providers, dict) else []  # else E005 speaks of it


def provider_entry(alias: str) -> Any:
    """One entry of ``PROVIDERS`` as the site wrote it, right or wrong; None where there is none."""
    providers = get("PROVIDERS")
    return providers.get(alias) if isinstance(providers, dict) else None


def provider_config(alias: str) -> ProviderConfig:
    """The configuration of one provider. Raises ConfigurationError when it is absent or wrong."""
    providers = get("PROVIDERS")
    if not isinstance(providers, dict) or alias not in providers:
        raise ConfigurationError(
            "unknown_provider", f"CONNECTED_ACCOUNTS['PROVIDERS'] has no entry {alias!r}."
        )
    for problem in provider_problems(alias, providers[alias]):
        raise ConfigurationError(problem.id, f"{problem.message} {problem.hint}")
    entry = PROVIDER_DEFAULTS | providers[alias]
    return ProviderConfig(
        alias=alias,
        backend=entry["BACKEND"],
        client_id=str(entry["CLIENT_ID"] or ""),
        client_secret=as_secret(entry["CLIENT_SECRET"]),
        scopes=None if entry["SCOPES"] is None else tuple(entry["SCOPES"]),
        optional_scopes=tuple(entry["OPTIONAL_SCOPES"]),
        options=entry["OPTIONS"],
        exclusive=entry["EXCLUSIVE"],
        max_accounts=entry["MAX_ACCOUNTS"],
        refresh_policy=entry["REFRESH_POLICY"],
        refresh_at=entry["REFRESH_AT"],
        max_requests_per_second=entry["MAX_REQUESTS_PER_SECOND"],
        service=entry["SERVICE"],
        client_keys=_as_keys(entry["CLIENT_KEY"]),
        client_certificate=_as_certificate(entry["CLIENT_CERTIFICATE"]),
    )


def as_secret(value: Any) -> Secret:
    """Wrap a secret from settings, unless the site wrapped it already. None, as the environment
    gives for what it lacks, is no secret at all."""
    return value if isinstance(value, Secret) else Secret("" if value is None else str(value))


def _as_keys(value: Any) -> tuple[Secret, ...]:
    """CLIENT_KEY as texts. A JWK may be a dict; several are a list, the one that signs first."""
    listed = value if isinstance(value, list | tuple) else [value]
    texts = [json.dumps(one, default=str) if isinstance(one, dict) else one for one in listed]
    return tuple(as_secret(text) for text in texts if text)


def _as_certificate(value: Any) -> tuple[str, str] | None:
    """CLIENT_CERTIFICATE as two files, which may be one and the same."""
    if not value:
        return None
    files = value if isinstance(value, list | tuple) else (value, value)
    return str(files[0]), str(files[1])


def problems() -> Iterator[Problem]:
    """Every fault of the top-level settings. Touches no network and imports no backend."""
    value = getattr(settings, "CONNECTED_ACCOUNTS", {})
    if not isinstance(value, dict):
        yield Problem("E001", "CONNECTED_ACCOUNTS is not a dict.", "Write a dict of settings.")
        return
    for key in sorted(set(value) - set(DEFAULTS), key=str):
        yield Problem(
            "E002",
            f"CONNECTED_ACCOUNTS has an unknown key {key!r}.",
            known_names(key, DEFAULTS),
        )
    yield from _number_problems()
    base = get("REDIRECT_BASE_URL")
    if base is not None and (fault := base_url_fault(base)):
        yield Problem(
            "E004",
            f"CONNECTED_ACCOUNTS['REDIRECT_BASE_URL'] {fault}.",
            'Write the public address of the site, such as "https://app.example.org".',
        )
    if not _is_site_id("" if get("SITE_ID") is None else get("SITE_ID")):
        yield Problem(
            "E016",
            "CONNECTED_ACCOUNTS['SITE_ID'] is not a text, or too long.",
            f"Write a name of at most {MAX_SITE_ID} characters.",
        )
    yield from _mail_problems()
    if not isinstance(get("PROVIDERS"), dict):
        yield Problem(
            "E005",
            "CONNECTED_ACCOUNTS['PROVIDERS'] is not a dict.",
            'Write {"badgr": {"BACKEND": "connected_accounts.providers.badgr.Badgr", …}}.',
        )


def _mail_problems() -> Iterator[Problem]:
    if not isinstance(get("RECONNECT_MAIL"), bool):
        yield Problem(
            "E033",
            "CONNECTED_ACCOUNTS['RECONNECT_MAIL'] is neither True nor False.",
            "Write True to have people told by e-mail that a connection needs them.",
        )
    elif get("RECONNECT_MAIL") and not get("REDIRECT_BASE_URL"):
        yield Problem(
            "E033",
            "CONNECTED_ACCOUNTS['RECONNECT_MAIL'] needs REDIRECT_BASE_URL: the mail has a link to "
            "connect again.",
            "Set REDIRECT_BASE_URL to the public address of the site, such as "
            '"https://app.example.org".',
        )


_LIMITS: dict[str, tuple[float, float]] = {
    "STATE_MAX_AGE": (1, 86400),
    "HTTP_TIMEOUT": (0.01, 300),
    "HTTP_DEADLINE": (0.01, 600),
    "REFRESH_AT": (0.01, 0.99),
    "REFRESH_CONCURRENCY": (1, 512),
    "REVOKE_GIVE_UP_AFTER": (0, 10 * 365 * 86400),
    "EVENT_RETENTION_DAYS": (0, 36500),
}


_ENTRY_LIMITS: dict[str, tuple[float, float]] = {
    "REFRESH_AT": _LIMITS["REFRESH_AT"],
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_problems() -> Iterator[Problem]:
    for name, (low, high) in _LIMITS.items():
        number = get(name)
        if not _is_number(number):
            wrong = f"is {type(number).__name__}, not a number"
        elif not low <= number <= high:
            wrong = f"is {number}, out of range"
        else:
            continue
        yield Problem(
            "E003",
            f"CONNECTED_ACCOUNTS[{name!r}] {wrong}.",
            f"Write a number from {low:.10g} to {high:.10g}; the default is {DEFAULTS[name]}.",
        )


def provider_problems(alias: Any, entry: Any) -> Iterator[Problem]:
    """Every fault of one ``PROVIDERS`` entry that shows without importing its backend."""
    where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{alias!r}]"
    if not isinstance(alias, str) or not re.fullmatch(_ALIAS, alias):
        yield Problem(
            "E006",
            f"{where}: the alias is not a slug of at most 64 characters.",
            "Use letters, digits, hyphens and underscores: it stands in URLs.",
        )
    if not isinstance(entry, dict):
        yield Problem("E006", f"{where} is not a dict.", "Write a dict with SERVICE or BACKEND.")
        return
    for key in sorted(set(entry) - set(PROVIDER_DEFAULTS), key=str):
        yield Problem(
            "E007",
            f"{where} has an unknown key {key!r}.",
            known_names(key, PROVIDER_DEFAULTS),
        )
    yield from _entry_problems(where, PROVIDER_DEFAULTS | entry)


def _is_text_or_none(value: Any) -> bool:
    return isinstance(value, str | None)  # None: what the environment lacks


def _has_no_white_space_around(value: Any) -> bool:
    return not isinstance(value, str) or value == value.strip()


def _is_list_of_scopes(value: Any) -> bool:
    texts = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return texts and all(value)


def _is_key(value: Any) -> bool:
    listed = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(one, str | dict | None) for one in listed)


def _is_certificate(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return all(map(_is_path_or_none, value if pair else [value]))


def _is_path_or_none(value: Any) -> bool:
    """A key in place of its file is none: it would be shown as a file that is not there."""
    return isinstance(value, Path | None) or (isinstance(value, str) and "-----" not in value)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_none_or_within(value: Any, low: float, high: float) -> bool:
    return value is None or (_is_number(value) and low <= value <= high)


SCOPES_HINT: Final = 'Write a list, one scope each: ["r:profile", "r:backpack"].'
_SCOPES_FAULT: Final = ("E010", "is not a list of scopes.", SCOPES_HINT)
# A key of an entry, the test that its value must pass, and the Problem if it does not, in which
# ``value`` and ``type`` are filled in.
_RULES: Final[tuple[tuple[str, Callable[[Any], bool], str, str, str], ...]] = (
    *(
        (
            key,
            _is_text_or_none,
            "E014",
            "is {type}, not a text.",
            "Write it as the provider gave it, as a text.",
        )
        for key in ("CLIENT_ID", "CLIENT_SECRET")
    ),
    *(
        (
            key,
            _has_no_white_space_around,
            "E014",
            "begins or ends with white space.",
            "Write it without: often it is the line break of the file that it was read from.",
        )
        for key in ("CLIENT_ID", "CLIENT_SECRET")
    ),
    (
        "CLIENT_KEY",
        _is_key,
        "E014",
        "is {type}, not a key.",
        "Write a private key as PEM or JWK, or a list of these whose first one signs; "
        "manage.py make_client_key makes one.",
    ),
    (
        "CLIENT_CERTIFICATE",
        _is_certificate,
        "E014",
        "is {type}, and not where files are.",
        "Write the path of a PEM file with certificate and key, or a pair of paths.",
    ),
    ("SCOPES", lambda v: v is None or _is_list_of_scopes(v), *_SCOPES_FAULT),
    ("OPTIONAL_SCOPES", _is_list_of_scopes, *_SCOPES_FAULT),
    (
        "OPTIONS",
        lambda value: isinstance(value, dict),
        "E011",
        "is not a dict.",
        "Write a dict, or leave it out.",
    ),
    (
        "EXCLUSIVE",
        lambda value: isinstance(value, bool),
        "E014",
        "is not a bool.",
        "Write True or False.",
    ),
    (
        "MAX_ACCOUNTS",
        lambda value: _is_number(value) and value in range(1, MAX_MAX_ACCOUNTS + 1),
        "E014",
        f"is not a whole number from 1 to {MAX_MAX_ACCOUNTS}.",
        "Write how many accounts of the provider one person, or one team, may have.",
    ),
    (
        "REFRESH_POLICY",
        lambda value: value in (None, "ahead", "on_use"),
        "E014",
        "is {value!r}.",
        'Write "ahead" (refresh before expiry) or "on_use" (when a token is asked for).',
    ),
    *(
        (
            key,
            partial(_is_none_or_within, low=low, high=high),
            "E014",
            f"is not a number from {low:g} to {high:g}.",
            "Write such a number, or None for the default.",
        )
        for key, (low, high) in _ENTRY_LIMITS.items()
    ),
    (
        "MAX_REQUESTS_PER_SECOND",
        lambda value: value is None or _is_rate(value),
        "E014",
        "is not a positive number.",
        "Write a number above 0, or None for no limit.",
    ),
)


def _kind_problems(where: str, entry: dict[str, Any]) -> Iterator[Problem]:
    """An entry has either SERVICE or BACKEND, and it is a name."""
    if not isinstance(entry["SERVICE"], str):
        yield Problem(
            "E021",
            f"{where}['SERVICE'] is {type(entry['SERVICE']).__name__}, not a text.",
            'Write the name of a service of the catalogue, such as "github".',
        )
    elif entry["SERVICE"] and entry["BACKEND"]:
        yield Problem(
            "E021",
            f"{where} has both SERVICE and BACKEND.",
            "Remove one: a service of the catalogue brings its backend along.",
        )
    elif not entry["SERVICE"] and (
        not isinstance(entry["BACKEND"], str) or "." not in entry["BACKEND"]
    ):
        yield Problem(
            "E008",
            f"{where}['BACKEND'] is not a dotted path.",
            'Write for example "connected_accounts.providers.badgr.Badgr", or in its place '
            '"SERVICE", the name of a service of the catalogue.',
        )


def _entry_problems(where: str, entry: dict[str, Any]) -> Iterator[Problem]:
    yield from _kind_problems(where, entry)
    for key, passes, number, fault, hint in _RULES:
        value = entry[key]
        if not passes(value):
            fault = fault.format(value=value, type=type(value).__name__)
            yield Problem(number, f"{where}[{key!r}] {fault}", hint)
