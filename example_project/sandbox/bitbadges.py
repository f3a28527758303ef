"""BitBadges: rules, consent pages and token endpoints, as they are and as they were.

"Siwbb" is what BitBadges has used since 20 June 2024; "legacy" is what it used in May 2024
(bitbadges-docs and bitbadges-indexer of those dates). Both lead to the same grants.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.utils import timezone
from oauthlib.oauth2.rfc6749 import errors

from .bitbadges_access import api_key_refusal, no_such_document
from .consent import ConsentView
from .dialects import BITBADGES, BITBADGES_LABELS, scope_id
from .grants import Grant, find_refresh_token, refresh_expires_at
from .oauth import GRANT_TYPES, DialectTokenView, DialectValidator
from .people import bech32_address, bitbadges_identity, ethereum_address
from .translate import basic_into_form, read_json_or_form, replace_form, take_authorization


class BitBadgesValidator(DialectValidator):
    dialect = BITBADGES

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        # bitbadges-indexer, July 2024: a redirect URI is looked at if one is sent.
        if request.redirect_uri and request.redirect_uri not in client.redirect_uris.split():
            raise errors.MismatchingRedirectURIError(request=request)
        if not super().validate_refresh_token(refresh_token, client, request):
            return False
        expires_at = refresh_expires_at(BITBADGES, request.refresh_token_instance)
        return expires_at is not None and timezone.now() < expires_at


class SiwbbConsentView(ConsentView):
    validator_class = BitBadgesValidator
    dialect = BITBADGES
    lets_choose = True

    def asked_scopes(self, query: QueryDict) -> list[str]:
        """Split at commas only: the labels of 2024 have spaces inside."""
        return [scope_id(item) for item in query.get("scope", "").split(",") if item.strip()]


class Cause(Enum):
    """Why the toolkit said no, as finely as BitBadges tells it apart."""

    GRANT_TYPE = auto()
    UNKNOWN_CLIENT = auto()
    WRONG_SECRET = auto()
    REDIRECT_URI = auto()
    UNKNOWN_CODE = auto()
    EXPIRED_CODE = auto()
    UNKNOWN_REFRESH_TOKEN = auto()
    EXPIRED_REFRESH_TOKEN = auto()
    OTHER = auto()


def find_cause(response: HttpResponse, form: QueryDict) -> Cause:
    answer = json.loads(response.content)
    error, description = answer.get("error"), answer.get("error_description", "")
    if error == "invalid_client":
        known = form.get("client_id") == BITBADGES.client_id
        return Cause.WRONG_SECRET if known else Cause.UNKNOWN_CLIENT
    if "redirect" in description.lower():
        return Cause.REDIRECT_URI
    if error == "invalid_grant" and form.get("grant_type") == "authorization_code":
        grant = Grant.objects.filter(code=form.get("code")).first()
        return Cause.EXPIRED_CODE if grant and grant.is_expired() else Cause.UNKNOWN_CODE
    if error == "invalid_grant":
        token = find_refresh_token(BITBADGES, form.get("refresh_token", ""))
        alive = token is not None and token.revoked is None
        return Cause.EXPIRED_REFRESH_TOKEN if alive else Cause.UNKNOWN_REFRESH_TOKEN
    return Cause.OTHER


@dataclass(frozen=True)
class Issued:
    """What the toolkit gave out, with the times that BitBadges tells and the toolkit does not."""

    access_token: str
    access_token_expires_at: int
    refresh_token: str
    refresh_token_expires_at: int
    scopes: list[str]
    user: AbstractUser


def read_issued(response: HttpResponse) -> Issued:
    answer = json.loads(response.content)
    row: Any = find_refresh_token(BITBADGES, answer["refresh_token"])
    return Issued(
        access_token=answer["access_token"],
        access_token_expires_at=milliseconds(row.access_token.expires),
        refresh_token=answer["refresh_token"],
        refresh_token_expires_at=milliseconds(refresh_expires_at(BITBADGES, row)),
        scopes=answer["scope"].split(),
        user=row.user,
    )


def milliseconds(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment else 0


class SiwbbTokenView(DialectTokenView):
    """JSON or form in; the client in the body or by Basic; every failure a 500."""

    validator_class = BitBadgesValidator
    dialect = BITBADGES
    takes_basic = True

    def answer(self, request: HttpRequest) -> HttpResponse:
        if (refused := api_key_refusal(request)) is not None:
            return refused
        fields = read_json_or_form(request)
        if fields is None or not fields.get("grant_type"):
            text = "Invalid request payload. [grant_type: expected a string]"
            return JsonResponse({"errorMessage": text}, status=400)
        replace_form(request, fields)
        if self.takes_basic:
            basic_into_form(request)
        else:
            take_authorization(request)
        if fields["grant_type"] not in GRANT_TYPES:
            return self.failure(Cause.GRANT_TYPE, request.POST)
        response = self.ask_toolkit(request)
        if response.status_code != 200:
            return self.failure(find_cause(response, request.POST), request.POST)
        return JsonResponse(self.success(read_issued(response)))

    def success(self, issued: Issued) -> dict[str, Any]:
        return {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            # The SDK's type allows a number and a decimal string: here is one of each.
            "access_token_expires_at": issued.access_token_expires_at,
            "refresh_token": issued.refresh_token,
            "refresh_token_expires_at": str(issued.refresh_token_expires_at),
            **bitbadges_identity(issued.user),
            "verificationResponse": {"success": True},
        }

    def failure(self, cause: Cause, form: QueryDict) -> HttpResponse:
        message = {
            Cause.GRANT_TYPE: "Invalid grant type.",
            Cause.UNKNOWN_CLIENT: "Invalid client ID or redirect URI.",
            Cause.WRONG_SECRET: "Invalid client secret.",
            Cause.REDIRECT_URI: "Invalid redirect URI.",
            Cause.UNKNOWN_CODE: "Invalid code.",
            Cause.EXPIRED_CODE: "Expired.",
            Cause.UNKNOWN_REFRESH_TOKEN: "Invalid refresh token.",
            Cause.EXPIRED_REFRESH_TOKEN: "Refresh token expired.",
            Cause.OTHER: "Invalid request.",
        }[cause]
        return JsonResponse({"errorMessage": message}, status=500)


class LegacyTokenView(SiwbbTokenView):
    """May 2024: names in camel case, scopes by their labels, errors 400 in prose."""

    takes_basic = False

    def success(self, issued: Issued) -> dict[str, Any]:
        return {
            "_docId": issued.access_token,
            "accessToken": issued.access_token,
            "tokenType": "bearer",
            "accessTokenExpiresAt": issued.access_token_expires_at,
            "refreshToken": issued.refresh_token,
            "refreshTokenExpiresAt": issued.refresh_token_expires_at,
            "cosmosAddress": bech32_address("cosmos", issued.user),
            "address": ethereum_address(issued.user),
            "clientId": BITBADGES.client_id,
            "scopes": [label for label in BITBADGES_LABELS if scope_id(label) in issued.scopes],
        }

    def failure(self, cause: Cause, form: QueryDict) -> HttpResponse:
        if cause is Cause.UNKNOWN_CLIENT:
            return no_such_document(form.get("client_id", ""))
        if cause is Cause.UNKNOWN_CODE:
            return no_such_document("the code")
        message = {
            Cause.GRANT_TYPE: "Unsupported grant type",
            Cause.WRONG_SECRET: "Invalid client credentials",
            Cause.REDIRECT_URI: "Invalid redirect URI",
            Cause.EXPIRED_CODE: "Authorization code has expired",
            Cause.UNKNOWN_REFRESH_TOKEN: "Invalid refresh token",
            Cause.EXPIRED_REFRESH_TOKEN: "Token has expired",
            Cause.OTHER: "Invalid request",
        }[cause]
        return JsonResponse({"error": message}, status=400)
