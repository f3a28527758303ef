"""The address of a protected resource: one way to write it, and what is below it (RFC 8707 2).

Loads no HTTP client: forms and settings are checked with it.
"""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

_PORTS: Final = {"https": 443, "http": 80}


def canonical_url(url: str) -> str:
    """The address with scheme and host in lower case, without a usual port, a fragment or the slash
    of an empty path. What cannot be read is returned as it is."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url
    scheme = parts.scheme.lower()
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in (None, _PORTS.get(scheme)) else f"{host}:{port}"
    path = "" if parts.path == "/" and not parts.query else parts.path
    return urlunsplit((scheme, netloc, path, parts.query, ""))


def origin_url(url: str) -> str:
    """Scheme, host and port of an address, as an address."""
    parts = urlsplit(canonical_url(url))
    return f"{parts.scheme}://{parts.netloc}"


def is_at_or_below(url: str, base: str) -> bool:
    """Whether ``url`` is ``base``, or on its origin and below its path. An address that a server
    could read as one elsewhere, by a dot segment or a backslash, is not."""
    one, other = urlsplit(canonical_url(url)), urlsplit(canonical_url(base))
    if (one.scheme, one.netloc) != (other.scheme, other.netloc):
        return False
    plain = one.path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\")
    if "\\" in plain or {".", ".."} & set(plain.split("/")):
        return False
    root = other.path.rstrip("/")
    return one.path == root or one.path.startswith(f"{root}/")
