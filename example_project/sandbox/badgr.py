"""Badgr: consent page, token and revocation endpoints.

Spelling, statuses and content types as seen on badgr-server 3.14.1 (observed 2026) and in
badgr-ui (2020), where nothing else is said. Kept stricter, so that a site's mistake shows: an old
refresh token ends the whole family, where the real one lets the new pair live, and `r:issuer` is
known, as at the hosted service.
"""

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from oauth2_provider.views import RevokeTokenView

from .consent import ConsentView
from .dialects import BADGR
from .grants import find_access_token, find_refresh_token
from .models import Lockout, Tally
from .oauth import DialectTokenView, DialectValidator
from .translate import basic_into_form

SERVER_ERROR_PAGE = "<h1>Server Error (500)</h1>"


def json_labelled_html(payload: dict[str, Any], status: int) -> HttpResponse:
    """Errors that Badgr writes itself are JSON under Django's default content type."""
    return HttpResponse(json.dumps(payload), status=status)


class BadgrValidator(DialectValidator):
    dialect = BADGR

    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Revoking an access token leaves its refresh token behind, half alive.

        So did the toolkit 1.3.2, which badgr-server 3.14.1 runs; a later refresh then ends in
        a page that says 500. The toolkit of today would revoke both.
        """
        access_token = find_access_token(BADGR, token)
        if access_token is None:
            super().revoke_token(token, token_type_hint, request)
        else:
            Tally.add(BADGR.name, "revocation")
            access_token.revoke()


class BadgrConsentView(ConsentView):
    validator_class = BadgrValidator
    dialect = BADGR

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """One scope that it does not know, and the person stays at Badgr, before an empty word."""
        if set(self.asked_scopes(request.GET)) <= set(BADGR.scopes):
            return super().dispatch(request, *args, **kwargs)
        return JsonResponse({"error": ""}, status=400)

    def word(self, answer: dict[str, list[str]]) -> None:
        """badgr-ui adds the granted scope, and words a refusal in a way of its own."""
        if "code" in answer:
            answer["scope"] = [self.request.GET["scope"]]
        elif answer.get("error") == ["access_denied"]:
            answer |= {
                "error_code": ["200"],
                "error_description": ["Permissions error"],
                "error_reason": ["user_denied"],
            }


def answer_unless_locked(
    request: HttpRequest, answer: Callable[[HttpRequest], HttpResponse]
) -> HttpResponse:
    """An answer of the token endpoint, or that of the lock; nothing of either may be kept."""
    response = answer_or_lock(request, answer) if settings.SANDBOX_THROTTLE else answer(request)  # type: ignore[misc]
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_or_lock(
    request: HttpRequest, answer: Callable[[HttpRequest], HttpResponse]
) -> HttpResponse:
    forwarded = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    address = forwarded or request.META["REMOTE_ADDR"]
    if seconds := Lockout.step_of(address):
        return throttled(seconds)
    response = answer(request)
    if response.status_code == 200:
        Lockout.clear(address)
    else:
        Lockout.lengthen(address)  # whatever it was (seen)
    return response


class BadgrTokenView(DialectTokenView):
    validator_class = BadgrValidator
    dialect = BADGR

    def answer(self, request: HttpRequest) -> HttpResponse:
        return answer_unless_locked(request, self.answer_unthrottled)

    def answer_unthrottled(self, request: HttpRequest) -> HttpResponse:
        if request.GET:
            text = "Token grant parameters must be sent in post body, not query parameters"
            return json_labelled_html({"error": text}, 400)
        by_basic = basic_into_form(request)
        form = request.POST
        if form.get("client_id", BADGR.client_id) != BADGR.client_id:
            return json_labelled_html({"error": "invalid client_id"}, 400)
        if not set(form.get("scope", "").split()) <= set(BADGR.scopes):
            return json_labelled_html({"error": "invalid scope requested"}, 400)
        if form.get("grant_type") not in (
            "authorization_code",
            "refresh_token",
            "client_credentials",
        ):
            # Anything else, a JSON body included, is taken for the password grant.
            text = "Request is missing username parameter."
            return JsonResponse({"error": "invalid_request", "error_description": text}, status=400)
        response = self.ask_toolkit(request)
        return response if response.status_code == 200 else refusal(response, form, by_basic)


def refusal(response: HttpResponse, form: QueryDict, by_basic: bool) -> HttpResponse:
    """The toolkit's refusal in Badgr's words."""
    error = json.loads(response.content).get("error")
    if error == "invalid_client" and "client_id" not in form:
        # Without a client Badgr takes the default one, to which no code belongs.
        return JsonResponse({"error": "invalid_grant"}, status=400)
    if error == "invalid_client" and by_basic:
        return json_labelled_html({"error": "invalid client_secret"}, 400)
    if error == "invalid_client":
        challenge = {"WWW-Authenticate": 'Bearer, error="invalid_client"'}
        return JsonResponse({"error": "invalid_client"}, status=401, headers=challenge)
    if error == "invalid_grant" and has_lost_its_access_token(form.get("refresh_token", "")):
        return HttpResponse(SERVER_ERROR_PAGE, status=500)
    if error == "invalid_grant":
        return JsonResponse({"error": "invalid_grant"}, status=400)
    return response


def has_lost_its_access_token(raw_refresh_token: str) -> bool:
    refresh_token = find_refresh_token(BADGR, raw_refresh_token)
    if refresh_token is None or refresh_token.revoked is not None:
        return False
    return refresh_token.access_token is None


def throttled(seconds: int) -> HttpResponse:
    text = "Too many login attempts. Please wait and try again."
    payload = {"error_description": text, "error": "login attempts throttled", "expires": seconds}
    return json_labelled_html(payload, 429)


class BadgrRevokeView(RevokeTokenView):  # type: ignore[misc]
    """200 with an empty text/html page, whether or not the token was known.

    The real server also takes a wrong secret in the body, or none. This one insists on the
    client: a sandbox that forgives would hide a mistake.
    """

    validator_class = BadgrValidator

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        basic_into_form(request)
        response: HttpResponse = super().post(request, *args, **kwargs)
        if response.status_code == 200:
            return HttpResponse()
        return response
