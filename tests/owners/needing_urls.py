"""The example site, with views of every kind that need a connection."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views import View

from connected_accounts.decorators import ConnectionRequiredMixin, connection_required
from example_project.urls import urlpatterns as of_the_site

SCOPE = "rw:backpack"


@connection_required("badgr", scopes=[SCOPE])
def function(request: HttpRequest) -> HttpResponse:
    return _told(request)


@connection_required("badgr", scopes=[SCOPE])
async def coroutine(request: HttpRequest) -> HttpResponse:
    return _told(request)


class Needing(ConnectionRequiredMixin, View):
    connection_provider = "badgr"
    connection_scopes = (SCOPE,)

    def get(self, request: HttpRequest) -> HttpResponse:
        return _told(request)

    post = get


class NeedingAsync(ConnectionRequiredMixin, View):
    connection_provider = "badgr"
    connection_scopes = (SCOPE,)

    async def get(self, request: HttpRequest) -> HttpResponse:
        return _told(request)

    post = get


def _told(request: Any) -> HttpResponse:
    return HttpResponse(request.connected_account.subject)


urlpatterns = [
    path("needs/function/", function),
    path("needs/coroutine/", coroutine),
    path("needs/class/", Needing.as_view()),
    path("needs/async-class/", NeedingAsync.as_view()),
    *of_the_site,
]
