"""The inputs of a person before a connection: Bime's account, Bits' credentials, a token."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import is_dns_label, is_host_name, is_safe_url
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2.resource import canonical_url, is_at_or_below

MAX_INPUT: Final = 4096
MAX_SERVER: Final = 200
MAX_ISSUER: Final = 255  # as long as the column of hosts


class ConnectField(NamedTuple):
    """One input. ``kind`` is ``label`` (part of a host name), ``host`` (a whole one), ``text``,
    ``url``, ``issuer`` (a URL of at most 255 characters), ``secret`` (never stored but sealed,
    never shown again), ``basic_client_id`` (text without a colon), ``choice`` (one of ``choices``)
    or ``server`` (the URL of one, at or below one of ``choices`` where there are any)."""

    name: str
    label: Any
    kind: str = "label"
    help_text: Any = ""
    choices: tuple[str, ...] = ()

    def fault(self, value: str) -> Any:
        """The fault of a value, in a person's words; None if it has none."""
        if not value:
            return _("Please fill this in.")
        # A line break, a NUL or a lone surrogate would end in a header, a log or a database.
        if len(value) > MAX_INPUT or not value.isprintable():
            return _("This contains characters that cannot be used. Please copy it again.")
        if self.kind == "label" and not is_dns_label(value):
            return _("Only letters, digits and hyphens; nothing else of the address.")
        if self.kind == "host" and not is_host_name(value):
            return _("Please enter the name of the server only, such as social.example.org.")
        if self.kind == "choice" and value not in self.choices:
            return _("Please choose one of the list.")
        if self.kind == "basic_client_id" and ":" in value:
            return _("A client id with a colon cannot be used here.")
        if self.kind == "secret" and not (value.isascii() and " " not in value):
            return _("This contains characters that cannot be used. Please copy it again.")
        https = value.lower().startswith("https://")
        if self.kind == "url" and not (https and is_safe_url(value)):
            return _("Please enter an https address.")
        if self.kind == "issuer" and not (is_safe_url(value) and len(value) <= MAX_ISSUER):
            return _("Please enter an https address.")
        return self._fault_of_server(value) if self.kind == "server" else None

    def _fault_of_server(self, value: str) -> Any:
        url = canonical_url(value)
        is_sound = is_safe_url(value) and value.isascii() and " " not in value
        if not is_sound or len(url) > MAX_SERVER:
            return _("Please enter the whole address of the server, beginning with https://.")
        if any(is_at_or_below(url, one) for one in self.choices):
            return None
        if self.choices:
            return _("This site does not connect to that server.")
        if not url.startswith("https:"):
            return _("Please enter the whole address of the server, beginning with https://.")
        return None


def checked_inputs(fields: Iterable[ConnectField], inputs: Mapping[str, str]) -> dict[str, str]:
    """The entered values, which must be exactly those of ``fields``; parts of host names in lower
    case, as hosts compare. Raises ConfigurationError (``inputs``) otherwise."""
    known = list(fields)
    if set(inputs) != {field.name for field in known}:
        raise ConfigurationError("inputs", "The provider's fields are not those that were given.")
    for field in known:
        if field.fault(inputs[field.name]) is not None:
            raise ConfigurationError("inputs", f"The field {field.name} cannot be used.")
    kinds = {field.name: field.kind for field in known}
    return {name: _written(kinds[name], value) for name, value in inputs.items()}


def _written(kind: str, value: str) -> str:
    """A value in the one way that it is stored and compared."""
    if kind == "server":
        return canonical_url(value)
    return value.lower() if kind in ("label", "host") else value


# The names that mean the same at every provider. Any other name is part of an address.
KNOWN: Final[Mapping[str, ConnectField]] = {
    "client_id": ConnectField("client_id", _("Client id"), "text"),
    "client_secret": ConnectField("client_secret", _("Client secret"), "secret"),
    "personal_token": ConnectField(
        "personal_token",
        _("Personal token"),
        "secret",
        _("You make it in your settings at the service. It is kept encrypted."),
    ),
    "id_token": ConnectField(
        "id_token",
        _("Identity token"),
        "secret",
        _("Your organisation’s sign-in issues it. It is kept encrypted."),
    ),
}
# Never stored with the account: the first two make a client, the others are the grant itself.
CREDENTIALS: Final = tuple(KNOWN)
OWN_CLIENT: Final = ("client_id", "client_secret")


def field_named(name: str) -> ConnectField:
    """The field of a declared name, such as ``account``."""
    return KNOWN.get(name) or ConnectField(name, name.replace("_", " ").capitalize())
