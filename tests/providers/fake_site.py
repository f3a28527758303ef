"""A site that talks to fakes of several dialects through the app's services, without a database."""

from typing import Any, Final
from urllib.parse import urlencode

from connected_accounts.models import Outcome
from connected_accounts.oauth2.pkce import code_challenge
from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Identity, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.testing import FakeProvider
from connected_accounts.tokens.api_session import session_for
from connected_accounts.tokens.document import token_document
from connected_accounts.tokens.endpoint import exchange_code, exchange_refresh_token, revoke_token

SITE: Final = "https://site.example/callback/"
VERIFIER: Final = "v" * 43
ALIASES: Final = ("badgr", "bitbadges", "first", "plain")


class Plain(Provider):
    """A backend of a site's own, with nothing special."""

    authorization_endpoint = "https://plain.example/authorize?kept=1"
    token_endpoint = "https://plain.example/token"
    revocation_endpoint = "https://plain.example/revoke"
    userinfo_endpoint = "https://api.plain.example/me"
    api_base_url = "https://api.plain.example"

    def fetch_identity(self, session: Any, token: TokenResponse) -> Identity:
        person = session.fetch("GET", self.userinfo_endpoint)
        return Identity(person["sub"], person["email"])


def configure(settings: Any) -> None:
    """Two aliases besides those of the tests' settings: a plain one, and BitBadges of 2024."""
    known = settings.CONNECTED_ACCOUNTS["PROVIDERS"]
    client = {"CLIENT_ID": "a client", "CLIENT_SECRET": "s:%/ é"}
    first = {"dialect": "oauth", "api_key": "key"}
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {
            **known,
            "plain": {"BACKEND": f"{__name__}.Plain", "SCOPES": ["one", "two"], **client},
            "first": {**known["bitbadges"], "OPTIONS": first, "SCOPES": ["Read Profile", "Report"]},
        }
    }


class Site:
    """What the app does with one alias, without its database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def provider(self) -> Provider:
        return get_provider(self.alias)

    def url(self, **changes: str | None) -> str:
        """The authorization URL; a parameter that is None is left out."""
        provider = self.provider
        pkce = {"code_challenge": code_challenge(VERIFIER), "code_challenge_method": "S256"}
        params: dict[str, str | None] = {
            "response_type": "code",
            "client_id": provider.config.client_id,
            "redirect_uri": SITE,
            "state": "the-state",
            "scope": provider.scope_separator.join(provider.scopes),
            **(pkce if provider.code_challenge_method else {}),
            **changes,
        }
        address = provider.endpoints().authorization_endpoint
        glue = "&" if "?" in address else "?"
        sent = {name: value for name, value in params.items() if value is not None}
        return f"{address}{glue}{urlencode(sent)}"

    def exchange(self, code: str, **changes: str) -> TokenResponse:
        verifier = VERIFIER if self.provider.code_challenge_method else ""
        sent = {"code": code, "redirect_uri": SITE, "code_verifier": verifier, **changes}
        return exchange_code(self.provider, self.provider.endpoints(), **sent)

    def connect(self, fake: FakeProvider, **person: Any) -> dict[str, Any]:
        """Authorize and exchange; the token document."""
        return token_document(self.exchange(fake.authorize(self.url(), **person)["code"]))

    def refresh(self, document: dict[str, Any]) -> dict[str, Any]:
        endpoints = self.provider.endpoints()
        token = exchange_refresh_token(self.provider, endpoints, document, [])
        return token_document(token, previous=document)

    def revoke(self, document: dict[str, Any]) -> Outcome:
        return revoke_token(self.provider, self.provider.endpoints(), document)

    def session(self, document: dict[str, Any]) -> ProviderSession:
        token = Secret(document["access_token"])
        provider = self.provider
        return session_for(provider, provider.endpoints(), access_token=lambda: token)


def reconfigure(settings: Any, alias: str, **changes: Any) -> None:
    """Change one alias's entry; OPTIONS are added to those that are there."""
    providers = settings.CONNECTED_ACCOUNTS["PROVIDERS"]
    entry = providers[alias]
    options = {**entry.get("OPTIONS", {}), **changes.pop("OPTIONS", {})}
    changed = {**entry, **changes, "OPTIONS": options}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {**providers, alias: changed}}
