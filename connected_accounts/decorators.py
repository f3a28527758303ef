"""Views that need a connection: ``@connection_required("badgr", scopes=["r:backpack"])``."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import urlencode

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.translation import gettext as _

from connected_accounts.exceptions import InsufficientScope
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import Owner, owner_for, owner_key
from connected_accounts.providers.registry import get_provider, known_provider
from connected_accounts.tokens.scopes import missing_scopes
from connected_accounts.web import browser
from connected_accounts.web.cards import scope_lines
from connected_accounts.web.way import way_to_more

__all__ = ["ConnectedRequest", "ConnectionRequiredMixin", "connection_required"]

View = TypeVar("View", bound=Callable[..., Any])


class ConnectedRequest(HttpRequest):
    """For annotations: the request of a view that runs only with a connection."""

    connected_account: ConnectedAccount


def connection_required(
    alias: str, scopes: Sequence[str] = (), owner: Callable[..., str] | None = None
) -> Callable[[View], View]:
    """Let a view run only for a user whose account at ``alias`` is connected and has ``scopes``.

    Sets ``request.connected_account``: the one that ``?connection=<pk>`` names, if it is such an
    account, else the newest. Anybody else is sent to sign in, or to connect and then back: to this
    page, or for a POST to the page it came from. Where the user was asked for the scopes already
    and granted fewer, a 403 page says so, so that nobody is sent round in circles. For function
    views, synchronous or not; for class-based views there is ``ConnectionRequiredMixin``.

    Where the view lets InsufficientScope pass, the user is asked for what the call wants and comes
    back to this page, three times an hour at most.

    ``owner`` is called with what the view is called with, for a signed-in user, and returns the key
    of the team whose account is needed, instead of the user's own. Raises Http404 for a user who
    does not see its accounts, and PermissionDenied for one who may not use them, or not connect
    what is missing.
    """

    def stop(request: HttpRequest, args: Any, kwargs: Any) -> HttpResponse | None:
        def owner_key_of_view() -> str | None:
            # One that returns nothing names nobody, and not the user.
            return None if owner is None else owner(request, *args, **kwargs) or ""

        return stop_unless_connected(request, alias, scopes, owner_key_of_view)

    def decorate(view: View) -> View:
        asking = _asking_for_more(view)
        if iscoroutinefunction(view):

            @wraps(view)
            async def async_wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                answer = await sync_to_async(stop)(request, args, kwargs)
                return answer or await asking(request, *args, **kwargs)

            return cast("View", async_wrapper)

        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return stop(request, args, kwargs) or asking(request, *args, **kwargs)

        return cast("View", wrapper)

    return decorate


def _asking_for_more(view: View) -> Callable[..., Any]:
    """The view, with the answer of ``ask_for_more`` to its InsufficientScope."""
    if iscoroutinefunction(view):

        async def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                return await view(request, *args, **kwargs)
            except InsufficientScope as error:
                return await sync_to_async(ask_for_more)(request, error)

        return answered

    def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return view(request, *args, **kwargs)
        except InsufficientScope as error:
            return ask_for_more(request, error)

    return asked


class ConnectionRequiredMixin:
    """``connection_required`` for class-based views, named by two attributes, and a method where
    the account is a team's."""

    connection_provider: ClassVar[str]
    connection_scopes: ClassVar[Sequence[str]] = ()

    def get_connection_owner(self) -> str | None:
        """The key of the team whose account is needed; None: the user's own."""
        return None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, "view_is_async", False):
            return self._dispatch_async(request, *args, **kwargs)
        dispatch = _asking_for_more(super().dispatch)  # type: ignore[misc]
        return self._stop(request) or dispatch(request, *args, **kwargs)

    async def _dispatch_async(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        stop = await sync_to_async(self._stop)(request)
        try:
            return stop or await super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except InsufficientScope as error:
            return await sync_to_async(ask_for_more)(request, error)

    def _stop(self, request: HttpRequest) -> HttpResponse | None:
        return stop_unless_connected(
            request, self.connection_provider, self.connection_scopes, self.get_connection_owner
        )


def stop_unless_connected(
    request: HttpRequest,
    alias: str,
    scopes: Sequence[str],
    get_owner_key: Callable[[], str | None],
) -> HttpResponse | None:
    """The answer to give instead of the view, or None with ``request.connected_account`` set.
    ``get_owner_key`` is called for a signed-in user only."""
    scopes = scopes.split() if isinstance(scopes, str) else scopes
    back = _way_back(request)
    if not request.user.is_authenticated:
        return browser.to_login(request, back or get_script_prefix())
    key = get_owner_key()
    owner = owner_to_use(request.user, key)
    account, newest = choose_account(owner.key, alias, scopes, request.GET.get("connection", ""))
    if account is not None:
        request.connected_account = account  # type: ignore[attr-defined]
        return None
    refuse_unless_connecting(owner)
    _refuse_without_pages(alias)
    if newest and set(scopes) <= set(newest[0].scopes_wanted):
        missing = missing_scopes(get_provider(alias), scopes, newest[0].scopes_granted)
        return _missing_page(request, newest[0], missing, back, key)
    return browser.SeeOther(connect_address(alias, scopes, newest, back, key))


def _missing_page(
    request: HttpRequest,
    account: ConnectedAccount,
    missing: Sequence[str],
    back: str,
    owner: str | None,
) -> HttpResponse:
    provider = get_provider(account.provider)
    context = {
        "provider": provider,
        "missing": scope_lines(provider, missing),
        # One that the service does not offer was not asked for, and would not be again.
        "offered": set(missing) <= set(account.scopes_requested),
        "back": back,
        "owner": owner,
    }
    page = render(request, "connected_accounts/missing_scopes.html", context, status=403)
    return browser.set_security_headers(page, carries_code=False)


def ask_for_more(request: HttpRequest, error: InsufficientScope) -> HttpResponse:
    """The answer to give where a call of the view's account wants more permissions: the page that
    asks for them and comes back, or, where that was done often enough, one that says so. Raises the
    error again where it is about another account than the view's, and PermissionDenied where only
    somebody else may connect, or no page of ours does."""
    account = getattr(request, "connected_account", None)
    if account is None or account.pk != error.account_id:
        raise error
    owner = owner_to_use(request.user, account.owner_key)
    refuse_unless_connecting(owner)
    _refuse_without_pages(account.provider)
    back = _way_back(request)
    address = way_to_more(account, error.scopes, back)
    if address:
        return browser.SeeOther(address)
    missing = [scope for scope in error.scopes if scope not in account.scopes_granted]
    team = owner.key if owner.name else None
    return _missing_page(request, account, missing or error.scopes, back, team)


def _refuse_without_pages(alias: str) -> None:
    """Raise PermissionDenied on a site that connects by the JSON API alone."""
    if not browser.page_of("connect", alias):
        raise PermissionDenied(_("A connected account with these permissions is needed."))


def owner_to_use(user: Any, key: str | None) -> Owner:
    """The owner of the account that a view needs: the user for None, or the team with this key.

    Raises Http404 for a team that the user does not see, and PermissionDenied where they may not
    use its accounts.
    """
    owner = owner_for(user, owner_key(user) if key is None else key)
    if owner is None:
        raise Http404(_("There is no such owner."))
    if not owner.may_use:
        raise PermissionDenied
    return owner


def refuse_unless_connecting(owner: Owner) -> None:
    """Raise PermissionDenied where what is missing can only be connected by somebody else."""
    if not owner.may_connect:
        raise PermissionDenied(_("Somebody who may do so must connect this account first."))


def choose_account(
    owner: str, alias: str, scopes: Sequence[str], preferred: str = ""
) -> tuple[ConnectedAccount | None, list[ConnectedAccount]]:
    """An owner's account that was granted ``scopes``, and all their active accounts, newest first.
    The chosen one has the primary key ``preferred`` if that was granted them, else it is the
    newest."""
    accounts = ConnectedAccount.objects.for_owner(owner).at(alias).active()
    newest = list(accounts.order_by("-connected_at"))
    provider = known_provider(alias)
    # Sorting keeps the order of the others.
    for account in sorted(newest, key=lambda account: str(account.pk) != preferred):
        if not missing_scopes(provider, scopes, account.scopes_granted):
            return account, newest
    return None, newest


def connect_address(
    alias: str,
    scopes: Sequence[str],
    newest: list[ConnectedAccount],
    back: str = "",
    owner: str | None = None,
) -> str:
    """The page that connects, or asks for what is missing; empty where there is no such page."""
    address = browser.page_of("connect", alias)
    if not address:
        return ""
    # The scopes asked for before come along: a new grant takes the old one's place.
    optional = get_provider(alias).config.optional_scopes
    before = set(newest[0].scopes_wanted) & set(optional) if newest else set()
    wanted = [*scopes, *(scope for scope in optional if scope in before and scope not in scopes)]
    pairs = [("next", back)] if back else []
    pairs += [("scope", scope) for scope in wanted]
    if owner:
        pairs.append(("owner", owner))
    query = urlencode(pairs)
    return f"{address}?{query}" if query else address


def _way_back(request: HttpRequest) -> str:
    """This page; for a POST, which must not be repeated by a redirect, the page it came from."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    return browser.safe_next(request, request.headers.get("Referer", ""))
