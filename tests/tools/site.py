"""The site's URLs, and its faults: a page that breaks behind ours, a receiver, a full database."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from connected_accounts import services, signals, tasks
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount


class Faults:
    """A middleware of the site. ``X-Fault`` of a request names what breaks."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        fault = request.headers.get("X-Fault", "")
        if fault != "database":
            response = self.get_response(request)
            if fault == "middleware":
                raise RuntimeError("a fault of the site's middleware")
            return response

        def full(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith(("INSERT", "UPDATE")) and "connected_accounts" in sql:
                raise DatabaseError("the disk is full")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(full):
            return self.get_response(request)


def broken_receiver(sender: Any, account: ConnectedAccount, **kwargs: Any) -> None:
    if account.provider == "bits":
        raise RuntimeError("a fault of the site's receiver")


signals.account_connected.connect(broken_receiver)


def use(request: HttpRequest) -> HttpResponse:
    """Refresh each account and call its API, as a view of the site would."""
    for account in ConnectedAccount.objects.with_token():
        try:
            services.refresh(account)
            services.get_session(account).get("data")
            account.save()
        except ConnectedAccountsError as error:
            return HttpResponse(error.code, status=502)
    return HttpResponse("used")


def withdraw(request: HttpRequest) -> HttpResponse:
    tasks.revoke_pending_tokens.apply().get()
    return HttpResponse("withdrawn")


def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


urlpatterns: list[Any] = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(template_name="login.html")),
    path("connections/", include("connected_accounts.urls")),
    path("api/connections/", include("connected_accounts.api.urls")),
    path("use/", use),
    path("withdraw/", withdraw),
    path("ready/", ready),
]
if settings.TOOL == "debug-toolbar":
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
if settings.TOOL == "silk":
    urlpatterns.append(path("silk/", include("silk.urls")))
