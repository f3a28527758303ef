"""Admin lists of tables with millions of rows: nothing in them reads or counts a whole table."""

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.owners import SITE_OWNER

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

COUNT_UP_TO: Final = 10_000
MAX_USERS: Final = 200  # whose name or address a search term may begin


class BoundedPaginator(AnyPaginator):
    """Counts no further than ``COUNT_UP_TO``: an exact count reads every row of the table. To reach
    rows beyond, search or filter."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNT_UP_TO].count())


class ProviderFilter(admin.SimpleListFilter):
    """The aliases in settings. Django's own filter asks the table for all values that it has."""

    title = _("provider")
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        aliases = dict.fromkeys([*conf.provider_aliases(), self.value() or ""])
        return [(alias, alias) for alias in aliases if alias]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class ExpiringFilter(admin.SimpleListFilter):
    """Access tokens that run out soon. Accounts that are kept fresh come here and go again; one
    that stays has something the matter with it."""

    title = _("expiring within")
    parameter_name = "expiring"
    spans: Final = {
        "hour": (_("an hour"), timedelta(hours=1)),
        "day": (_("a day"), timedelta(days=1)),
        "week": (_("a week"), timedelta(weeks=1)),
        "over": (_("it has run out"), timedelta(0)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, words) for name, (words, _span) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name, now = self.value(), timezone.now()
        if name not in self.spans:
            return queryset
        until = queryset.filter(expires_at__lte=now + self.spans[name][1])
        return until if name == "over" else until.filter(expires_at__gt=now)


class OwnerFilter(admin.SimpleListFilter):
    """The kind of owner: the site itself, its users, or its teams and the like."""

    title = _("owner")
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("site", _("the site")), ("users", _("users")), ("others", _("others"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "site":
                return queryset.filter(owner_key=SITE_OWNER)
            case "users":
                return queryset.filter(user__isnull=False)
            case "others":
                return queryset.filter(user__isnull=True).exclude(owner_key=SITE_OWNER)
        return queryset


def users_named(term: str) -> list[Any]:
    """The users whose name begins with a search term, or whose address does if there is an @ in it.
    A name has an index; an address has none in Django's own table, so all of them are read."""
    kind = get_user_model()
    lookup = f"{kind.USERNAME_FIELD}__startswith"
    found = list(kind._default_manager.filter(**{lookup: term}).only("pk")[:MAX_USERS])
    email = kind.get_email_field_name()
    if not found and "@" in term and email in {f.name for f in kind._meta.get_fields()}:
        lookup = f"{email}__istartswith"
        found = list(kind._default_manager.filter(**{lookup: term}).only("pk")[:MAX_USERS])
    return found
