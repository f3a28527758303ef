"""BitBadges, "Sign In with BitBadges" (siwbb), and its first OAuth endpoints by option.

Sources: the BitBadges documentation and OpenAPI document (2026-06), the public API server up to
2024-07-02, and the tutorial of May 2024 for ``dialect="oauth"``.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.utils.translation import gettext_lazy as _

from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.providers.base import Endpoints, Identity, Provider

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["BitBadges"]

ADDRESS_KEYS: Final = ("bitbadgesAddress", "cosmosAddress", "address")
# Every failure is a 500 (or, in the first dialect, a 400) whose text alone tells what happened.
_CLIENT = re.compile(
    r"client (secret|credentials|id)|redirect uri|api key|insufficient credits", re.IGNORECASE
)
_EXPIRED = re.compile(r"refresh token expired|token has expired", re.IGNORECASE)
_DEAD = re.compile(
    r"invalid refresh token|invalid code|not recent enough|code has expired|^expired\.?$",
    re.IGNORECASE,
)


# Of bitbadgespy-sdk 0.1.88.
SCOPES: Final[Mapping[str, Any]] = {
    "readProfile": _("See your profile"),
    "completeClaims": _("Complete claims for you"),
    "manageClaims": _("Manage your claims"),
    "readPrivateClaimData": _("See private data of your claims"),
    "readClaimAlerts": _("Read your claim alerts"),
    "sendClaimAlerts": _("Send claim alerts for you"),
    "readAddressLists": _("See your private address lists"),
    "manageAddressLists": _("Create, change and delete your address lists"),
    "manageApplications": _("Manage your applications"),
    "manageDeveloperApps": _("Manage your developer apps"),
    "manageDynamicStores": _("Manage your dynamic stores"),
    "manageUtilityPages": _("Manage your utility pages"),
    "manageOffChainBalances": _("Manage your off-chain balances"),
    "approveSignInWithBitBadgesRequests": _("Approve sign-in requests for you"),
    "readAuthenticationCodes": _("See your authentication codes"),
    "deleteAuthenticationCodes": _("Delete your authentication codes"),
    "report": _("Report content for you"),
    "embeddedWallet": _(
        "ATTENTION: sign transactions for you without asking again. Whoever may do that can give "
        "away all that is in your wallet"
    ),
}
# Of the server in June 2024; "Full Access", which it had too, it refused.
LABELS: Final[Mapping[str, Any]] = {
    "Read Profile": SCOPES["readProfile"],
    "Complete Claims": SCOPES["completeClaims"],
    "Read Private Claim Data": SCOPES["readPrivateClaimData"],
    "Read Claim Alerts": SCOPES["readClaimAlerts"],
    "Send Claim Alerts": SCOPES["sendClaimAlerts"],
    "Read Address Lists": SCOPES["readAddressLists"],
    "Create Address Lists": _("Create address lists"),
    "Update Address Lists": _("Change your address lists"),
    "Delete Address Lists": _("Delete your address lists"),
    "Read Attestations": _("See your attestations"),
    "Create Attestations": _("Create attestations for you"),
    "Update Attestations": _("Change your attestations"),
    "Delete Attestations": _("Delete your attestations"),
    "Approve Sign In with BitBadges Requests": SCOPES["approveSignInWithBitBadgesRequests"],
    "Read Authentication Codes": SCOPES["readAuthenticationCodes"],
    "Delete Authentication Codes": SCOPES["deleteAuthenticationCodes"],
    "Manage Off-Chain Balances": SCOPES["manageOffChainBalances"],
    "Reviews": _("Write, change and delete reviews for you"),
    "Report": SCOPES["report"],
}


class BitBadges(Provider):
    """BitBadges, in the dialect of today or, by the option ``dialect``, an older one."""

    name = "BitBadges"
    default_scopes = ("readProfile",)
    scope_separator = ","  # the first dialect's labels contain spaces
    scope_descriptions: Mapping[str, Any] = {**SCOPES, **LABELS}
    token_request_format = "json"
    # "Only needed if redirected", the documentation says; it shows it on refresh, so it is sent.
    refresh_request_fields = ("redirect_uri",)
    revocation_request_format = "json"
    revocation_auth_method = "bare"
    # The server finds a grant by its access token only; revoking that ends both.
    revoke_token_type_hint = "access_token"
    revokes_whole_authorization = True  # so its documentation says
    already_revoked_text = "could not find"
    identity_source = "token_response"
    status_method = "POST"
    status_field = "signedIn"
    code_challenge_method = ""  # not a documented URL parameter: an option
    docs_url = "https://docs.bitbadges.io"
    manage_url = "https://bitbadges.io/connections"
    own_options: ClassVar[Mapping[str, Any]] = {
        "dialect": "siwbb",
        "api_key": "",
        "ui_base": "https://bitbadges.io",
        "api_base": "https://api.bitbadges.io/api/v0",
    }

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        if config.options.get("dialect", "siwbb") not in ("siwbb", "oauth"):
            yield Problem(
                "E011",
                f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS']['dialect'] is "
                "unknown.",
                'Write "siwbb" (today\'s endpoints) or "oauth" (those of May 2024).',
            )

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        ui, api = self.options["ui_base"].rstrip("/"), self.options["api_base"].rstrip("/")
        today = self.options["dialect"] == "siwbb"
        path = "siwbb" if today else "oauth"
        return Endpoints(
            authorization_endpoint=f"{ui}/siwbb/authorize" if today else f"{ui}/oauth",
            token_endpoint=f"{api}/{path}/token",
            revocation_endpoint=f"{api}/{path}/token/revoke",
            userinfo_endpoint=f"{api}/auth/status",
            api_base_url=api,
        )

    def request_headers(self) -> dict[str, str]:
        key = self.options["api_key"]
        return {"x-api-key": key} if key else {}

    def parse_token_response(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if _text(payload, "access_token", "accessToken") in _addresses(payload):
            # Without scopes the server of 2024 gave the public address for a token: no credential.
            raise UnexpectedResponse("token_is_the_public_address")
        return {
            **payload,
            "access_token": _text(payload, "access_token", "accessToken"),
            "refresh_token": _text(payload, "refresh_token", "refreshToken"),
            "token_type": _text(payload, "token_type", "tokenType") or "Bearer",
            "expires_in": _life(payload, "access_token", "accessToken"),
            "refresh_token_expires_in": _life(payload, "refresh_token", "refreshToken"),
            "scope": payload.get("scope") or _scopes(payload.get("scopes")),
        }

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        if status == 429:  # first: its text may speak of the API key
            return ProviderUnavailable("status_429", status=status)
        text = _text(payload, "errorMessage", "error") or ""
        if status == 402 or _CLIENT.search(text):
            return ClientRejected("client_rejected", status=status)
        if _EXPIRED.search(text):
            return ReauthorizationRequired("refresh_token_expired")
        if _DEAD.search(text):
            return ReauthorizationRequired("revoked")
        if status >= 500:
            return ProviderUnavailable(f"status_{status}", status=status)
        if _is_unverified(payload.get("verificationResponse")):
            return UnexpectedResponse("verification_failed", status=status)
        return super().classify_error(status, {**payload, "error": text})

    def fetch_identity(self, session: "ProviderSession | None", token: "TokenResponse") -> Identity:
        if session is not None and _is_unverified(token.raw.get("verificationResponse")):
            # On a refresh the new pair is kept all the same: the old one is spent.
            raise UnexpectedResponse("verification_failed")
        # A refresh's answer (no session) that names the account in another spelling only is no sign
        # of another account: 0x… and bb1… may be the same.
        for key in ADDRESS_KEYS if session is not None else ADDRESS_KEYS[:1]:
            address = token.raw.get(key)
            if isinstance(address, str) and address:
                others = frozenset(_addresses(token.raw))
                # Where no scope was asked for the person chose, and the token answer of today does
                # not tell what.
                scopes = None if session is None or token.scope else self._chosen_scopes(session)
                return Identity(address, address, others, scopes)
        raise UnexpectedResponse("no_identity")

    def _chosen_scopes(self, session: "ProviderSession") -> tuple[str, ...] | None:
        """The scopes that the person allowed, by ``auth/status``; None where it does not answer."""
        try:
            status = session.fetch("POST", self.endpoints().userinfo_endpoint, json={})
        except ProviderError:
            return None
        listed = _scopes(status.get("scopes")) if isinstance(status, dict) else None
        return None if listed is None else tuple(listed)


def _is_unverified(verification: Any) -> bool:
    """Whether the answer says itself that what it was asked to check does not hold."""
    return isinstance(verification, dict) and verification.get("success") is False


def _text(payload: Mapping[str, Any], *keys: str) -> str | None:
    found = (payload.get(key) for key in keys)
    return next((value for value in found if isinstance(value, str) and value), None)


def _addresses(payload: Mapping[str, Any]) -> set[Any]:
    return {value for key in ADDRESS_KEYS if isinstance(value := payload.get(key), str) and value}


def _life(payload: Mapping[str, Any], snake: str, camel: str) -> Any:
    """Seconds until a moment given in milliseconds since 1970, as a number or a decimal string."""
    moment = payload.get(f"{snake}_expires_at", payload.get(f"{camel}ExpiresAt"))
    try:
        return float(moment) / 1000 - time.time()
    except (TypeError, ValueError, OverflowError):
        return payload.get("expires_in") if snake == "access_token" else None


def _scopes(value: Any) -> list[str] | None:
    """Scopes as the answer lists them: labels, or objects with a ``scopeName``."""
    if not isinstance(value, list):
        return None
    names = [item.get("scopeName") if isinstance(item, dict) else item for item in value]
    return [name for name in names if isinstance(name, str)] or None
