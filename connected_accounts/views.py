"""The pages. Each works without JavaScript, and none shows or logs a secret."""

import logging
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import get_resolver, get_urlconf, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_variables

from connected_accounts import browser, tasks
from connected_accounts.cards import account_card, account_cards, open_revocations, scope_lines
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
)
from connected_accounts.failures import failure_for
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider, get_providers
from connected_accounts.secret import forget_locals
from connected_accounts.services.authorization import (
    complete_authorization,
    requested_scopes,
    start_authorization,
)
from connected_accounts.services.pauses import report
from connected_accounts.services.revocation import disconnect

logger = logging.getLogger("connected_accounts")


# A spent code must not be rolled back by the site's ATOMIC_REQUESTS.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
@method_decorator(login_not_required, name="dispatch")  # each page asks for it itself, with 303
class Page(View):
    """Base of our pages: for a signed-in person, and with our headers on every answer."""

    carries_code: ClassVar[bool] = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = self.answer(request, *args, **kwargs)
        except Http404 as error:  # with our headers, too: the address may hold a code
            not_found: Any = get_resolver(get_urlconf()).resolve_error_handler(404)
            response = not_found(request, exception=error)
        except Exception as error:  # for the site's error page, mail and tracker
            browser.forget(request)
            forget_locals(error)
            raise
        if self.carries_code:
            browser.forget(request)  # what logs the answer, or mails it to admins, is given it too
        return browser.guard(response, carries_code=self.carries_code)

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

    def account(self, request: HttpRequest, pk: int) -> ConnectedAccount:
        """One of this person's own accounts; anybody else's is as unknown as one that is not."""
        accounts = ConnectedAccount.objects.for_user(request.user)
        account: ConnectedAccount = get_object_or_404(accounts, pk=pk)
        return account

    def service(self, alias: str) -> Provider:
        try:
            return get_provider(alias)
        except ConfigurationError as error:
            if error.code == "unknown_provider":
                raise Http404(_("There is no such service here.")) from None
            raise


class ListView(Page):
    """What is connected, and what can be."""

    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "cards": account_cards(request.user, timezone.now()),
            "providers": [p for p in get_providers() if p.grant_type == "authorization_code"],
            "revocations": open_revocations(request.user, timezone.now()),
        }
        return render(request, "connected_accounts/list.html", context)


@method_decorator(csrf_protect, name="dispatch")
class ConnectView(Page):
    """GET asks; POST opens an authorization and leaves for the provider."""

    def way_back(self, request: HttpRequest) -> str:
        fields = [(n, v) for n in ("next", "scope") for v in browser.form_values(request, n)]
        return f"{request.path}?{urlencode(fields)}" if fields else request.path

    def get(self, request: HttpRequest, provider: str) -> HttpResponse:
        return self.ask(request, self.service(provider))

    def post(self, request: HttpRequest, provider: str) -> HttpResponse:
        return self.start(request, self.service(provider))

    def ask(
        self, request: HttpRequest, service: Provider, account: ConnectedAccount | None = None
    ) -> HttpResponse:
        extra = browser.form_values(request, "scope")
        try:
            scopes = requested_scopes(service, extra, account)
        except ConfigurationError as error:
            return failure_page(request, service, error)
        context = {
            "provider": service,
            "card": account_card(account, timezone.now()) if account else None,
            "next": self.next(request),
            "extra_scopes": extra,
            "scopes": scope_lines(service, scopes),
        }
        return render(request, "connected_accounts/connect.html", context)

    def start(
        self, request: HttpRequest, service: Provider, account: ConnectedAccount | None = None
    ) -> HttpResponse:
        secret = browser.browser_secret(request) or new_secret()
        try:
            url = start_authorization(
                user=request.user,
                provider=service.alias,
                redirect_uri=browser.redirect_uri(request, service.alias),
                browser_secret=secret,
                next=self.next(request),
                scopes=browser.form_values(request, "scope"),
                account=account,
                inputs=account.inputs if account else None,
            )
        except ConnectedAccountsError as error:
            return failure_page(request, service, error)
        response = browser.SeeOther(url)
        browser.set_browser_secret(request, response, secret)
        return response

    def next(self, request: HttpRequest) -> str:
        return browser.safe_next(request, (browser.form_values(request, "next") or [""])[0])


class ReconnectView(ConnectView):
    """As connect, for an account that is there already."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:  # type: ignore[override]
        account = self.account(request, pk)
        return self.ask(request, self.service(account.provider), account)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:  # type: ignore[override]
        account = self.account(request, pk)
        return self.start(request, self.service(account.provider), account)


@method_decorator(csrf_exempt, name="dispatch")  # takes no POST: 405, not a CSRF page
class CallbackView(Page):
    """Where the provider sends the person back to."""

    carries_code = True
    http_method_names = ["get"]  # HEAD and prefetches must not spend a state

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        fresh = "state" in request.GET and "bounced" not in request.GET
        if request.method == "GET" and fresh and browser.session_cookie_withheld(request):
            again = f"{request.get_full_path()}&bounced=1"
            return render(request, "connected_accounts/bounce.html", {"again": again})
        return super().answer(request, *args, **kwargs)

    @sensitive_variables()
    def get(self, request: HttpRequest, provider: str) -> HttpResponse:
        service = self.service(provider)
        try:
            completed = complete_authorization(
                user=request.user,
                provider=provider,
                browser_secret=browser.browser_secret(request),
                params=request.GET,
            )
        except ConnectedAccountsError as error:
            if isinstance(error, ClientRejected):
                # No pause: a person can bring about some of these answers.
                report(service.alias, error.code)
            return failure_page(request, service, error)
        said = (
            _("%(service)s is connected.")
            if completed.created
            else _("%(service)s is connected again.")
        )
        messages.success(request, said % {"service": service.name}, fail_silently=True)
        target = browser.safe_next(request, completed.next)
        return browser.SeeOther(target or reverse("connected_accounts:list"))


@method_decorator(csrf_protect, name="dispatch")
class DisconnectView(Page):
    """GET asks; POST deletes the account and has its grant withdrawn at the provider."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = self.account(request, pk)
        context = {"card": account_card(account, timezone.now())}
        return render(request, "connected_accounts/disconnect.html", context)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = self.account(request, pk)
        name = account_card(account, timezone.now()).service
        if disconnect(account) is not None:
            tasks.enqueue(tasks.revoke_pending_tokens)
        messages.success(
            request, _("%(service)s is disconnected.") % {"service": name}, fail_silently=True
        )
        return browser.SeeOther(reverse("connected_accounts:list"))


def failure_page(
    request: HttpRequest, service: Provider | None, error: ConnectedAccountsError
) -> HttpResponse:
    """Say what happened in a person's words, and offer the way on."""
    failure = failure_for(error)
    again = reverse("connected_accounts:list")
    if service is not None:
        again = reverse("connected_accounts:connect", args=[service.alias])
    if error.reconnect is not None:
        again = reverse("connected_accounts:reconnect", args=[error.reconnect])
    if error.next:
        again += "?" + urlencode({"next": error.next})
    context = {"provider": service, "failure": failure, "try_again": again}
    return render(request, "connected_accounts/failure.html", context, status=failure.status)
