"""Servers that there are many of: the host, or the customer's part of it, that stands in addresses.

A client's secret and people's tokens go to that host. So settings list the hosts, unless the site
makes itself a client at each (RFC 7591), or has no secret there but the key that stays with it;
then a person may name any, as long as it is public.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import Problem, is_host_name, is_safe_url
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.endpoints import as_origin
from connected_accounts.providers.inputs import ConnectField

PLACE: Final = "https://{host}"
_LABELS: Final[Mapping[str, Any]] = {
    "account": _("Account"),
    "realm": _("Realm"),
    "shop": _("Shop"),
    "subdomain": _("Subdomain"),
    "tenant": _("Tenant"),
}


def at_host(template: str, host: str, hosts: Collection[str]) -> str:
    """An address with the host in its place. Raises ConfigurationError (``inputs``) for a host that
    is not among ``hosts``, or where there are none for what is no public host's name."""
    if PLACE not in template:
        return template
    if (host not in hosts) if hosts else not is_host_name(host):
        raise ConfigurationError("inputs", "This host is not one of OPTIONS['hosts'].")
    return template.replace(PLACE, as_origin(host).rstrip("/"))


def place_field(name: str, address: str, hosts: tuple[str, ...]) -> ConnectField | None:
    """The field that asks a person for a place in ``address``; None for another name."""
    if name == "host":
        kind = "choice" if hosts else "host"
        return ConnectField("host", _("Server"), kind, "", hosts)
    before, place, after = address.partition(f"{{{name}}}")
    if not place:
        return None
    shown = f"{before.removeprefix('https://')}acme{after.partition('/')[0]}"
    words = _("A part of the address where you sign in: acme, if that is {address}.")
    label, example = _LABELS.get(name, _("Name")), format_lazy(words, address=shown)
    return ConnectField(name, label, help_text=example)


def host_problems(where: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Faults of the option ``hosts``; ``where`` names OPTIONS."""
    hosts = options.get("hosts", ())
    if not isinstance(hosts, list | tuple):
        return  # another check says so
    bases = [as_origin(str(host)).rstrip("/") for host in hosts]
    sound = all(is_safe_url(base) and not urlsplit(base).query for base in bases)
    if not sound or len(set(bases)) < len(bases):
        yield Problem(
            "E022",
            f"{where}['hosts'] does not name hosts, each once.",
            'Write host names: ["canvas.example.edu"]; or a URL such as '
            '"https://example.edu/moodle" where the server is below a path.',
        )
    asks = "host" in tuple(options.get("connect_fields", ()))
    own_way = options.get("registration_endpoint") or options.get("client_id_metadata_document")
    if asks and not hosts and not own_way:
        yield Problem(
            "E022",
            f"{where} names no hosts.",
            'Write OPTIONS["hosts"], the servers that people may connect: the client secret is '
            "sent there.",
        )
