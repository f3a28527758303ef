"""The actions of a person, be it on a page, in the admin or by the JSON API: find an account that
they may act on, connect, disconnect, test. The same checks and limits for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from connected_accounts.connect.authorization import HOST_PLACE, start_authorization
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2.state import new_secret
from connected_accounts.owners import Owner, owner_for, owner_key, owners_of
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.disconnect import disconnect
from connected_accounts.secret import Secret
from connected_accounts.web import browser, throttle
from connected_accounts.web.forms import ConnectForm

if TYPE_CHECKING:
    from connected_accounts.web.check_results import CheckResult
    from connected_accounts.web.way import Way


class TooOften(Exception):
    """The person, or the address, is to wait for ``seconds``."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class Started:
    """``url`` is where the browser is to go, with ``browser_secret`` in its cookie; or it is empty
    and ``account`` is connected already."""

    url: str = ""
    browser_secret: Secret | None = None
    account: ConnectedAccount | None = None
    created: bool = False

    def bind_browser(self, request: HttpRequest, response: HttpResponse) -> None:
        """Bind the authorization to the browser that gets this answer."""
        if self.browser_secret is not None:
            browser.set_browser_secret(request, response, self.browser_secret)


def find_provider(alias: str) -> Provider:
    """The provider of an alias. Raises Http404, or ConfigurationError where settings are wrong."""
    try:
        return get_provider(alias)
    except ConfigurationError as error:
        if error.code == "unknown_provider":
            raise Http404(_("There is no such service here.")) from None
        raise


def find_account(request: HttpRequest, pk: int, may: str = "") -> ConnectedAccount:
    """An account of this person's own, or of an owner whose accounts they see.

    ``may`` names what they want to do with it: ``use``, ``connect`` or ``disconnect``. Raises
    Http404 where they do not see it, as for one that is not there; PermissionDenied where they see
    it and may not.
    """
    owners = owners_of(request.user)  # once: it may give another answer the next time
    seen = ConnectedAccount.objects.filter(owner_key__in=list(owners))
    account: ConnectedAccount | None = seen.filter(pk=pk).first()
    owner = owners.get(account.owner_key) if account else None
    if account is None or owner is None:
        raise Http404(_("There is no such connection."))
    if may and not getattr(owner, f"may_{may}"):
        raise PermissionDenied
    return account


def find_owner(request: HttpRequest, key: str) -> Owner | None:
    """The team that is meant by an address or a form; None: the person alone.

    Raises Http404 where they do not see its accounts, PermissionDenied where they may not connect.
    """
    if not key:
        return None
    owner = owner_for(request.user, key)
    if owner is None:
        raise Http404(_("There is no such owner."))
    if not owner.may_connect:
        raise PermissionDenied
    return owner


@dataclass(frozen=True)
class Wishes:
    """The way to connect: ``scopes`` besides SCOPES, ``owner`` the key of a team or empty, and
    whether an account that is connected again keeps the optional scopes that it had. ``for_site``:
    the account is to be the site's own."""

    next: str = ""
    scopes: Sequence[str] = ()
    owner: str = ""
    keep_scopes: bool = True
    for_site: bool = False


@sensitive_variables()
def start_connecting(
    request: HttpRequest,
    provider: Provider,
    form: ConnectForm,
    wishes: Wishes,
    account: ConnectedAccount | None = None,
) -> Started:
    """Open an authorization, or connect at once with what was entered; ``form`` is valid.

    Raises TooOften, or what ``start_authorization`` and ``connect_directly`` raise.
    """
    if wait := throttle.wait_for(request, throttle.STARTS):
        raise TooOften(wait)
    owner = account.owner_key if account is not None else wishes.owner or None
    common: dict[str, Any] = {
        "provider": provider.alias,
        "scopes": wishes.scopes,
        "account": account,
        "owner": owner,
        "keep_scopes": wishes.keep_scopes,
    }
    if provider.grant_type != "authorization_code":
        from connected_accounts.connect.direct import connect_directly  # loads requests

        user = None if wishes.for_site else request.user
        connected, created = connect_directly(user=user, values=form.values, **common)
        return Started(account=connected, created=created)
    if provider.registers:
        browser.refuse_to_register(request)
    secret = browser.browser_secret(request) or Secret(new_secret())
    callback = partial(browser.redirect_uri, request, provider.alias)
    url = start_authorization(
        user=request.user,
        redirect_uri=callback(),
        host_redirect_uri=callback(HOST_PLACE) if provider.places else "",
        browser_secret=secret,
        next=browser.way_back(request, wishes.next),
        inputs=form.values,
        for_site=wishes.for_site,
        **common,
    )
    return Started(url, secret)


def unseen_way(
    request: HttpRequest,
    provider: Provider,
    form: ConnectForm,
    wishes: Wishes,
    account: ConnectedAccount | None,
    *,
    seen: Sequence[str],
) -> "Way | None":
    """The way to a server that the person named, which is asked where it leads; None where their
    connection leads nowhere new: they have ``seen`` its issuer, and have a client for it. Raises
    TooOften, and what ``start_authorization`` raises."""
    if "server" not in provider.connect_fields or provider.grant_type != "authorization_code":
        return None  # nobody is sent anywhere
    if wait := throttle.wait_for(request, throttle.STARTS):
        raise TooOften(wait)
    from connected_accounts.web.way import find_way  # only for servers that people name

    owner = account.owner_key if account is not None else wishes.owner or owner_key(request.user)
    redirect_uri = browser.redirect_uri(request, provider.alias)
    way = find_way(
        provider,
        form,
        wishes.scopes,
        redirect_uri=redirect_uri,
        owner=owner,
        account=account if wishes.keep_scopes else None,
    )
    entered = not way.needs_client or "client_id" in form.values
    return None if way.issuer in seen and entered else way


def end_connection(request: HttpRequest, account: ConnectedAccount) -> Revocation | None:
    """Disconnect; the provider is asked by a worker, at once."""
    owed = disconnect(account, by=request.user)
    if owed is not None:
        from connected_accounts import tasks  # loads Celery

        tasks.enqueue(tasks.revoke_pending_tokens)
    return owed


def test_connection(request: HttpRequest, account: ConnectedAccount) -> "CheckResult":
    """Call the provider once with the account's token. Raises TooOften."""
    if wait := throttle.wait_for(request, throttle.TESTS):
        raise TooOften(wait)
    from connected_accounts.web.check_results import test_and_explain  # loads requests

    return test_and_explain(account)
