"""Two answers that all of BitBadges' API has in common."""

import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse


def api_key_refusal(request: HttpRequest) -> HttpResponse | None:
    """The answer to a call without the x-api-key that the sandbox was told to demand."""
    wanted: str = settings.SANDBOX_API_KEY  # type: ignore[misc]
    given = request.headers.get("x-api-key", "")
    if not wanted or secrets.compare_digest(given.encode(), wanted.encode()):
        return None
    text = "Unauthorized request. Error validating API key."
    return JsonResponse({"errorMessage": text}, status=401)


def no_such_document(document_id: str) -> HttpResponse:
    text = f"Error in mustGetFromDB(): Could not find doc w/ id {document_id}"
    return JsonResponse({"errorMessage": text}, status=500)
