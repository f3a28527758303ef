"""BitBadges' API: sign-in status, revocation, and one call that needs a scope."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from oauth2_provider.models import revoke_access_token
from oauth2_provider.views.mixins import OAuthLibMixin

from .bitbadges import BitBadgesValidator
from .bitbadges_access import api_key_refusal, no_such_document
from .dialects import BITBADGES
from .grants import checksum, find_access_token
from .models import Tally
from .people import bitbadges_identity, digest
from .translate import read_json_or_form


@csrf_exempt
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """Kill a grant by its access token. No client is asked for.

    bitbadges-indexer, July 2024: looked up by the hash of the access token only, whatever the
    documentation says about refresh tokens, and a dead one is a document not found.
    """
    if (refused := api_key_refusal(request)) is not None:
        return refused
    fields = read_json_or_form(request) or {}
    token = fields.get("token", "")
    with transaction.atomic():
        access_token = find_access_token(BITBADGES, token)
        if access_token is None:
            return no_such_document(checksum(token))
        revoke_access_token(access_token)
        Tally.add(BITBADGES.name, "revocation")
    return JsonResponse({"message": "Token revoked"})


@method_decorator(csrf_exempt, name="dispatch")
class BitBadgesResource(OAuthLibMixin, View):  # type: ignore[misc]
    validator_class = BitBadgesValidator

    def find_bearer(self, request: HttpRequest) -> Any | None:
        """The person and scopes behind the access token, while it lives."""
        signed_in, oauth_request = self.verify_request(request)
        return oauth_request if signed_in else None


class StatusView(BitBadgesResource):
    """A dead token is no error here: 200 and `signedIn` false (bitbadges-docs, access tokens)."""

    def post(self, request: HttpRequest) -> HttpResponse:
        if (refused := api_key_refusal(request)) is not None:
            return refused
        bearer = self.find_bearer(request)
        if bearer is None:
            return JsonResponse({"signedIn": False, "message": "Not signed in.", "scopes": []})
        scopes = [{"scopeName": name, "scopeId": name} for name in bearer.scopes]
        identity = bitbadges_identity(bearer.user)
        said = {"signedIn": True, "message": "Successfully signed in.", "scopes": scopes}
        return JsonResponse(said | identity)


class CompleteClaimView(BitBadgesResource):
    """Completes nothing; there to see a call go through, or be refused."""

    def post(self, request: HttpRequest, claim_id: str, address: str) -> HttpResponse:
        if (refused := api_key_refusal(request)) is not None:
            return refused
        bearer = self.find_bearer(request)
        if bearer is None or "completeClaims" not in bearer.scopes:
            text = "Unauthorized. You must be signed in with the correct scopes to do this."
            return JsonResponse({"errorMessage": text, "unauthorized": True}, status=401)
        return JsonResponse({"claimAttemptId": digest(f"claim {claim_id}", bearer.user).hex()})
