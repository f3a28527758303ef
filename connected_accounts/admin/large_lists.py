"""Admin lists of tables with millions of rows: nothing in them reads or counts a whole table."""

from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.models import ProviderState, Status
from connected_accounts.owners import SITE_OWNER, owner_key

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
    ModelAdmin = admin.ModelAdmin[Any]
else:
    AnyPaginator = Paginator
    ModelAdmin = admin.ModelAdmin

COUNT_UP_TO: Final = 10_000
MAX_USERS: Final = 200  # whose name or address a search term may begin
MAX_HOSTS: Final = 50  # of one provider, to choose from
MAX_FOUND: Final = 1000  # twice: by person, and by what the row itself says


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


class HostFilter(admin.SimpleListFilter):
    """The hosts of one provider, by the state that is kept of each, whose look-up has an index."""

    title = _("host")
    parameter_name = "host"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        alias = request.GET.get("provider")
        states = ProviderState.objects.filter(provider=alias).exclude(host="").order_by("host")
        hosts = states.values_list("host", flat=True)[:MAX_HOSTS] if alias else ()
        found = dict.fromkeys([*hosts, self.value() or ""])
        return [(host, host) for host in found if host]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(host=self.value()) if self.value() else queryset


class ExpiringFilter(admin.SimpleListFilter):
    """Access tokens that run out soon. Accounts that are kept fresh come here and go again; one
    that stays has something the matter with it."""

    title = _("token expires")
    parameter_name = "expiring"
    spans: Final = {
        "hour": (_("within an hour"), timedelta(hours=1)),
        "day": (_("within a day"), timedelta(days=1)),
        "week": (_("within a week"), timedelta(weeks=1)),
        "over": (_("already expired"), timedelta(0)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, words) for name, (words, _span) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name, now = self.value(), timezone.now()
        if name not in self.spans:
            return queryset
        until = queryset.filter(expires_at__lte=now + self.spans[name][1])
        return until if name == "over" else until.filter(expires_at__gt=now)


class RefreshFilter(admin.SimpleListFilter):
    """The accounts that the figures count: whose refresh is due, overdue, or failed last time."""

    title = _("refresh")
    parameter_name = "refresh"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("failing", _("failing")), ("due", _("due")), ("overdue", _("overdue"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        match self.value():
            case "failing":
                return queryset.filter(status=Status.ACTIVE, failure_count__gt=0)
            case "due":
                return queryset.filter(refresh_at__lte=now)
            case "overdue":
                from connected_accounts.operations.health import MAX_OVERDUE  # not at start-up

                return queryset.filter(refresh_at__lt=now - timedelta(seconds=MAX_OVERDUE))
        return queryset


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


def user_of(key: str) -> Any:
    """The user whom the key of an owner stands for; None where it does for nobody."""
    return _users_of([key]).get(key)


def names_of(keys: Iterable[str]) -> dict[str, Any]:
    """The name of each owner that is a user or the site, by its key. One query."""
    users = {key: str(user) for key, user in _users_of(keys).items()}
    return {**users, SITE_OWNER: _("the site")}


def _users_of(keys: Iterable[str]) -> dict[str, Any]:
    kind, pks = get_user_model(), set()
    for key in {key for key in keys if key.startswith("user:")}:
        try:
            pks.add(kind._meta.pk.to_python(key.removeprefix("user:")))
        except ValidationError:
            continue  # a digest; whose it is stands in the account's row alone
    return {owner_key(user): user for user in kind._base_manager.filter(pk__in=pks)}


class SearchedByPerson(ModelAdmin):
    """A list that is searched by the beginning of a user's name or e-mail address too."""

    # By the beginning or as a whole; the table is read once for it, in get_search_results.
    search_fields: ClassVar[tuple[str, ...]] = ("label__istartswith", "subject__startswith")
    search_help_text = _("The beginning of a label, subject, user name or e-mail address.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, distinct = super().get_search_results(request, queryset, search_term)
        if search_term:
            # Looked up first, and apart: no join, and the table is read once for count and list.
            owners = [search_term, *(owner_key(user) for user in users_named(search_term))]
            pks = {*queryset.filter(owner_key__in=owners).values_list("pk", flat=True)[:MAX_FOUND]}
            pks |= {*found.order_by().values_list("pk", flat=True)[:MAX_FOUND]}
            found = queryset.filter(pk__in=pks)
        return found, distinct
