"""GitHub's OAuth apps, as docs.github.com describes them (2026); nothing here was seen.

A token does not end, and comes without a refresh token. Scopes are parted by commas in the answer.
A refusal has the status 200, and words of its own.
"""

import json
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .consent import ConsentView
from .dialects import GITHUB
from .oauth import DialectTokenView, DialectValidator
from .people import digest

REFUSALS = {
    "invalid_client": "incorrect_client_credentials",
    "invalid_grant": "bad_verification_code",
}


class GithubValidator(DialectValidator):
    dialect = GITHUB


class GithubConsentView(ConsentView):
    validator_class = GithubValidator
    dialect = GITHUB


class GithubTokenView(DialectTokenView):
    validator_class = GithubValidator
    dialect = GITHUB

    def answer(self, request: HttpRequest) -> HttpResponse:
        form = request.POST.copy()
        form["grant_type"] = "authorization_code"  # no other is known, and none need be named
        request.POST = form  # type: ignore[assignment]
        given = json.loads(self.ask_toolkit(request).content)
        if "access_token" in given:
            scope = ",".join(given["scope"].split())
            fields = {"access_token": given["access_token"], "scope": scope, "token_type": "bearer"}
        else:
            fields = {"error": REFUSALS.get(given["error"], given["error"])}
        if "json" in request.headers.get("Accept", ""):
            return JsonResponse(fields)
        return HttpResponse(urlencode(fields), content_type="application/x-www-form-urlencoded")


class UserView(OAuthLibMixin, View):  # type: ignore[misc]
    """``api.github.com/user``."""

    validator_class = GithubValidator

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return JsonResponse({"message": "Bad credentials", "status": "401"}, status=401)
        person = oauth_request.user
        number = int.from_bytes(digest("github", person)[:3], "big")
        return JsonResponse(
            {
                "login": person.get_username(),
                "id": number,
                "type": "User",
                "name": person.get_full_name(),
                "email": None,
            }
        )
