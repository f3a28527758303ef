"""A provider of the site's own, and the included ones."""

from collections.abc import Mapping

from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.badge_connect import BadgeConnect
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.bime import Bime
from connected_accounts.providers.bitbadges import BitBadges
from connected_accounts.providers.bits import Bits
from connected_accounts.providers.generic import OAuth2
from connected_accounts.providers.mcp import MCP
from connected_accounts.providers.registry import get_provider, get_providers

INCLUDED: list[type[Provider]] = [Badgr, BitBadges, Bits, Bime, BadgeConnect, MCP, OAuth2]


class Medals(Provider):
    name = "Medals"
    authorization_endpoint = "https://medals.example/oauth/authorize"
    token_endpoint = "https://medals.example/oauth/token"
    userinfo_endpoint = "https://api.medals.example/me"
    api_base_url = "https://api.medals.example"
    default_scopes = ("medals:read",)
    scope_descriptions = {"medals:read": "See your medals"}

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        return super().resolve_endpoints(inputs)

    def fetch_identity(self, session: ProviderSession, token: TokenResponse) -> Identity:
        document = session.fetch("GET", self.endpoints().userinfo_endpoint)
        return Identity(str(document["id"]), document.get("email") or "")


def names() -> dict[str, str]:
    return {provider.alias: provider.name for provider in get_providers()}


def scopes(alias: str) -> tuple[str, ...]:
    return get_provider(alias).scopes
