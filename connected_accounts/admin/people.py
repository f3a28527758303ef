"""One page for each person (or team, or the site): accounts, failed attempts, revocations, events;
and the inline that leads there from a user's own page."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from connected_accounts.admin.addresses import admin_url, page_for, user_url
from connected_accounts.admin.large_lists import names_of, user_of, users_named
from connected_accounts.models import ConnectedAccount, Event, Kind, Revocation
from connected_accounts.owners import SITE_OWNER, is_owner_key, is_retired, owner_key
from connected_accounts.web.last_errors import explain_error

if TYPE_CHECKING:
    TabularInline = admin.TabularInline[ConnectedAccount, Any]
else:
    TabularInline = admin.TabularInline

__all__ = ["ConnectedAccountInline"]

SHOWN: Final = 50  # of each; the lists have the rest
FOUND: Final = 5
ATTEMPTS: Final = (Kind.CONNECT_FAILED, Kind.REFUSED)
TEMPLATE: Final = "admin/connected_accounts/connectedaccount/person.html"


class ConnectedAccountInline(TabularInline):
    """A user's connections on the user's own admin page, to be looked at: for ``inlines`` of the
    site's ``UserAdmin``."""

    model = ConnectedAccount
    template = "admin/connected_accounts/connectedaccount/inline.html"
    verbose_name_plural = _("connected accounts")
    fields = ("provider", "display_name", "status", "error")
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("account"))
    def display_name(self, obj: ConnectedAccount) -> str:
        return obj.display_name

    @admin.display(description=_("last error"))
    def error(self, obj: ConnectedAccount) -> str:
        return explain_error(obj.last_error)

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        key = owner_key(obj) if obj is not None else ""
        page = admin_url(self.admin_site.name, "connectedaccount_person", key) if key else ""
        formset.person_page = page  # type: ignore[attr-defined]  # for the template
        return formset


def people_named(request: HttpRequest, term: str) -> list[tuple[str, str]]:
    """Name and page of the people whom a search term may stand for: who has no account is in no
    list of accounts. None for who may not see what is on such a page then."""
    if not term or not request.user.has_perm("connected_accounts.view_event"):
        return []
    keys = [owner_key(user) for user in users_named(term)[:FOUND]]
    pages = {key: page_for(request, "connectedaccount_person", key) for key in keys}
    names = names_of(keys)
    return [(str(names[key]), page) for key, page in pages.items() if page]


@require_safe
def person_page(request: HttpRequest, context: dict[str, Any], key: str) -> HttpResponse:
    """All that is stored about the owner ``key``, as far as this member of staff may see it."""
    user = user_of(key)
    accounts = ConnectedAccount.objects.for_owner(key).select_related("user")
    known = key == SITE_OWNER or is_owner_key(key) or is_retired(key)
    if user is None and not (known or accounts.exists()):
        raise Http404
    who = names_of([key]).get(key, key)
    context |= {
        "title": who,
        "owner": key,
        "accounts": [
            {"row": row, "error": explain_error(row.last_error)}
            for row in accounts.order_by("provider", "pk")[:SHOWN]
        ],
        "user_page": user_url(request, user) if user is not None else "",
        "deactivated": user is not None and not user.is_active,
    }
    if request.user.has_perm("connected_accounts.view_event"):
        from connected_accounts.web.timeline import lines_of

        events = Event.objects.filter(owner_key=key)
        attempts = events.filter(kind__in=ATTEMPTS)[:SHOWN]
        context |= {"may_see_events": True, "attempts": list(lines_of(attempts))}
        context |= {"events": list(lines_of(events.exclude(kind__in=ATTEMPTS)[:SHOWN]))}
    if request.user.has_perm("connected_accounts.view_revocation"):
        owed = Revocation.objects.filter(owner_key=key).defer("token").order_by("-pk")[:SHOWN]
        rows = [{"row": row, "error": explain_error(row.last_error)} for row in owed]
        context |= {"may_see_revocations": True, "revocations": rows}
    return TemplateResponse(request, TEMPLATE, context)
