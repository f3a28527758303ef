"""Bits, which checks who somebody is: connected with API credentials, the site's or a person's.

Requests and answers are those of docs.bits.bi, which shows no errors; what is inferred is said so
on Bits' page of the documentation, and is an option where a site may have to change it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    UnexpectedResponse,
)
from connected_accounts.oauth2.token import value_at
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.inputs import ConnectField

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["Bits"]

SESSION: Final = "application.session"
FOUND_THERE: Final = _("You find it on the Developer page of the Bits Dashboard.")
FIELDS: Final[Mapping[str, ConnectField]] = {
    "client_id": ConnectField("client_id", _("Client id"), "text", FOUND_THERE),
    "client_secret": ConnectField("client_secret", _("Client secret"), "secret", FOUND_THERE),
    # The claims that a token for one application must have.
    "application_id": ConnectField("application_id", _("Application id"), "text"),
    "workflow_id": ConnectField("workflow_id", _("Workflow id"), "text"),
    "redirect_url": ConnectField(
        "redirect_url", _("Redirect URL"), "url", _("Where Bits sends the applicant afterwards.")
    ),
}
CLAIMS: Final = ("application_id", "workflow_id", "redirect_url")
# RFC 6749 5.2: the credentials are not what is wrong.
NOT_THE_CLIENT: Final = (
    "invalid_request",
    "invalid_scope",
    "unsupported_grant_type",
    "temporarily_unavailable",
    "server_error",
)


class Bits(Provider):
    """Bits: client credentials, of the site or of a person."""

    name = "Bits"
    grant_type = "client_credentials"
    default_scopes = ("application",)
    scope_descriptions: Mapping[str, Any] = {
        "application": _("Create applications and read their data"),
        "application.read": _("Read the data of applications"),
        SESSION: _("Carry out the flow of one application, and nothing else"),
    }
    token_endpoint_auth_method = "client_secret_basic"
    basic_auth_encoding = "raw"
    token_request_inputs = CLAIMS
    default_refresh_policy = "on_use"  # a new token costs one request and can be had at any moment
    docs_url = "https://docs.bits.bi"
    own_options: ClassVar[Mapping[str, Any]] = {
        "api_base": "https://api.bits.bi",
        "userinfo_path": "/v1/oauth2/userinfo",
        "subject_path": "customerId",
    }

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        if SESSION in self.scopes:
            self.connect_fields = tuple(dict.fromkeys((*self.connect_fields, *CLAIMS)))

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        if SESSION in config.optional_scopes:
            yield Problem(
                "E011",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]: {SESSION} is optional.",
                "Write it into SCOPES of an alias of its own: it needs three claims, which are "
                "asked for at each connection.",
            )

    def connect_field(self, name: str) -> ConnectField:
        return FIELDS.get(name) or super().connect_field(name)

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        api = self.options["api_base"].rstrip("/")
        return Endpoints(
            token_endpoint=f"{api}/v1/oauth2/token",
            userinfo_endpoint=f"{api}/{self.options['userinfo_path'].lstrip('/')}",
            api_base_url=f"{api}/v1",
        )

    def prepare_token_request(self, data: dict[str, str]) -> dict[str, str]:
        # Bits does not document the parameter: it is sent where the site's settings name scopes.
        default = self.scope_separator.join(self.default_scopes)
        if self.config.scopes is None and data.get("scope") == default:
            return {name: value for name, value in data.items() if name != "scope"}
        return data

    def parse_token_response(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"token_type": payload.get("type"), **payload}

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        if status in (400, 401, 403) and payload.get("error") not in NOT_THE_CLIENT:
            return ClientRejected("invalid_client", status=status)
        return super().classify_error(status, payload)

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        userinfo = self.endpoints().userinfo_endpoint
        try:
            document = session.fetch("GET", userinfo)
        except UnexpectedResponse as error:
            as_documented = userinfo.replace("/v1/oauth2/", "/oauth2/")
            if error.status != 404 or as_documented == userinfo:
                raise
            document = session.fetch("GET", as_documented)
        subject = value_at(document, self.options["subject_path"])
        if subject in (None, ""):
            raise UnexpectedResponse("no_identity")
        # A token for one application is for nothing else, so each application is an account.
        application = self.inputs.get("application_id", "")
        return Identity(f"{subject} {application}" if application else str(subject))
