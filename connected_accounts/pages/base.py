"""What all pages have in common: who may see them, our headers, and what is said of a failure."""

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
from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.base import Provider
from connected_accounts.secret import forget_locals
from connected_accounts.web import browser
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
            response = self.answer(request, *args, **kwargs)
        except (Http404, PermissionDenied, SuspiciousOperation) as error:
            # With our headers, too: the address may hold a code.
            response = response_for_exception(request, error)
        except Exception as error:  # for the site's error page, mail and tracker
            browser.scrub_request(request)
            forget_locals(error)
            raise
        if self.carries_code:
            browser.scrub_request(
                request
            )  # what logs the answer, or mails it to admins, is given it too
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
        """Where to return to after signing in. A form's answers are asked for again."""
        return request.get_full_path()


def failure_page(
    request: HttpRequest, provider: Provider | None, error: ConnectedAccountsError
) -> HttpResponse:
    """Say what happened in a person's words, and offer the way on."""
    failure = failure_for(error)
    again = error.next if error.for_site and error.next else way_on(request, provider, error)
    another = error.code == "other_account"
    context = {
        "provider": provider,
        "mark": mark_of(provider.alias, provider.name) if provider else None,
        "failure": failure,
        "try_again": again,
        "as_new": way_on(request, provider, error, as_new=True) if another else "",
    }
    return render(request, "connected_accounts/failure.html", context, status=failure.status)


def way_on(
    request: HttpRequest,
    provider: Provider | None,
    error: ConnectedAccountsError | None = None,
    *,
    as_new: bool = False,
) -> str:
    """The page on which to begin again, going where the person was going, for whom and with the
    permissions that were chosen: as the failed authorization was to, or else as this request says.
    ``as_new``: to connect another account, where one was to be connected again."""
    if provider is None:
        return browser.list_page()
    again = None if error is None or as_new else error.reconnect
    after, scopes, whole = (error.next, list(error.scopes), True) if error else ("", [], True)
    owner = error.owner if error else ""
    match = request.resolver_match
    if match is not None and match.url_name != "callback":  # whose parameters are the provider's
        scopes, whole = browser.asked_scopes(request)
        after = after or browser.next_page(request)
        owner = owner or browser.owner_named(request)
    if again is not None:
        address, owner = browser.page_of("reconnect", again), ""
    else:
        address = browser.page_of("connect", provider.alias)
    if not address:
        return after or "/"  # the site has no such pages; its own is where the person came from
    optional = provider.config.optional_scopes
    named = [""] * (whole and again is not None and bool(optional))
    named += [scope for scope in scopes if scope in optional]
    query = [("next", after)] * bool(after) + [("scope", scope) for scope in named]
    query += [("owner", owner)] * bool(owner)
    return f"{address}?{urlencode(query)}" if query else address


def too_many_page(
    request: HttpRequest, provider: Provider, wait: int, account: ConnectedAccount | None = None
) -> HttpResponse:
    """Say when to go on, to the person and to the program that may be one."""
    error = ConnectedAccountsError()
    error.reconnect = account.pk if account else None
    context = {
        "provider": provider,
        "mark": mark_of(provider.alias, provider.name),
        "failure": TOO_MANY,
        "try_again": way_on(request, provider, error),
    }
    response = render(request, "connected_accounts/failure.html", context, status=TOO_MANY.status)
    response.headers["Retry-After"] = str(wait)
    return response
