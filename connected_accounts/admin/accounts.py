"""Connections as staff see them: their health, and two actions. No token, not even sealed.

A page imports what it alone needs: Django loads this module in every process.
"""

from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters

from connected_accounts.admin.large_lists import (
    ExpiringFilter,
    OwnerFilter,
    ProviderFilter,
    users_named,
)
from connected_accounts.admin.records import ReadOnlyAdmin
from connected_accounts.models import ConnectedAccount
from connected_accounts.models.deployment import sites
from connected_accounts.owners import CONNECT_THE_SITE, SITE_OWNER, owner_key
from connected_accounts.providers.inputs import CREDENTIALS
from connected_accounts.revoke.disconnect import disconnect
from connected_accounts.web import request_secrets

MAX_FOUND: Final = 1000  # twice: by user, and by label or subject


@admin.register(ConnectedAccount)
class ConnectedAccountAdmin(ReadOnlyAdmin):
    list_display = (
        "provider",
        "owner",
        "display_name",
        "status",
        "expires_at",
        "refresh_at",
        "last_error",
    )
    list_display_links = ("provider", "display_name")
    list_filter = (ProviderFilter, "status", "reason", ExpiringFilter, OwnerFilter)
    list_select_related = ("user",)
    # By the beginning or as a whole; the table is read once for it, in get_search_results.
    search_fields = ("label__istartswith", "subject__startswith")
    search_help_text = _("The beginning of a label, subject, user name or e-mail address.")
    ordering = ("-pk",)
    actions = ("refresh_now", "give_to_another_owner", "disconnect_and_revoke")
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
                    "last_error",
                )
            },
        ),
        (_("Permissions"), {"fields": ("scopes_wanted", "scopes_requested", "scopes_granted")}),
    )

    @admin.display(description=_("owner"), ordering="owner_key")
    def owner(self, obj: ConnectedAccount) -> Any:
        """A user, the site, or the key of what the site calls an owner, such as a team."""
        if obj.user is not None:
            return obj.user
        return _("the site") if obj.owner_key == SITE_OWNER else obj.owner_key

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Deleting withdraws the grant at the provider as well.
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_urls(self) -> list[Any]:
        def page(view: Any) -> Any:
            # What a provider gave in exchange must not be rolled back with the request.
            view = transaction.non_atomic_requests(self.admin_site.admin_view(view))
            return request_secrets.forgetful(view)

        name = "connected_accounts_connectedaccount"
        return [
            path("connect/", page(self.connect_site), name=f"{name}_connect"),
            path("<path:pk>/connect-again/", page(self.reconnect_site), name=f"{name}_reconnect"),
            path("<path:pk>/test/", page(self.try_account), name=f"{name}_test"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters(*CREDENTIALS))
    def connect_site(self, request: HttpRequest) -> HttpResponse:
        """Connect an account that belongs to the site."""
        from connected_accounts.admin import site_accounts

        return site_accounts.connect_site(request, self._context(request, _("Connect an account")))

    @method_decorator(sensitive_post_parameters(*CREDENTIALS))
    def reconnect_site(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Connect an account that belongs to the site again."""
        from connected_accounts.admin import site_accounts

        return site_accounts.reconnect_site(request, self._context(request, _("Connect again")), pk)

    def try_account(self, request: HttpRequest, pk: str) -> HttpResponse:
        """Call the provider once with the account's token."""
        from connected_accounts.admin import actions

        context = self._context(request, _("Test this connection"))
        return actions.try_account(request, context, pk)

    def _context(self, request: HttpRequest, title: Any) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}

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
        from connected_accounts.admin.figures import provider_figures
        from connected_accounts.operations.activity import DAYS

        above = {
            "figures": provider_figures(timezone.now()),
            "chart_days": DAYS,
            "sites": sites(),
            "may_connect_the_site": request.user.has_perm(CONNECT_THE_SITE),
        }
        return super().changelist_view(request, {**above, **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, distinct = super().get_search_results(request, queryset, search_term)
        if search_term:
            # Looked up first, and apart: no join, and the table is read once for count and list.
            owners = [owner_key(user) for user in users_named(search_term)]
            pks = {*queryset.filter(owner_key__in=owners).values_list("pk", flat=True)[:MAX_FOUND]}
            pks |= {*found.order_by().values_list("pk", flat=True)[:MAX_FOUND]}
            found = queryset.filter(pk__in=pks)
        return found, distinct

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

        explanation = _("A worker refreshes these accounts now, whatever their backoff says.")
        context = self._context(request, _("Refresh now")) | {"explanation": explanation}
        if page := actions.ask_first(request, context, queryset, "refresh_now"):
            return page
        from connected_accounts import tasks  # loads Celery

        accounts = list(queryset.values_list("pk", flat=True))
        for pk in accounts:
            tasks.enqueue(tasks.refresh_account, pk)
        self.message_user(
            request,
            ngettext(
                "%(count)d account is being refreshed; reload the list to see how it went.",
                "%(count)d accounts are being refreshed; reload the list to see how it went.",
                len(accounts),
            )
            % {"count": len(accounts)},
        )
        return None

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
