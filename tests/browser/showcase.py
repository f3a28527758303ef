"""The example site with every page of ours within reach: what takes a fault or a rare state to come
about has an address of its own here. A strict policy holds everywhere, and each answer says which
view and which templates made it."""

import threading
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import RequestContext, Template
from django.test.signals import template_rendered
from django.test.utils import instrumented_test_render
from django.urls import include, path
from django.utils import timezone

from connected_accounts.decorators import connection_required
from connected_accounts.models import ConnectedAccount, ProviderClient, ProviderState
from connected_accounts.models.deployment import confirm_site
from connected_accounts.owners import SITE_OWNER, owner_key
from connected_accounts.pages.base import failure_page, too_many_page
from connected_accounts.pages.views import ConnectView
from connected_accounts.providers.registry import get_provider
from connected_accounts.use.connection_check import CheckOutcome
from connected_accounts.web.cards import account_card, scope_lines
from connected_accounts.web.check_results import RESULTS
from connected_accounts.web.forms import ConnectForm
from connected_accounts.web.way import Way
from tests.causes import CAUSES

SETTINGS = """
ROOT_URLCONF = "tests.browser.showcase"
MIDDLEWARE = [
    "tests.browser.showcase.observed",
    *MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
]
CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]["OPTIONAL_SCOPES"] = ["rw:backpack", "r:issuer"]
CONNECTED_ACCOUNTS["SITE_ID"] = "https://site.example"
CONNECTED_ACCOUNTS["PROVIDERS"]["mcp"] = {"BACKEND": "connected_accounts.providers.mcp.MCP"}
"""
# A form may lead on to the sandbox, which stands in for the providers.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'{images}; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' {sandbox}"
)
FILL = "from tests.browser.showcase import fill; fill()"
LONG = "A-very-long-name-without-any-place-to-break-it-" * 5
NAMES = (
    LONG,
    "محمد بن موسى الخوارزمي",
    "ada@example.org",
    "名前がとても長い人" * 8,
    "<b>&amp;</b>",
)


def observed(get_response: Any) -> Any:
    Template._render = instrumented_test_render  # type: ignore[attr-defined]

    def answer(request: HttpRequest) -> HttpResponse:
        names: list[str] = []
        here = threading.get_ident()

        def note(template: Template, **kwargs: Any) -> None:
            if threading.get_ident() == here:
                names.append(str(template.name))

        template_rendered.connect(note)
        try:
            response: HttpResponse = get_response(request)
        finally:
            template_rendered.disconnect(note)
        # Django's own style sheets of the admin have small pictures in them.
        images = " data:" if request.path.startswith("/admin/") else ""
        response["Content-Security-Policy"] = POLICY.format(
            images=images, sandbox=settings.SANDBOX_URL
        )
        match = request.resolver_match
        response["X-View"] = match.view_name if match else ""
        response["X-Templates"] = ",".join(dict.fromkeys(names))
        return response

    return answer


def failed(request: HttpRequest, cause: str) -> HttpResponse:
    return failure_page(request, get_provider("badgr"), CAUSES[cause])


def too_many(request: HttpRequest) -> HttpResponse:
    return too_many_page(request, get_provider("badgr"), 30)


def tried(request: HttpRequest, trial: str) -> HttpResponse:
    account = ConnectedAccount.objects.for_user(request.user).earliest("pk")
    context = {
        "card": account_card(account, timezone.now()),
        "result": RESULTS[CheckOutcome(trial)],
    }
    return render(request, "connected_accounts/test.html", context)


def bounced(request: HttpRequest) -> HttpResponse:
    return render(request, "connected_accounts/bounce.html", {"again": "/showcase/onward/"})


def bad(request: HttpRequest) -> HttpResponse:
    wide = '<svg width="2000" height="1"></svg>'
    return HttpResponse(
        f'<html dir="rtl"><p style="color: red">{wide}<img src="/x.png"></p></html>'
    )


def on_the_way(request: HttpRequest, client: str) -> HttpResponse:
    provider = get_provider("mcp")
    way = Way(
        server="mcp.a-very-long-name-without-any-place.example.com/mcp",
        guard="sign-in.a-very-long-name-without-any-place.example.net",
        issuer="https://sign-in.example.net",
        scopes=scope_lines(provider, ["notes:read", "offline_access"]),
        needs_client=client == "entered",
    )
    form = ConnectForm(provider, {"server": "https://mcp.example.com/mcp"})
    form.is_valid()
    return ConnectView().show_way(request, provider, form, way, None)


def wanting_more(request: HttpRequest) -> HttpResponse:
    words = "{% load connected_accounts %}{% permission_button account 'more' %}"
    page = '{% extends "connected_accounts/base.html" %}{% block title %}More{% endblock %}'
    source = f"{page}{{% block content %}}<h1>More</h1>{words}{{% endblock %}}"
    account = ConnectedAccount.objects.filter(provider="mcp")[0]
    return HttpResponse(Template(source).render(RequestContext(request, {"account": account})))


@connection_required("bime", scopes=["write"])
def needing(request: HttpRequest) -> HttpResponse:
    raise AssertionError("bime was not granted this")


def fill() -> None:
    """Besides what the pictures show: fifty accounts with names of all kinds, a site's own account,
    a client that was entered in the admin, and a permission that was not given."""
    now = timezone.now()
    confirm_site()
    bime = ConnectedAccount.objects.filter(provider="bime")
    bime.update(scopes_wanted=["write"], scopes_requested=["write"], scopes_granted=[])
    many = get_user_model().objects.create_user("many", password="many")
    for number in range(50):
        ended = number % 10 == 3
        ConnectedAccount.objects.create(
            user=many,
            owner_key=owner_key(many),
            provider=("badgr", "bitbadges", "bime", "taken-out-of-settings")[number % 4],
            subject=str(number),
            label=NAMES[number % len(NAMES)],
            status="reconnect_required" if ended else "active",
            reason="revoked" if ended else "",
            failure_count=number % 7 == 2,
            scopes_granted=["r:profile", f"{LONG[:120]}", "a", "b", "c"][: number % 6],
            connected_at=now - timedelta(days=number),
            client_id="x",
            endpoint_fingerprint="x",
        )
    ConnectedAccount.objects.create(
        owner_key=SITE_OWNER,
        provider="badgr",
        subject="site",
        connected_at=now,
        client_id="x",
        endpoint_fingerprint="x",
    )
    ConnectedAccount.objects.create(
        user=many,
        owner_key=owner_key(many),
        provider="mcp",
        subject="https://mcp.example.com/mcp",
        label="mcp.example.com/mcp (Notes)",
        connected_at=now,
        client_id="x",
        endpoint_fingerprint="x",
    )
    ProviderClient.objects.create(provider="bits", client_id="entered", created_at=now)
    ProviderState.objects.update_or_create(
        provider="oidc",
        defaults={"paused_until": now + timedelta(hours=1), "pause_reason": "invalid_client"},
    )


urlpatterns = [
    path("showcase/failure/<slug:cause>/", failed),
    path("showcase/too-many/", too_many),
    path("showcase/test/<slug:trial>/", tried),
    path("showcase/way/<slug:client>/", on_the_way),
    path("showcase/more/", wanting_more),
    path("showcase/bounce/", bounced),
    path("showcase/missing/", needing),
    path("showcase/bad/", bad),
    path("", include("example_project.urls")),
]
