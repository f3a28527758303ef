"""The base of all pages: sign-in, our headers, and the page for a failure."""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import urlencode
from django.views import View
from django.views.decorators.csrf import csrf_protect

from connected_accounts.database.locks import statements_retried
from connected_accounts.exceptions import ConfigurationError, ConnectedAccountsError, WayOn
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.base import Provider
from connected_accounts.secret import forget_locals
from connected_accounts.web import browser, request_secrets
from connected_accounts.web.failures import TOO_MANY, failure_for
from connected_accounts.web.marks import mark_of

logger = logging.getLogger("connected_accounts")


class Page(View):
    """Base of our pages: for a signed-in person, and with our headers on every answer."""

    carries_code: ClassVar[bool] = False
    # Around the view, innermost first. (method_decorator would build them for every request.)
    decorators: ClassVar[tuple[Callable[[Any], Any], ...]] = (csrf_protect,)

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)
        for decorate in cls.decorators:
            view = decorate(view)
        return view

    # A spent code must not be rolled back by the site's ATOMIC_REQUESTS.
    @transaction.non_atomic_requests
    @statements_retried()
    @login_not_required  # each page asks for it itself, with 303
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            request_secrets.hide_entered(request)
            response = self.answer(request, *args, **kwargs)
        except (Http404, PermissionDenied, SuspiciousOperation) as error:
            # With our headers, too: the address may hold a code.
            response = response_for_exception(request, error)
        except Exception as error:  # for the site's error page, mail and tracker
            request_secrets.scrub_request(request)
            forget_locals(error)
            raise
        if self.carries_code:
            # Whoever logs or mails the response gets the request as well.
            request_secrets.scrub_request(request)
        return browser.set_security_headers(response, carries_code=self.carries_code)

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return browser.to_login(request, self.way_back(request))
        try:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]
        except ConfigurationError as error:
            logger.error("settings: %s", error)
            return failure_page(request, None, error)

    def way_back(self, request: HttpRequest) -> str:
        """The address to return to after signing in. A form's answers are asked for again, but for
        where to go afterwards, for which permissions and for whom."""
        if request.method != "POST":
            return request.get_full_path()
        names = ("next", "scope", "owner")
        fields = [(name, v) for name in names for v in browser.form_values(request, name)]
        return f"{request.path}?{urlencode(fields)}" if fields else request.path


def failure_page(
    request: HttpRequest, provider: Provider | None, error: ConnectedAccountsError
) -> HttpResponse:
    """Say what happened in a person's words, and offer the way on."""
    failure = failure_for(error)
    way = error.way_on or WayOn()
    way = way._replace(next=browser.safe_next(request, way.next))
    begin_again = begin_again_address(request, provider, way)
    another = error.code == "other_account"
    as_new = begin_again_address(request, provider, way._replace(reconnect=None))
    context = {
        "provider": provider,
        "mark": mark_of(provider.alias, provider.name) if provider else None,
        "failure": failure,
        "code": error.reference,
        "try_again": way.next if way.for_site and way.next else begin_again,
        "as_new": as_new if another else "",
    }
    return render(request, "connected_accounts/failure.html", context, status=failure.status)


def begin_again_address(request: HttpRequest, provider: Provider | None, way: WayOn) -> str:
    """The page on which to begin again, going where the person was going, for the same owner and
    with the permissions that were chosen: as this request says, or else as the failed authorization
    did."""
    if provider is None:
        return browser.list_page()
    way = _as_this_request_says(request, way)
    if way.reconnect is not None:
        address = browser.page_of("reconnect", way.reconnect)
    else:
        address = browser.page_of("connect", provider.alias)
    if not address:
        # The site has no such pages; its own is where the person came from.
        return way.next or browser.list_page()
    query = urlencode(_query(provider, way))
    return f"{address}?{query}" if query else address


def _as_this_request_says(request: HttpRequest, way: WayOn) -> WayOn:
    match = request.resolver_match
    if match is None or match.url_name == "callback":  # whose parameters are the provider's
        return way
    scopes, only_these = browser.asked_scopes(request)
    return way._replace(
        next=way.next or browser.next_page(request),
        scopes=tuple(scopes),
        only_these_scopes=only_these,
        owner=way.owner or browser.owner_named(request),
    )


def _query(provider: Provider, way: WayOn) -> list[tuple[str, str]]:
    optional = provider.config.optional_scopes
    query = []
    if way.next:
        query.append(("next", way.next))
    if way.reconnect is not None and way.only_these_scopes and optional:
        query.append(("scope", ""))  # the account's other optional scopes are not wanted
    query += [("scope", scope) for scope in way.scopes if scope in optional]
    if way.owner and way.reconnect is None:
        query.append(("owner", way.owner))
    return query


def too_many_page(
    request: HttpRequest,
    provider: Provider,
    wait: int,
    account: ConnectedAccount | None = None,
    *,
    try_again: str = "",
) -> HttpResponse:
    """Say when to go on, to the person and to the program that may be one; at ``try_again``, or
    else where connecting begins."""
    way = WayOn(reconnect=account.pk if account else None)
    context = {
        "provider": provider,
        "mark": mark_of(provider.alias, provider.name),
        "failure": TOO_MANY,
        "try_again": try_again or begin_again_address(request, provider, way),
    }
    response = render(request, "connected_accounts/failure.html", context, status=TOO_MANY.status)
    response.headers["Retry-After"] = str(wait)
    return response
