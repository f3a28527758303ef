"""The pages on which staff connect an account that belongs to the site itself.

The same flow as a user's, with the same checks; the callback is the users', so that one redirect
URI is registered at the provider.
"""

from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_variables

from connected_accounts.admin.addresses import first_page_for, page_for
from connected_accounts.clients.credentials import connectable
from connected_accounts.exceptions import ConfigurationError, ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import CONNECT_THE_SITE, SITE_OWNER
from connected_accounts.providers.registry import get_providers
from connected_accounts.web import actions, browser
from connected_accounts.web.cards import scope_lines
from connected_accounts.web.failures import TOO_MANY, Failure, failure_for
from connected_accounts.web.forms import ConnectForm

TEMPLATE: Final = "admin/connected_accounts/connectedaccount/connect.html"


def connect_site(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Choose a provider, then connect an account of the site there."""
    _check_permission(request)
    alias = request.POST.get("provider") or request.GET.get("provider")
    if not alias:
        return _page(request, context | {"providers": connectable(get_providers())})
    return _connect(request, context, alias, None)


def reconnect_site(request: HttpRequest, context: dict[str, Any], pk: str) -> HttpResponse:
    """Connect an account of the site again; a user's is theirs to connect."""
    _check_permission(request)
    own = ConnectedAccount.objects.filter(owner_key=SITE_OWNER)
    account = own.filter(pk=pk).first() if pk.isdecimal() else None
    if account is None:
        raise Http404
    return _connect(request, context, account.provider, account)


def _check_permission(request: HttpRequest) -> None:
    if not request.user.has_perm(CONNECT_THE_SITE):
        raise PermissionDenied


@sensitive_variables()
def _connect(
    request: HttpRequest, context: dict[str, Any], alias: str, account: ConnectedAccount | None
) -> HttpResponse:
    try:
        provider = actions.find_provider(alias)
    except ConfigurationError as error:
        return _failure_page(request, context, failure_for(error))
    submitted = request.POST if request.method == "POST" else None
    known = account.inputs if account else None
    form = ConnectForm(provider, submitted, for_site=True, known=known)
    context |= {
        "provider": provider,
        "account": account,
        "form": form,
        "scopes": scope_lines(provider, provider.scopes),
    }
    if submitted is None or not form.is_valid():
        return _page(request, context)
    wishes = actions.Wishes(next=first_page_for(request), for_site=True)
    try:
        started = actions.start_connecting(request, provider, form, wishes, account)
    except actions.TooOften as too:
        response = _failure_page(request, context, TOO_MANY)
        response.headers["Retry-After"] = str(too.seconds)
        return response
    except ConnectedAccountsError as error:
        return _failure_page(request, context, failure_for(error))
    pk = started.account.pk if started.account else None
    change = page_for(request, "connectedaccount_change", pk)
    response = browser.SeeOther(started.url or change or first_page_for(request))
    started.bind_browser(request, response)
    return response


def _failure_page(request: HttpRequest, context: dict[str, Any], failure: Failure) -> HttpResponse:
    return _page(request, context | {"failure": failure}, status=failure.status)


def _page(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    response = TemplateResponse(request, TEMPLATE, context, status=status)
    return browser.set_security_headers(response, carries_code=False)
