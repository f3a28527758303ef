"""The pages on which staff connect an account that belongs to the site itself.

The same flow as a user's, with the same checks; the callback is the users', so that one redirect
URI is registered at the provider.
"""

from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from connected_accounts.clients.credentials import connectable
from connected_accounts.connect.authorization import start_authorization
from connected_accounts.exceptions import ConfigurationError, ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.state import new_secret
from connected_accounts.owners import CONNECT_THE_SITE, SITE_OWNER
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider, get_providers
from connected_accounts.web import browser, throttle
from connected_accounts.web.cards import scope_lines
from connected_accounts.web.failures import TOO_MANY, failure_for
from connected_accounts.web.forms import ConnectForm

LIST: Final = "admin:connected_accounts_connectedaccount_changelist"
TEMPLATE: Final = "admin/connected_accounts/connectedaccount/connect.html"


def connect_site(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Choose a provider, then connect an account of the site there."""
    _check_permission(request)
    alias = request.POST.get("provider") or request.GET.get("provider")
    if not alias:
        return _page(request, context | {"providers": connectable(get_providers())})
    return _connect(request, context, _find_provider(alias), None)


def reconnect_site(request: HttpRequest, context: dict[str, Any], pk: str) -> HttpResponse:
    """Connect an account of the site again; a user's is theirs to connect."""
    _check_permission(request)
    own = ConnectedAccount.objects.filter(owner_key=SITE_OWNER)
    account = own.filter(pk=pk).first() if pk.isdecimal() else None
    if account is None:
        raise Http404
    return _connect(request, context, _find_provider(account.provider), account)


def _check_permission(request: HttpRequest) -> None:
    if not request.user.has_perm(CONNECT_THE_SITE):
        raise PermissionDenied


def _find_provider(alias: str) -> Provider:
    try:
        return get_provider(alias)
    except ConfigurationError as error:
        raise Http404(error.message) from None


@sensitive_variables()
def _connect(
    request: HttpRequest,
    context: dict[str, Any],
    provider: Provider,
    account: ConnectedAccount | None,
) -> HttpResponse:
    submitted = request.POST if request.method == "POST" else None
    known = account.inputs if account else None
    form = ConnectForm(provider, submitted, for_site=True, known=known)
    context |= {
        "provider": provider,
        "account": account,
        "form": form,
        "scopes": scope_lines(provider, provider.scopes),
    }
    if submitted is None or (form.asked and not form.is_valid()):
        return _page(request, context)
    form.is_valid()
    if wait := throttle.wait_for(request, throttle.STARTS):
        response = _page(request, context | {"failure": TOO_MANY}, status=TOO_MANY.status)
        response.headers["Retry-After"] = str(wait)
        return response
    try:
        if provider.grant_type == "authorization_code":
            return _leave(request, provider, form, account)
        from connected_accounts.connect.direct import connect_directly  # loads requests

        connected, _created = connect_directly(
            user=None, provider=provider.alias, values=form.values, account=account
        )
    except ConnectedAccountsError as error:
        failure = failure_for(error)
        return _page(request, context | {"failure": failure}, status=failure.status)
    change = reverse("admin:connected_accounts_connectedaccount_change", args=[connected.pk])
    return browser.SeeOther(change)


def _leave(
    request: HttpRequest, provider: Provider, form: ConnectForm, account: ConnectedAccount | None
) -> HttpResponse:
    secret = browser.browser_secret(request) or new_secret()
    url = start_authorization(
        user=request.user,
        provider=provider.alias,
        redirect_uri=browser.redirect_uri(request, provider.alias),
        browser_secret=secret,
        next=reverse(LIST),
        account=account,
        inputs=form.values,
        for_site=True,
    )
    response = browser.SeeOther(url)
    browser.set_browser_secret(request, response, secret)
    return response


def _page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    response = TemplateResponse(request, TEMPLATE, context, status=status)
    return browser.set_security_headers(response, carries_code=False)
