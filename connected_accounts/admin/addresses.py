"""The addresses of admin pages, on whichever admin site a request is for."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html


def admin_url(site: str, page: str, *args: Any) -> str:
    """The address of ``page``, such as ``event_changelist``, on the admin site of that name; empty
    where it does not have the page."""
    return _reversed(site, f"connected_accounts_{page}", args)


def site_of(request: HttpRequest) -> str:
    """The name of the admin site that a request came to."""
    match = request.resolver_match
    return match.namespace if match is not None else "admin"


def page_for(request: HttpRequest, page: str, *args: Any) -> str:
    """The same on the admin site of a request; empty also where its user may not see the page."""
    model = page.partition("_")[0]
    seen = _may_see(request, "connected_accounts", model)
    return admin_url(site_of(request), page, *args) if seen else ""


def first_page_for(request: HttpRequest) -> str:
    """The list of accounts; the first page of the admin for who may not see it."""
    accounts = page_for(request, "connectedaccount_changelist")
    return accounts or reverse("admin:index", current_app=site_of(request))


def user_url(request: HttpRequest, user: Any) -> str:
    """The address of a user's own page; empty where the admin site does not have users, or the
    reader may not see them."""
    meta = get_user_model()._meta
    if not _may_see(request, meta.app_label, str(meta.model_name)):
        return ""
    return _reversed(site_of(request), f"{meta.app_label}_{meta.model_name}_change", (user.pk,))


def _may_see(request: HttpRequest, app: str, model: str) -> bool:
    """As Django's admin has it: who may change may see."""
    user = request.user
    return user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")


def person_link(site: str, key: str, words: Any) -> Any:
    """``words``, as a link to the page of the owner ``key`` where there is one."""
    url = admin_url(site, "connectedaccount_person", key)
    return format_html('<a href="{}">{}</a>', url, words) if url else words


def _reversed(site: str, name: str, args: Any) -> str:
    try:
        return reverse(f"admin:{name}", args=args, current_app=site)
    except NoReverseMatch:
        return ""
