"""Badge Connect: any host of Open Badges 2.1 or 3.0 that the site lists. The host says itself where
its endpoints are, and hands out credentials by itself (RFC 7591).

After the specifications of 1EdTech (2.1 and 3.0, read 2025-04) and a running badgr-server 3.14.1.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig, is_safe_url
from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2.token import wait_seconds
from connected_accounts.providers.badge_client import (
    DESCRIPTION,
    addresses_elsewhere,
    client_description,
)
from connected_accounts.providers.badge_hosts import (
    api_hosts_of,
    base_of,
    host_faults,
    is_its_own,
    is_local,
    missing_scopes,
)
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.endpoints import ENDPOINT_NAMES
from connected_accounts.providers.inputs import ConnectField

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["BadgeConnect"]

logger = logging.getLogger("connected_accounts")

OB2 = "https://purl.imsglobal.org/spec/ob/v2p1/scope/"
OB3 = "https://purl.imsglobal.org/spec/ob/v3p0/scope/"
OFFLINE = "offline_access"


class BadgeConnect(Provider):
    """Badge Connect (Open Badges 2.1 and 3.0) at the hosts that the site lists."""

    name = "Badge Connect"
    # Both families: a host offers one of them, and is asked for nothing of the other.
    default_scopes = (
        f"{OB2}profile.readonly",
        f"{OB2}assertion.readonly",
        f"{OB3}profile.readonly",
        f"{OB3}credential.readonly",
        OFFLINE,
    )
    scope_descriptions: Mapping[str, Any] = {
        f"{OB2}profile.readonly": _("See your name and e-mail address"),
        f"{OB2}profile.update": _("Change your name and e-mail address"),
        f"{OB2}assertion.readonly": _("See the badges in your backpack"),
        f"{OB2}assertion.create": _("Add badges to your backpack"),
        f"{OB3}profile.readonly": _("See your name and e-mail address"),
        f"{OB3}profile.update": _("Change your name and e-mail address"),
        f"{OB3}credential.readonly": _("See your badges and credentials"),
        f"{OB3}credential.upsert": _("Add badges and credentials, and change them"),
        OFFLINE: _("Stay connected while you are away"),
    }
    token_endpoint_auth_method = "client_secret_basic"  # the only one of both specifications
    code_request_fields = ("scope",)
    refresh_request_fields = ("scope",)
    # The latter two, labelled as pages, are badgr-server's (seen).
    client_errors = (
        "invalid_client",
        "unauthorized_client",
        "invalid client_secret",
        "invalid client_id",
    )
    connect_fields = ("host",)
    docs_url = "https://www.imsglobal.org/spec/ob/v3p0"
    own_options: ClassVar[Mapping[str, Any]] = {
        "hosts": (),
        "version": "",
        **DESCRIPTION,
    }

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS']"
        options = {**cls.own_options, **config.options}
        for text, hint in host_faults(options):
            yield Problem("E017", f"{where}{text}", hint)
        site = conf.get("REDIRECT_BASE_URL")
        registers = is_safe_url(site) and not config.client_id
        for name in addresses_elsewhere(options, site) if registers else ():
            yield Problem(
                "W009",
                f"{where}[{name!r}] is not on the host and port of REDIRECT_BASE_URL.",
                "A host of badges refuses to register the site then. Write an address there; for "
                "logo_uri that of a PNG or SVG, where STATIC_URL leads elsewhere.",
            )

    def connect_field(self, name: str) -> ConnectField:
        if name != "host":
            return super().connect_field(name)
        return ConnectField("host", _("Where your badges are"), "choice", "", self.hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.options["hosts"])

    def fields_of_host(self) -> tuple[str, ...]:
        return self.connect_fields

    def known_endpoints(self) -> Endpoints:
        if any(host_faults(self.options)):
            raise ConfigurationError("inputs", "OPTIONS['hosts'] does not name usable hosts.")
        base = base_of(next(filter(is_local, self.hosts), self.hosts[0]))
        named = {n: self.config.options[n] for n in ENDPOINT_NAMES if n in self.config.options}
        return Endpoints(**{"token_endpoint": base, "registration_endpoint": base} | named)

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        description = self._description(inputs.get("host", ""))
        named = {name: description.get(name, "") for name in ENDPOINT_NAMES}
        return Endpoints(**named, public_only=not is_local(inputs["host"]))

    def _description(self, host: str) -> Mapping[str, Any]:
        from connected_accounts.oauth2.badge_manifest import description  # loads requests

        if host not in self.hosts:
            raise ConfigurationError("inputs", "This host is not one of OPTIONS['hosts'].")
        return description(
            base_of(host),
            version=self.options["version"],
            **self._trusted(host),
            public=not is_local(host),
        )

    def _trusted(self, host: str) -> dict[str, list[str]]:
        """The origins besides its own that a host may name. Where there are several hosts, one that
        serves another's codes and tokens too would let each have the other's."""
        apis = api_hosts_of(host, self.api_hosts, self.hosts)
        return {"listed": [], "apis": apis} if len(self.hosts) > 1 else {"listed": apis, "apis": []}

    def scopes_to_ask(self, wanted: list[str]) -> list[str]:
        offered = self._description(self.inputs["host"])["scopes"]
        asked = [scope for scope in wanted if scope in offered]
        if not set(asked) - {OFFLINE}:
            code = missing_scopes(offered)
            logger.error(
                "badge connect host not usable: host=%s code=%s", self.inputs["host"], code
            )
            raise UnexpectedResponse(code, sent=False)
        return asked

    def scopes_by_choice(self, wanted: list[str]) -> dict[str, list[str] | None]:
        from connected_accounts.oauth2.badge_manifest import known_scopes  # loads requests

        version = self.options["version"]
        by_host: dict[str, list[str] | None] = {}
        for host in self.hosts:
            offered = known_scopes(base_of(host), version=version, **self._trusted(host))
            asked = None if offered is None else [s for s in wanted if s in offered]
            by_host[host] = asked
        return by_host

    def registration(self, redirect_uri: str, scopes: list[str]) -> dict[str, Any]:
        description = client_description(self.options, redirect_uri)
        return super().registration(redirect_uri, scopes) | description

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        if status == 429:  # badgr-server tells the wait in the body (seen)
            wait = wait_seconds(payload.get("expires"))
            return ProviderUnavailable("throttled", status=status, retry_after=wait)
        return super().classify_error(status, payload)

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        endpoints = self.endpoints()
        document: Any = session.fetch("GET", endpoints.userinfo_endpoint)
        if isinstance(document, dict):
            listed = document.get("results")  # where badgr-server has it (seen), without an id
            listed = listed[0] if isinstance(listed, list) and listed else None
            document = document.get("profile") or listed or document
        profile = document if isinstance(document, dict) else {}
        address, name, email = (
            profile[key] if isinstance(profile.get(key), str) else ""
            for key in ("id", "name", "email")
        )
        if not (address or email):
            raise UnexpectedResponse("no_identity")
        host = self.inputs["host"]
        own = is_its_own(address, host, endpoints.api_base_url, self.hosts)
        return Identity(address if own else f"{host} {address or email}", name or email)
