"""A provider as a site writes one for itself, and how its server speaks."""

from typing import Any

from connected_accounts.providers.base import Identity, Provider
from connected_accounts.testing import Dialect


class Medals(Provider):
    name = "Medals"
    authorization_endpoint = "https://medals.example/oauth/authorize"
    token_endpoint = "https://medals.example/oauth/token"
    revocation_endpoint = "https://medals.example/oauth/revoke"
    userinfo_endpoint = "https://api.medals.example/me"
    api_base_url = "https://api.medals.example"
    default_scopes = ("medals:read",)
    scope_descriptions = {"medals:read": "See your medals"}
    token_endpoint_auth_method = "client_secret_basic"
    manage_url = "https://medals.example/settings/apps"

    def fetch_identity(self, session: Any, token: Any) -> Identity:
        document = session.fetch("GET", self.endpoints().userinfo_endpoint)
        return Identity(str(document["id"]), document.get("email") or "")


class MedalsDialect(Dialect):
    """RFC 6749, but for the words in which it says who somebody is."""

    def identity_fields(self, grant: Any) -> dict[str, Any]:
        return {"id": grant.subject, "email": grant.label}
