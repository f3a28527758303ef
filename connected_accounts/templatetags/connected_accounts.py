"""``{% load connected_accounts %}``: connect buttons and the user's connections."""

from collections.abc import Iterable
from typing import Any

from django import template
from django.db.models import QuerySet
from django.utils import timezone

from connected_accounts.clients.credentials import connectable
from connected_accounts.connect.next_page import web_address
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import may_connect
from connected_accounts.providers.registry import get_provider
from connected_accounts.web.browser import safe_next
from connected_accounts.web.cards import PER_PAGE, account_card, ended
from connected_accounts.web.way import way_to_more

register = template.Library()


@register.inclusion_tag("connected_accounts/_connect_button.html", takes_context=True)
def connect_button(
    context: template.Context,
    alias: str,
    next: str | None = None,
    scopes: Iterable[str] = (),
    ask: bool = False,
    quiet: bool = False,
    popup: bool = False,
    owner: str | None = None,
) -> dict[str, Any]:
    """A form with one button that starts connecting ``alias``. Afterwards the person comes back to
    ``next``, a page of this site, or to this page. ``scopes`` is a list, or a text with spaces
    between. With ``ask`` it leads to the page that says what will be asked for; with ``quiet`` it
    is less prominent; with ``popup`` the optional script opens the provider in a window of its own.
    ``owner`` is the key of the team that the account will belong to; there is no button for who may
    not connect for it."""
    request = context.get("request")
    if next is None:
        next = request.get_full_path() if request is not None else ""
    next = safe_next(request, next) if request is not None else web_address(next)
    provider = get_provider(alias)
    # A key that a template could not find is an empty text: it names nobody, and not the user.
    permitted = owner is None or may_connect(_user(context), owner)
    return {
        # There may be no client yet.
        "provider": provider if permitted and connectable([provider]) else None,
        "owner": owner,
        "next": next,
        "scopes": scopes.split() if isinstance(scopes, str) else list(scopes),
        "csrf_token": context.get("csrf_token"),
        "ask": ask,
        "quiet": quiet,
        "popup": popup and not ask,
    }


@register.inclusion_tag("connected_accounts/_permission_button.html", takes_context=True)
def permission_button(
    context: template.Context,
    account: ConnectedAccount,
    scopes: Iterable[str],
    next: str | None = None,
) -> dict[str, Any]:
    """A link to the page that asks for more permissions for ``account``: the ``scopes`` of an
    InsufficientScope. Afterwards the person comes back to ``next``, or to this page. Nothing where
    asking would not help: they were asked for before, or only somebody else of the team may
    connect."""
    if account.user_id is None and not may_connect(_user(context), account.owner_key):
        return {"address": ""}
    request = context.get("request")
    if next is None:
        next = request.get_full_path() if request is not None else ""
    wanted = scopes.split() if isinstance(scopes, str) else list(scopes)
    return {"address": way_to_more(account, wanted, next)}


@register.inclusion_tag("connected_accounts/_banner.html", takes_context=True)
def needs_you_banner(context: template.Context) -> dict[str, Any]:
    """The connections of the signed-in user that must be connected again, each with a link, the
    newest 50; nothing where there is none, and on the app's own pages, which say it themselves."""
    match = getattr(context.get("request"), "resolver_match", None)
    if match is not None and "connected_accounts" in match.app_names:
        return {"needing": []}
    now = timezone.now()
    rows = user_connections(context).filter(ended(now))[:PER_PAGE]
    cards = [account_card(row, now) for row in rows]
    return {"needing": [card for card in cards if card.needs_you]}


@register.simple_tag(takes_context=True)
def user_connections(context: template.Context) -> QuerySet[ConnectedAccount]:
    """The connections of the signed-in user, newest first; none for an anonymous one."""
    user = _user(context)
    if user is None:
        nobodys: QuerySet[ConnectedAccount] = ConnectedAccount.objects.none()
        return nobodys
    found: QuerySet[ConnectedAccount] = ConnectedAccount.objects.for_user(user)
    return found.order_by("-connected_at")


@register.simple_tag(takes_context=True)
def team_connections(context: template.Context, owner: str) -> QuerySet[ConnectedAccount]:
    """The connections of the team with this key, newest first; none for a user who does not see
    them."""
    seen: QuerySet[ConnectedAccount] = ConnectedAccount.objects.visible_to(_user(context))
    return seen.for_owner(owner).order_by("-connected_at")  # type: ignore[attr-defined, no-any-return]


def _user(context: template.Context) -> Any:
    """The signed-in user; None for nobody."""
    request = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    return user if user is not None and user.is_authenticated else None
