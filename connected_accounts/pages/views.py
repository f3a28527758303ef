"""The pages. Each works without JavaScript, and none shows or logs a secret."""

import logging
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from connected_accounts import services
from connected_accounts.clients.credentials import connectable
from connected_accounts.connect.intent import requested_scopes
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    WayOn,
)
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.models.deployment import sites
from connected_accounts.owners import owner_for
from connected_accounts.pages.base import Page, failure_page, too_many_page
from connected_accounts.providers.base import Provider
from connected_accounts.providers.inputs import CREDENTIALS, OWN_CLIENT
from connected_accounts.providers.registry import get_providers
from connected_accounts.web import actions, browser, request_secrets, throttle
from connected_accounts.web.cards import (
    account_card,
    account_cards,
    is_revocable,
    offers,
    permissions_asked,
)
from connected_accounts.web.forms import NOT_ACCEPTED, ConnectForm
from connected_accounts.web.marks import mark_of
from connected_accounts.web.revocations import open_revocations, revocation_line
from connected_accounts.web.timeline import timeline
from connected_accounts.web.way import Way

logger = logging.getLogger("connected_accounts")


class ListView(Page):
    """The connected accounts, and the providers that can be connected."""

    def get(self, request: HttpRequest) -> HttpResponse:
        page = account_cards(request.user, timezone.now(), request.GET.get("page", 1))
        cards = list(page)
        context = {
            "cards": cards,
            "page": page,
            "needing": [card for card in cards if card.needs_you],
            "paused_here": bool(cards) and sites().differ,
            "offers": offers(connectable(get_providers()), {card.provider for card in cards}),
            "revocations": open_revocations(request.user, timezone.now()),
        }
        return render(request, "connected_accounts/list.html", context)


class DoneView(Page):
    """The last page of a separate window, for the optional script to close it."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return render(request, "connected_accounts/done.html")


class ConnectView(Page):
    """GET asks; POST opens an authorization and leaves for the provider, or connects at once with
    what was entered."""

    decorators = (csrf_protect, sensitive_post_parameters(*CREDENTIALS))

    def get(self, request: HttpRequest, provider: str) -> HttpResponse:
        return self.ask(request, actions.find_provider(provider))

    def post(self, request: HttpRequest, provider: str) -> HttpResponse:
        return self.start(request, actions.find_provider(provider))

    def ask(
        self,
        request: HttpRequest,
        provider: Provider,
        account: ConnectedAccount | None = None,
        form: ConnectForm | None = None,
    ) -> HttpResponse:
        key = account.owner_key if account else browser.owner_named(request)
        owner = actions.find_owner(request, key)
        extra, only_these = browser.asked_scopes(request)
        try:
            requested_scopes(provider, extra)
            if not connectable([provider]):
                raise ConfigurationError("no_client")
        except ConfigurationError as error:
            return self.failed(request, provider, account, error)
        context = {
            "provider": provider,
            "mark": mark_of(provider.alias, provider.name),
            "card": account_card(account, timezone.now()) if account else None,
            "form": form or connect_form(provider, None, account),
            "next": browser.next_page(request),
            "owner": owner if owner and owner.name else None,
            **permissions_asked(provider, extra, None if only_these else account),
        }
        return render(request, "connected_accounts/connect.html", context)

    @method_decorator(sensitive_variables())
    def start(
        self, request: HttpRequest, provider: Provider, account: ConnectedAccount | None = None
    ) -> HttpResponse:
        owner = "" if account else browser.owner_named(request)
        actions.find_owner(request, owner)
        form = connect_form(provider, request.POST, account)
        valid = form.is_valid()
        # A button elsewhere knows nothing of fields: they are asked for here.
        if form.asked and not (form.was_sent and valid):
            return self.ask(request, provider, account, form if form.was_sent else None)
        scopes, only_these = browser.asked_scopes(request)
        wishes = actions.Wishes(
            next=browser.next_page(request),
            scopes=scopes,
            owner=owner,
            keep_scopes=not only_these,
        )
        try:
            seen = request.POST.getlist("issuer")
            way = actions.unseen_way(request, provider, form, wishes, account, seen=seen)
            if way is not None:
                return self.show_way(request, provider, form, way, account)
            started = actions.start_connecting(request, provider, form, wishes, account)
        except actions.TooOften as too:
            return too_many_page(request, provider, too.seconds, account)
        except ConnectedAccountsError as error:
            if isinstance(error, ClientRejected) and error.code == "credentials":
                form.add_error(None, NOT_ACCEPTED)
                return self.ask(request, provider, account, form)
            return self.failed(request, provider, account, error)
        return self.leave(request, provider, started)

    def show_way(
        self,
        request: HttpRequest,
        provider: Provider,
        form: ConnectForm,
        way: Way,
        account: ConnectedAccount | None,
    ) -> HttpResponse:
        """Say where the server sends the person, before they go."""
        client = form if "client_id" in form.fields else None
        if way.needs_client and client is None:
            client = ConnectForm(provider, with_client=True)
        context = {
            "provider": provider,
            "mark": mark_of(provider.alias, provider.name),
            "card": account_card(account, timezone.now()) if account else None,
            "way": way,
            "known": [(n, v) for n, v in form.values.items() if n not in CREDENTIALS],
            "client_fields": [client[n] for n in OWN_CLIENT] if client else [],
            "next": browser.next_page(request),
            "owner": "" if account else browser.owner_named(request),
            # The empty one, too, by which nothing else is wanted.
            "asked": browser.form_values(request, "scope"),
        }
        return render(request, "connected_accounts/way.html", context)

    def leave(
        self, request: HttpRequest, provider: Provider, started: actions.Started
    ) -> HttpResponse:
        """Send the browser to the provider, or on, where the account is connected already."""
        if not started.url:
            announce_connected(request, provider, started.created)
        target = started.url or browser.next_page(request) or browser.list_page()
        response = browser.SeeOther(target)
        started.bind_browser(request, response)
        return response

    def failed(
        self,
        request: HttpRequest,
        provider: Provider,
        account: ConnectedAccount | None,
        error: ConnectedAccountsError,
    ) -> HttpResponse:
        if account is not None:
            error.way_on = (error.way_on or WayOn())._replace(reconnect=account.pk)
        return failure_page(request, provider, error)


class ReconnectView(ConnectView):
    """As connect, for an account that is there already."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:  # type: ignore[override]
        account = actions.find_account(request, pk, "connect")
        return self.ask(request, actions.find_provider(account.provider), account)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:  # type: ignore[override]
        account = actions.find_account(request, pk, "connect")
        return self.start(request, actions.find_provider(account.provider), account)


class CallbackView(Page):
    """The callback: the provider sends the person back to it."""

    decorators = (csrf_exempt,)  # takes no POST: 405, not a CSRF page
    carries_code = True
    http_method_names = ["get"]  # HEAD and prefetches must not spend a state

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        fresh = "state" in request.GET and "bounced" not in request.GET
        if request.method == "GET" and fresh and browser.session_cookie_withheld(request):
            return self.come_again(request)
        if not request.user.is_authenticated:
            return super().answer(request, *args, **kwargs)
        forget = request_secrets.forget_carried(request)
        response = super().answer(request, *args, **kwargs)
        forget(response)
        return response

    def come_again(self, request: HttpRequest) -> HttpResponse:
        """A page of our own that leads to the same address, so that the session comes along; the
        parameters are in a cookie meanwhile, sealed, and in the page where that cannot hold
        them."""
        carry = request_secrets.carry_callback(request)
        again = request.path if carry else f"{request.get_full_path()}&bounced=1"
        response = render(request, "connected_accounts/bounce.html", {"again": again})
        if carry:
            carry(response)
        return response

    def way_back(self, request: HttpRequest) -> str:
        request_secrets.keep_callback(request)
        return request.path

    @method_decorator(sensitive_variables())
    def get(self, request: HttpRequest, provider: str, host: str = "") -> HttpResponse:
        params, secret = request_secrets.take_callback(request)
        service = actions.find_provider(provider)
        try:
            completed = services.complete_authorization(
                user=request.user,
                provider=service.alias,
                browser_secret=secret or "",
                params=params,
                callback_host=host,
            )
        except ConnectedAccountsError as error:
            failed = throttle.is_failed_callback(error)
            if failed and (wait := throttle.wait_for(request, throttle.FAILED_CALLBACKS)):
                return too_many_page(request, service, wait)
            browser.take_up_language(request, error.way_on.next if error.way_on else "")
            return failure_page(request, service, error)
        browser.take_up_language(request, completed.next)
        announce_connected(request, service, completed.created)
        target = browser.safe_next(request, completed.next)
        return browser.SeeOther(target or browser.list_page())


class DisconnectView(Page):
    """GET asks; POST deletes the account and has its grant withdrawn at the provider."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = actions.find_account(request, pk, "disconnect")
        card = account_card(account, timezone.now())
        owner = owner_for(request.user, account.owner_key)
        context = {
            "card": card,
            "revocable": is_revocable(account),
            "owner": owner if owner and owner.name else None,
            "next": browser.next_page(request),
        }
        return render(request, "connected_accounts/disconnect.html", context)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = actions.find_account(request, pk, "disconnect")
        name = account_card(account, timezone.now()).service
        owed = actions.end_connection(request, account)
        messages.success(
            request, _("%(service)s is disconnected.") % {"service": name}, fail_silently=True
        )
        if owed is not None and owed.outcome == Outcome.GIVEN_UP:
            messages.warning(request, revocation_line(owed).words, fail_silently=True)
        return browser.SeeOther(browser.next_page(request) or browser.list_page())


class HistoryView(Page):
    """The events of one account."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = actions.find_account(request, pk)
        context = {"card": account_card(account, timezone.now()), "lines": timeline(account)}
        return render(request, "connected_accounts/history.html", context)


class TestView(Page):
    """POST calls the provider once, with the account's token, and says what came back; GET, as
    after signing in, leads to where the button is."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        actions.find_account(request, pk)
        return browser.SeeOther(browser.list_page())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        account = actions.find_account(request, pk, "use")
        try:
            result = actions.test_connection(request, account)
        except actions.TooOften as too:
            provider = actions.find_provider(account.provider)
            return too_many_page(request, provider, too.seconds, try_again=browser.list_page())
        card = account_card(actions.find_account(request, pk), timezone.now())
        context = {"card": card, "result": result}
        return render(request, "connected_accounts/test.html", context)


def connect_form(
    provider: Provider, data: Any, account: ConnectedAccount | None = None
) -> ConnectForm:
    return ConnectForm(provider, data, known=account.inputs if account else None)


def announce_connected(request: HttpRequest, provider: Provider, created: bool) -> None:
    text = _("%(service)s is connected.") if created else _("%(service)s is connected again.")
    messages.success(request, text % {"service": provider.name}, fail_silently=True)
