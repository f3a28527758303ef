"""Bime Analytics, which Zendesk bought in 2015 and has since retired.

This follows its help pages (bime.zendesk.com, articles 219044547 and 224494447; github
nicolas/bime-api, 2013-11-12). Its addresses suggest that it ran on Doorkeeper: that is inferred. It
says of itself that it implements draft-ietf-oauth-v2-05: that is ``dialect``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import (
    ConnectedAccountsError,
    ProviderError,
    UnexpectedResponse,
)
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.endpoints import fill, is_host_entered
from connected_accounts.providers.inputs import ConnectField

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["Bime"]

SITE: Final = "https://{account}.bime.io"
APPLICATIONS: Final = "/oauth/applications"
# Draft 5 names the flow in "type", at both endpoints, where the RFC has a grant_type.
DRAFT5_TYPES: Final = {"authorization_code": "web_server", "refresh_token": "refresh"}
_WORD: Final = re.compile(r"[a-z_]+")


class Bime(Provider):
    """Bime: each customer's account has a host of its own, which the person names."""

    name = "Bime"
    connect_fields = ("account",)
    # After the RFC's, here and below, the words of draft 5 and of the servers of its time.
    dead_grant_errors = (
        "invalid_grant",
        "authorization_expired",
        "bad_authorization_code",
        "bad_verification_code",
    )
    client_errors = (
        "invalid_client",
        "unauthorized_client",
        "invalid_client_credentials",
        "incorrect_client_credentials",
    )
    code_challenge_method = ""
    docs_url = "https://bime.zendesk.com/hc/en-us/articles/219044547-Authentication"
    manage_url = f"{SITE}{APPLICATIONS}"
    own_options: ClassVar[Mapping[str, Any]] = {
        "site_base": SITE,
        "api_base": "https://api.bime.io/v3",
        "dialect": "",
        "token_info": False,
        "accounts_path": "",
    }

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.site = str(self.options["site_base"]).rstrip("/")
        if "manage_url" not in config.options:
            self.manage_url = f"{self.site}{APPLICATIONS}"
        if self.is_draft5:
            self.authorization_params = {**self.authorization_params, "type": "web_server"}
            self.token_response_format = "form"  # a format

    @property
    def is_draft5(self) -> bool:
        return bool(self.options["dialect"] == "draft5")

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        dialect = config.options.get("dialect", "")
        if dialect not in ("", "draft5"):
            yield Problem(
                "E011",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS']['dialect'] is "
                f"{dialect!r}.",
                "Write 'draft5' or '', which is the final RFC.",
            )
        if config.exclusive and not config.options.get("token_info"):
            yield Problem(
                "E015",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}] is EXCLUSIVE, but its accounts "
                "go by the name that a person typed, which is no proof.",
                "Set OPTIONS['token_info'] to True, where the server tells whose a token is; else "
                'remove "EXCLUSIVE".',
            )
        if "{account}" not in str(config.options.get("site_base", SITE)):
            yield Problem(
                "E011",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS']['site_base'] names "
                "no {account}.",
                'Write where an account is, such as "https://{account}.bime.io".',
            )

    def fields_of_host(self) -> tuple[str, ...]:
        return self.connect_fields

    def connect_field(self, name: str) -> ConnectField:
        if name == "account":
            words = _("The first part of its address: acme, if that is acme.bime.io.")
            return ConnectField("account", _("Bime account"), help_text=words)
        return super().connect_field(name)

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        site, api = fill(self.site, inputs), str(self.options["api_base"]).rstrip("/")
        asks_site = self.options["token_info"]
        return Endpoints(
            authorization_endpoint=f"{site}/oauth/authorize",
            token_endpoint=f"{site}/oauth/token",
            userinfo_endpoint=f"{site}/oauth/token/info" if asks_site else f"{api}/dashboards",
            api_base_url=api,
            public_only=is_host_entered(self.site),
        )

    def prepare_token_request(self, data: dict[str, str]) -> dict[str, str]:
        if not self.is_draft5:
            return data
        named = {"type": DRAFT5_TYPES[data["grant_type"]]}
        return named | {name: value for name, value in data.items() if name != "grant_type"}

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        # "More verbose errors than what's given in the spec", and not yet in a field of their own.
        error = payload.get("error")
        word = _WORD.match(str(error or ""))
        return super().classify_error(status, {**payload, "error": word[0] if word else error})

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        account = self.inputs["account"].lower()
        document = session.fetch("GET", self.endpoints().userinfo_endpoint)
        if not isinstance(document, dict):
            raise UnexpectedResponse("no_identity")
        if not self.options["token_info"]:
            # Nothing tells whose the token is; an envelope without an error tells that it works.
            if document.get("error") or not isinstance(document.get("result"), list):
                raise UnexpectedResponse("no_identity")
            return Identity(account, self._label(session, account))
        owner = document.get("resource_owner_id")
        if not isinstance(owner, int | str) or isinstance(owner, bool) or owner == "":
            raise UnexpectedResponse("no_identity")
        # Whether these numbers are unique across accounts is not known.
        return Identity(f"{account}:{owner}", self._label(session, account))

    def _label(self, session: "ProviderSession", account: str) -> str:
        """The account, and the others that the token is good for, where the API lists them: "any of
        the Bime ID's accounts". A list that does not come ends no connection."""
        path = str(self.options["accounts_path"]).strip("/")
        if not path:
            return account
        try:
            document = session.fetch("GET", path)
        except ProviderError:
            return account
        listed = document.get("result") if isinstance(document, dict) else document
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        names = [row.get("subdomain") or row.get("name") for row in rows]
        others = {n.lower(): n for n in names if isinstance(n, str) and n and n.isprintable()}
        return ", ".join([account, *(n for key, n in others.items() if key != account)])
