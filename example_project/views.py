"""The example's own pages: what is connected, and a call to a provider's API."""

import json
from dataclasses import dataclass, field
from typing import Any

import requests
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache

from connected_accounts.exceptions import ConnectedAccountsError, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.registry import get_provider, get_providers
from connected_accounts.services import get_session

# A call that each provider's API answers without further ado.
CALLS = {
    "badgr": ("GET", "v2/backpack/assertions"),
    "bitbadges": ("POST", "auth/status"),
    "bits": ("GET", "applications"),
    "bime": ("GET", "dashboards"),
    "bime-token": ("GET", "dashboards"),
    "badges": ("GET", "profile"),
    "oidc": ("GET", "userinfo/"),
    "mcp": ("POST", "tools/call"),
}
# The call of a tool is a message to the server itself.
TOOL_CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "badges", "arguments": {}},
}
MAX_SHOWN = 20_000  # characters
MAX_BADGES = 10


@dataclass
class Answer:
    """What a provider's API said. ``problem`` is empty, ``reconnect`` or ``unavailable``."""

    problem: str = ""
    status: int = 0
    document: Any = None
    badges: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return json.dumps(self.document, indent=2, ensure_ascii=False)[:MAX_SHOWN]


@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """A Connect button for each provider, and below it what is connected there."""
    accounts = list(ConnectedAccount.objects.for_user(request.user).order_by("connected_at"))
    services = [
        {"provider": provider, "accounts": [a for a in accounts if a.provider == provider.alias]}
        for provider in get_providers()
    ]
    return render(request, "example_project/home.html", {"services": services})


@never_cache
@login_required
def account(request: HttpRequest, pk: int) -> HttpResponse:
    """Calls the provider's API for one of this person's accounts and shows what came back. Staff
    may look at what the site's own accounts give."""
    own = ConnectedAccount.objects.for_user(request.user)
    if request.user.has_perm("connected_accounts.view_connectedaccount"):
        own |= ConnectedAccount.objects.for_user(None)
    row = get_object_or_404(own, pk=pk, provider__in=CALLS)
    method, path = CALLS[row.provider]
    answer = ask(row, method, path)
    context = {
        "account": row,
        "provider": get_provider(row.provider),
        "call": f"{method} {path}",
        "answer": answer,
    }
    return render(request, "example_project/account.html", context)


def ask(account: ConnectedAccount, method: str, path: str) -> Answer:
    """Call the API. The session brings the access token, and renews it where it has to."""
    try:
        if account.provider == "mcp":
            headers = {"Accept": "application/json, text/event-stream"}
            server = account.inputs["server"]
            response = get_session(account).post(server, json=TOOL_CALL, headers=headers)
        else:
            response = get_session(account).request(method, path)
    except ReauthorizationRequired:
        return Answer(problem="reconnect")
    except (ConnectedAccountsError, requests.RequestException):
        return Answer(problem="unavailable")
    try:
        document = response.json()
    except requests.JSONDecodeError:
        document = None
    listed = document.get("result") if isinstance(document, dict) else None
    badges = listed if account.provider == "badgr" and isinstance(listed, list) else []
    shown = [
        with_public(account, badge) for badge in badges[:MAX_BADGES] if isinstance(badge, dict)
    ]
    return Answer(status=response.status_code, document=document, badges=shown)


def with_public(account: ConnectedAccount, badge: dict[str, Any]) -> dict[str, Any]:
    """An assertion with its badge's name and picture and its issuer's name, which Badgr keeps at
    public addresses: an assertion itself has only those."""
    about = public(account, badge.get("badgeclassOpenBadgeId"))
    issuer = public(account, badge.get("issuerOpenBadgeId"))
    return badge | {"name": about.get("name"), "issued_by": issuer.get("name")}


def public(account: ConnectedAccount, url: Any) -> dict[str, Any]:
    api = get_provider(account.provider).endpoints().api_base_url
    if not (isinstance(url, str) and url.startswith(f"{api}/")):
        return {}  # at another host, which is not sent a token
    try:
        document = get_session(account).get(url).json()
    except (ConnectedAccountsError, requests.RequestException):
        return {}
    return document if isinstance(document, dict) else {}
