"""Views that need a connection, and what they do with it."""

from typing import Any

import httpx
import httpx2
import requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View

from connected_accounts.contrib.drf import HasConnection
from connected_accounts.contrib.httpx import ConnectedAccountAuth
from connected_accounts.contrib.httpx2 import ConnectedAccountAuth as AuthOfHttpx2
from connected_accounts.decorators import (
    ConnectedRequest,
    ConnectionRequiredMixin,
    connection_required,
)
from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    InsufficientScope,
    InvalidState,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.services import get_session


@connection_required("medals", scopes=["medals:read"])
def badges(request: ConnectedRequest) -> HttpResponse:
    account: ConnectedAccount = request.connected_account
    session: ProviderSession = get_session(account)
    plain: requests.Session = session
    try:
        answer: requests.Response = plain.get("v2/backpack/assertions")
    except ReauthorizationRequired as error:
        return HttpResponse(error.message, status=403)
    except ProviderUnavailable as error:
        wait: float | None = error.retry_after
        return HttpResponse(f"{error.code} {wait} {error.sent} {error.status}", status=503)
    return JsonResponse(answer.json())


@connection_required("medals")
async def badges_later(request: ConnectedRequest) -> HttpResponse:
    async with httpx.AsyncClient(auth=ConnectedAccountAuth(request.connected_account)) as client:
        answer = await client.get("https://api.medals.example/me")
    return HttpResponse(answer.text)


@connection_required("servers")
async def tools(request: ConnectedRequest) -> HttpResponse:
    async with httpx2.AsyncClient(auth=AuthOfHttpx2(request.connected_account)) as client:
        answer = await client.post(request.connected_account.inputs["server"])
    return HttpResponse(answer.text)


class Badges(ConnectionRequiredMixin, View):
    connection_provider = "medals"
    connection_scopes = ("medals:read",)

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("badges")


class BadgesPermission(HasConnection):
    connection_provider = "medals"


def explain(error: ConnectedAccountsError) -> str:
    """What to tell the person; every error of the package ends here."""
    match error:
        case AuthorizationDenied() | InvalidState():
            return "Please connect again."
        case InsufficientScope():
            return f"Please give more: {' '.join(error.scopes)}"
        case ConfigurationError() | ClientRejected() | Undecryptable():
            return "We have to mend something."
        case ProviderError() | UnexpectedResponse():
            return f"It does not answer: {error.message}"
        case _:
            return error.code


def listed(user: Any) -> list[str]:
    accounts = ConnectedAccount.objects.for_user(user).at("medals").active()
    accounts = accounts.order_by("-connected_at")
    newest: ConnectedAccount | None = accounts.first()
    names: list[str] = [account.label for account in accounts]
    return names if newest is None else [newest.label, *names]
