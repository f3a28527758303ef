"""The JSON API, for a front end of the site's own: what the pages do, with the same session.

Described by ``openapi.json``, which lies beside this file.
"""

import logging
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.exception import response_for_exception
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from connected_accounts.api import documents
from connected_accounts.api.bodies import Connecting, read_connecting, refuse_other_types
from connected_accounts.api.problems import ProblemError, problem_for
from connected_accounts.clients.credentials import connectable
from connected_accounts.database.locks import statements_retried
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import owners_of
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_providers
from connected_accounts.secret import forget_locals
from connected_accounts.web import actions, browser, request_secrets
from connected_accounts.web.cards import is_revocable, offers
from connected_accounts.web.forms import ConnectForm
from connected_accounts.web.revocations import revocation_line, revocations_of
from connected_accounts.web.timeline import timeline

logger = logging.getLogger("connected_accounts")

SAFE: Final = ("GET", "HEAD", "OPTIONS")
MAX_DIGITS: Final = 20
PER_PAGE: Final = 100  # accounts


class Endpoint(View):
    """Base of the API: for a signed-in person, with our headers, and a problem for every error."""

    # Exempt for the site's own middleware only: it would answer with a page. It is checked in here.
    @csrf_exempt
    @transaction.non_atomic_requests
    @statements_retried()
    @login_not_required  # 401, not a way to the login page
    @sensitive_variables()
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        csrf = CsrfViewMiddleware(lambda request: HttpResponse())
        csrf.process_request(request)
        try:
            response = self.answer(request, csrf, *args, **kwargs)
        except Exception as error:
            response = self.problem(request, error)
        csrf.process_response(request, response)  # which sets the cookie that GET asked for
        return browser.set_security_headers(response, carries_code=False)

    def answer(
        self, request: HttpRequest, csrf: CsrfViewMiddleware, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if not request.user.is_authenticated:
            raise ProblemError("not_signed_in", headers={"WWW-Authenticate": "Session"})
        name = str(request.method).lower()
        handler = getattr(self, name, None) if name in self.http_method_names else None
        if handler is None:
            there = [n.upper() for n in self.http_method_names if hasattr(self, n)]
            raise ProblemError("method_not_allowed", headers={"Allow": ", ".join(there)})
        if request.method not in SAFE:
            refuse_other_types(request)  # before the check, which would read a form
            if csrf.process_view(request, handler, args, kwargs) is not None:
                raise ProblemError("csrf_failed")
        response: HttpResponse = handler(request, *args, **kwargs)
        if request.method == "GET":
            response.headers["X-CSRFToken"] = get_token(request)
        return response

    def problem(self, request: HttpRequest, error: Exception) -> HttpResponse:
        known = problem_for(error)
        if known is not None:
            if isinstance(error, ConfigurationError) and known.status_code == 500:
                logger.error("settings: %s", error)  # the person is not told what it is
            return known
        request_secrets.scrub_request(request)
        forget_locals(error)
        response_for_exception(request, error)  # tells the site's log, mail and tracker
        return problem_for(ProblemError("internal_error")) or HttpResponse(status=500)


class AccountsEndpoint(Endpoint):
    """The connected accounts: the user's own, and those of teams."""

    def get(self, request: HttpRequest) -> HttpResponse:
        owners = owners_of(request.user)  # once: it may give another answer the next time
        rows = ConnectedAccount.objects.filter(owner_key__in=list(owners))
        rows = rows.order_by("provider", "connected_at", "pk")
        asked = request.GET.get("page", "")
        page = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 1
        first = (max(page, 1) - 1) * PER_PAGE
        found = list(rows[first : first + PER_PAGE + 1])
        return JsonResponse(
            {
                "accounts": documents.accounts(found[:PER_PAGE], owners, timezone.now()),
                "next_page": max(page, 1) + 1 if len(found) > PER_PAGE else None,
            }
        )


class AccountEndpoint(Endpoint):
    """One account; DELETE disconnects it."""

    def get(self, request: HttpRequest, pk: str) -> HttpResponse:
        return JsonResponse(account_document(request, actions.find_account(request, number(pk))))

    def delete(self, request: HttpRequest, pk: str) -> HttpResponse:
        account = actions.find_account(request, number(pk), "disconnect")
        by_hand = not is_revocable(account)
        owed = actions.end_connection(request, account)
        document = owed and documents.revocation(revocation_line(owed), by_hand=by_hand)
        return JsonResponse({"revocation": document})


class HistoryEndpoint(Endpoint):
    """The events of one account."""

    def get(self, request: HttpRequest, pk: str) -> HttpResponse:
        lines = timeline(actions.find_account(request, number(pk)))
        return JsonResponse({"events": [documents.event(line) for line in lines]})


class TestEndpoint(Endpoint):
    """POST calls the provider once, with the account's token."""

    def post(self, request: HttpRequest, pk: str) -> HttpResponse:
        result = actions.test_connection(request, actions.find_account(request, number(pk), "use"))
        document = {"state": result.state, "title": str(result.title), "text": str(result.text)}
        return JsonResponse(document)


class RevocationsEndpoint(Endpoint):
    """The revocations of accounts that were disconnected lately."""

    def get(self, request: HttpRequest) -> HttpResponse:
        lines = revocations_of(owners_of(request.user), timezone.now())
        return JsonResponse({"revocations": [documents.revocation(line) for line in lines]})


class ProvidersEndpoint(Endpoint):
    """The providers that can be connected, and the teams to connect them for."""

    def get(self, request: HttpRequest) -> HttpResponse:
        own = ConnectedAccount.objects.for_user(request.user)
        known = set(own.values_list("provider", flat=True))
        offered = offers(connectable(get_providers()), known)
        document = {
            "providers": [documents.provider(offer) for offer in offered],
            "owners": documents.owners(owners_of(request.user)),
        }
        return JsonResponse(document)


class ConnectEndpoint(Endpoint):
    """POST opens an authorization and says where to send the browser, or connects at once."""

    @method_decorator(sensitive_variables())
    def post(self, request: HttpRequest, provider: str) -> HttpResponse:
        sent = read_connecting(request, again=False)
        return start_connecting(request, actions.find_provider(provider), sent)


class ReconnectEndpoint(Endpoint):
    """As connecting, for an account that is there already."""

    @method_decorator(sensitive_variables())
    def post(self, request: HttpRequest, pk: str) -> HttpResponse:
        account = actions.find_account(request, number(pk), "connect")
        sent = read_connecting(request, again=True)
        provider = actions.find_provider(account.provider)
        return start_connecting(request, provider, sent, account)


@sensitive_variables()
def start_connecting(
    request: HttpRequest,
    provider: Provider,
    sent: Connecting,
    account: ConnectedAccount | None = None,
) -> HttpResponse:
    """The answer to a request to connect. Raises what the pages know, too."""
    owner = actions.find_owner(request, sent.owner)
    form = ConnectForm(provider, sent.inputs, known=account.inputs if account else None)
    refuse_wrong_inputs(form, sent)
    wishes = actions.Wishes(
        next=browser.safe_next(request, sent.next),
        scopes=sent.scopes,
        owner=owner.key if owner else "",
        keep_scopes=sent.keep_scopes,
    )
    way = actions.unseen_way(request, provider, form, wishes, account, seen=[sent.issuer])
    if way is not None:
        told = {"authorization_url": None, "account": None, "way": documents.way(way)}
        return JsonResponse(told)
    started = actions.start_connecting(request, provider, form, wishes, account)
    account_or_none = account_document(request, started.account) if started.account else None
    document = {"authorization_url": started.url or None, "account": account_or_none, "way": None}
    response = JsonResponse(document, status=201 if started.created else 200)
    started.bind_browser(request, response)
    return response


def refuse_wrong_inputs(form: ConnectForm, sent: Connecting) -> None:
    """Raise ProblemError for what is missing, unknown, or cannot be used."""
    wrong: list[tuple[str, Any]] = []
    if not form.is_valid():
        wrong = [(f"/inputs/{name}", errors[0]) for name, errors in form.errors.items()]
    for name in sent.inputs.keys() - form.fields.keys():
        wrong.append(("/inputs", _("The service asks for nothing of the name %s.") % ascii(name)))
    if wrong:
        raise ProblemError("inputs", errors=sorted(wrong))


def number(text: str) -> int:
    """A primary key in an address. Raises Http404 for what is none."""
    if not (text.isascii() and text.isdecimal() and len(text) < MAX_DIGITS):
        raise Http404
    return int(text)


def account_document(request: HttpRequest, account: ConnectedAccount) -> dict[str, Any]:
    """One account, as in the list. Raises Http404 where the person sees it no longer."""
    owners = owners_of(request.user)
    if account.owner_key not in owners:
        raise Http404(_("There is no such connection."))
    return documents.accounts([account], owners, timezone.now())[0]
