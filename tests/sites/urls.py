"""The URLs of the small site."""

from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.views.generic import TemplateView

from connected_accounts.admin.accounts import ConnectedAccountAdmin
from connected_accounts.admin.records import EventAdmin, ProviderStateAdmin, RevocationAdmin
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Revocation
from connected_accounts.services import aget_access_token, get_session


def use(request: HttpRequest) -> JsonResponse:
    """What the service says of the person, by a token that works now."""
    account = ConnectedAccount.objects.for_user(request.user).get()
    try:
        return JsonResponse(get_session(account).get("user").json())
    except ConnectedAccountsError as error:
        return JsonResponse({"error": error.code})


async def use_asynchronously(request: HttpRequest) -> JsonResponse:
    account = await ConnectedAccount.objects.for_user(await request.auser()).aget()
    return JsonResponse({"token": bool(await aget_access_token(account))})


admins = []
if settings.IS == "two_admins":
    staff = admin.AdminSite(name="staff")
    staff.register(ConnectedAccount, ConnectedAccountAdmin)
    staff.register(Event, EventAdmin)
    staff.register(ProviderState, ProviderStateAdmin)
    staff.register(Revocation, RevocationAdmin)
    for model in (ConnectedAccount, Event, ProviderState, Revocation):
        admin.site.unregister(model)
    admins.append(path("staff/", staff.urls))

pages = path("connections/", include("connected_accounts.urls"))
urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html"), name="home"),
    path("login/", LoginView.as_view(template_name="admin/login.html"), name="login"),
    path("use/", use),
    path("use-asynchronously/", use_asynchronously),
    *admins,
    path("admin/", admin.site.urls),
    *(i18n_patterns(pages) if settings.IS == "in_languages" else [pages]),
]
