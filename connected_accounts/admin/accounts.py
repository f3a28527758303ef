"""Connections as staff see them: their health, and two actions. No token, not even sealed.

A page imports what it alone needs: Django loads this module in every process.
"""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from connected_accounts import conf
from connected_accounts.admin.addresses import page_for, person_link
from connected_accounts.admin.large_lists import (
    ExpiringFilter,
    HostFilter,
    OwnerFilter,
    ProviderFilter,
    RefreshFilter,
    SearchedByPerson,
)
from connected_accounts.admin.records import PAUSE, FailingAdmin, our_context
from connected_accounts.models import ConnectedAccount
from connected_accounts.models.deployment import sites
from connected_accounts.owners import CONNECT_THE_SITE, SITE_OWNER

__all__ = ["ConnectedAccountAdmin"]


@admin.register(ConnectedAccount)
class ConnectedAccountAdmin(SearchedByPerson, FailingAdmin):
    """The accounts of everybody, with each provider's figures above them."""

    list_display = (
        "provider",
        "owner",
        "display_name",
        "state",
        "refresh_at",
    )
    list_display_links = ("provider", "display_name")
    list_filter = (
        ProviderFilter,
        HostFilter,
        "status",
        RefreshFilter,
        "reason",
        ExpiringFilter,
        OwnerFilter,
    )
    list_select_related = ("user",)
    ordering = ("-pk",)
    actions = (
        "refresh_now",
        "ask_to_reconnect",
        "download_csv",
        "give_to_another_owner",
        "disconnect_and_revoke",
    )
    change_list_template = "admin/connected_accounts/connectedaccount/change_list.html"
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("provider", "owner", "display_name", "subject", "connected_at")}),
        (
            _("Health"),
            {
                "fields": (
                    "status",
                    "reason",
                    "expires_at",
                    "refresh_at",
                    "refreshed_at",
                    "refresh_token_expires_at",
                    "failure_count",
                    "error_with_code",
                )
            },
        ),
        (
            pgettext_lazy("given at a service", "Permissions"),
            {"fields": ("scopes_wanted", "scopes_requested", "scopes_granted")},
        ),
    )

    @admin.display(description=_("status"), ordering="status")
    def state(self, obj: ConnectedAccount) -> Any:
        """Connected or not, and why; or what went wrong last time."""
        more = obj.get_reason_display() or self.last_error_of(obj)
        status = obj.get_status_display()
        return format_html("{}<br><small>{}</small>", status, more) if more else status

    @admin.display(description=_("owner"), ordering="owner_key")
    def owner(self, obj: ConnectedAccount) -> Any:
        """A user, the site, or the key of what the site calls an owner, such as a team."""
        words = obj.user or (_("the site") if obj.owner_key == SITE_OWNER else obj.owner_key)
        return person_link(self.admin_site.name, obj.owner_key, words)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Deleting withdraws the grant at the provider as well.
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_urls(self) -> list[Any]:
        # Loads what only pages need.
        from connected_accounts.web import request_secrets

        def page(view: Any) -> Any:
            # What a provider gave in exchange must not be rolled back with the request.
            view = transaction.non_atomic_requests(self.admin_site.admin_view(view))
            return request_secrets.forgetful(view)

        name = "connected_accounts_connectedaccount"
        return [
            path(
                "person/<str:key>/", self.admin_site.admin_view(self.person), name=f"{name}_person"
            ),
            path("connect/", page(self.connect_site), name=f"{name}_connect"),
            path("<path:pk>/connect-again/", page(self.reconnect_site), name=f"{name}_reconnect"),
            path("<path:pk>/test/", page(self.try_account), name=f"{name}_test"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters())
    def connect_site(self, request: HttpRequest) -> HttpResponse:
        """Connect an account that belongs to the site."""
        from connected_accounts.admin import site_accounts

        return site_accounts.connect_site(request, self._context(request, _("Connect an account")))

    @method_decorator(sensitive_post_parameters())
    def reconnect_site(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Connect an account that belongs to the site again."""
        from connected_accounts.admin import site_accounts

        return site_accounts.reconnect_site(request, self._context(request, _("Connect again")), pk)

    def person(self, request: HttpRequest, key: str) -> HttpResponse:
        """All that is stored about one person."""
        from connected_accounts.admin import people

        if not self.has_view_permission(request):
            raise PermissionDenied
        return people.person_page(request, self._context(request, ""), key)

    def try_account(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Call the provider once with the account's token."""
        from connected_accounts.admin import actions

        context = self._context(request, _("Test this connection"))
        return actions.try_account(request, context, pk)

    def _context(self, request: HttpRequest, title: Any) -> dict[str, Any]:
        return our_context(self, request, title)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        from connected_accounts.web.timeline import timeline

        more: dict[str, Any] = {
            "may_connect_the_site": request.user.has_perm(CONNECT_THE_SITE),
            "may_test": self.has_refresh_permission(request),
        }
        row = self.get_object(request, object_id)
        if row is not None and request.user.has_perm("connected_accounts.view_event"):
            more["timeline"] = timeline(row)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        """Refreshing changes the account, so it asks for the permission to change."""
        return request.user.has_perm("connected_accounts.change_connectedaccount")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """The list, with each provider's figures above it."""
        from connected_accounts.admin import people
        from connected_accounts.admin.figures import provider_figures
        from connected_accounts.operations.activity import DAYS

        above = {
            "figures": provider_figures(timezone.now()),
            "chart_days": DAYS,
            "may_pause": request.user.has_perm(PAUSE),
            "sites": sites(),
            "revocations": page_for(request, "revocation_changelist"),
            "events": page_for(request, "event_changelist"),
            "people": people.people_named(request, request.GET.get("q", "").strip()),
            "may_connect_the_site": request.user.has_perm(CONNECT_THE_SITE),
        }
        return super().changelist_view(request, {**above, **(extra_context or {})})

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django's own "delete selected" would say nothing of revocation.
        where = {} if action_location is None else {"action_location": action_location}  # 6.1
        actions: dict[str, Any] = super().get_actions(request, **where)
        actions.pop("delete_selected", None)
        return actions

    @admin.action(description=_("Refresh now"), permissions=["refresh"])
    def refresh_now(
        self, request: HttpRequest, queryset: QuerySet[ConnectedAccount]
    ) -> HttpResponse | None:
        from connected_accounts.admin import actions

        explanation = _("These accounts are refreshed now, even if they are waiting to retry.")
        context = self._context(request, _("Refresh now")) | {"explanation": explanation}
        if page := actions.ask_first(request, context, queryset, "refresh_now"):
            return page
        self.message_user(request, actions.refresh(queryset))
        return None

    @admin.action(description=_("Ask to reconnect, by e-mail"), permissions=["refresh"])
    def ask_to_reconnect(
        self, request: HttpRequest, queryset: QuerySet[ConnectedAccount]
    ) -> HttpResponse | None:
        from connected_accounts.admin import actions

        if not conf.get("REDIRECT_BASE_URL"):
            refusal = _("No mail can be sent: set REDIRECT_BASE_URL, where the link in it leads.")
            self.message_user(request, refusal, messages.ERROR)
            return None
        explanation = _(
            "Each person whose connection has ended gets one mail with a link to reconnect it. "
            "Whoever was sent one for it within the last week gets no other."
        )
        context = self._context(request, _("Ask to reconnect, by e-mail"))
        context |= {"explanation": explanation}
        if page := actions.ask_first(request, context, queryset, "ask_to_reconnect"):
            return page
        asked, left_out = actions.ask_to_reconnect(queryset)
        words = ngettext(
            "%(count)d person is being asked to reconnect.",
            "%(count)d people are being asked to reconnect.",
            asked,
        )
        self.message_user(request, words % {"count": asked}, messages.SUCCESS)
        if left_out:
            words = ngettext(
                "%(count)d account was left out: it works, or nobody can be written to about it.",
                "%(count)d accounts were left out: they work, or nobody can be written to about "
                "them.",
                left_out,
            )
            self.message_user(request, words % {"count": left_out})
        return None

    @admin.action(description=_("Download as CSV"), permissions=["view"])
    def download_csv(
        self, request: HttpRequest, queryset: QuerySet[ConnectedAccount]
    ) -> HttpResponseBase:
        from connected_accounts.admin import account_csv

        return account_csv.csv_response(queryset)

    @admin.action(description=_("Give to another owner"), permissions=["refresh"])
    def give_to_another_owner(
        self, request: HttpRequest, queryset: QuerySet[ConnectedAccount]
    ) -> HttpResponse | None:
        from connected_accounts.admin import actions

        explanation = _(
            "These accounts, with what they may do at the services, will belong to somebody else: "
            "write their user name, or the key of a team, such as team:7."
        )
        context = self._context(request, _("Give to another owner")) | {
            "explanation": explanation,
            "owner_label": _("New owner"),
        }
        if page := actions.ask_first(request, context, queryset, "give_to_another_owner"):
            return page
        moved, refusal = actions.give_away(request, queryset, request.POST.get("new_owner", ""))
        if refusal:
            self.message_user(request, refusal, messages.ERROR)
        if moved:
            words = ngettext(
                "%(count)d account was given away.", "%(count)d accounts were given away.", moved
            )
            self.message_user(request, words % {"count": moved}, messages.SUCCESS)
        return None

    @admin.action(description=_("Disconnect and revoke"), permissions=["delete"])
    def disconnect_and_revoke(
        self, request: HttpRequest, queryset: QuerySet[ConnectedAccount]
    ) -> HttpResponse | None:
        from connected_accounts.admin import actions

        explanation = _(
            "These accounts are deleted at once, and their permissions withdrawn at the providers. "
            "Their owners must connect them again to use them."
        )
        context = self._context(request, _("Disconnect and revoke")) | {"explanation": explanation}
        if page := actions.ask_first(request, context, queryset, "disconnect_and_revoke"):
            return page
        from connected_accounts import tasks  # loads Celery
        from connected_accounts.revoke.disconnect import disconnect

        accounts = list(queryset)
        for account in accounts:
            self.log_deletions(request, [account])  # type: ignore[arg-type]
            disconnect(account, by=request.user)
        tasks.enqueue(tasks.revoke_pending_tokens)
        self.message_user(
            request,
            ngettext(
                "%(count)d account is disconnected; its permission is being withdrawn.",
                "%(count)d accounts are disconnected; their permissions are being withdrawn.",
                len(accounts),
            )
            % {"count": len(accounts)},
            messages.SUCCESS,
        )
        return None
