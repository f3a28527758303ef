"""Bits: the token endpoint, for a site's own credentials and for a person's.

docs.bits.bi shows the request and the answer. Errors are not documented: their shape here is that
which a public client reads (``message``), their statuses are inferred.
"""

import json

from django.http import HttpRequest, HttpResponse, JsonResponse

from .dialects import BITS
from .oauth import DialectTokenView, DialectValidator
from .translate import replace_form, take_authorization

SESSION = "application.session"
SESSION_CLAIMS = ("application_id", "workflow_id", "redirect_url")


class BitsValidator(DialectValidator):
    dialect = BITS


def refused(message: str, status: int) -> HttpResponse:
    return JsonResponse({"message": message}, status=status)


class BitsTokenView(DialectTokenView):
    """Basic only, split as it is, and client_credentials only."""

    validator_class = BitsValidator
    dialect = BITS

    def answer(self, request: HttpRequest) -> HttpResponse:
        client = take_authorization(request)
        if client is None:
            return refused("Invalid client credentials", 401)
        form = request.POST.dict()
        if form.get("grant_type") != "client_credentials":
            return refused("Unsupported grant type", 400)
        missing = [name for name in SESSION_CLAIMS if not form.get(name)]
        if SESSION in form.get("scope", "").split() and missing:
            return refused(f"Missing claims for {SESSION}: {', '.join(missing)}", 400)
        replace_form(request, form | {"client_id": client[0], "client_secret": client[1]})
        response = self.ask_toolkit(request)
        return worded(response)


def worded(response: HttpResponse) -> HttpResponse:
    """The toolkit's answer in Bits' words."""
    answer = json.loads(response.content)
    if response.status_code == 401:
        return refused("Invalid client credentials", 401)
    if response.status_code != 200:
        return refused(answer.get("error_description") or answer["error"], response.status_code)
    return JsonResponse(
        {
            "type": answer["token_type"],
            "access_token": answer["access_token"],
            "expires_in": answer["expires_in"],
            "scope": answer["scope"],
        },
        headers={"Cache-Control": "no-store"},
    )
