"""The records that the flows write, for staff to look at: revocations, events, provider states."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from connected_accounts.admin.large_lists import BoundedPaginator, ProviderFilter
from connected_accounts.models import Deployment, Event, ProviderState, Revocation

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """To be looked at: what stands here is written by the flows alone."""

    @admin.display(description=_("label"), ordering="label")
    def display_name(self, obj: Any) -> str:
        """The label, and the host, account or server that the person chose."""
        return str(obj.display_name)

    show_full_result_count = False
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Revocation)
class RevocationAdmin(ReadOnlyAdmin):
    list_display = (
        "provider",
        "display_name",
        "owner_key",
        "outcome",
        "attempts",
        "next_attempt_at",
        "last_error",
        "created_at",
    )
    list_filter = (ProviderFilter, "outcome", "cause")
    search_fields = ("label__istartswith", "subject__startswith", "owner_key__exact")
    ordering = ("-pk",)
    fields = (
        "provider",
        "display_name",
        "subject",
        "owner_key",
        "cause",
        "outcome",
        "attempts",
        "last_error",
        "created_at",
        "next_attempt_at",
        "finished_at",
    )


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("at", "kind", "provider", "label", "owner_key", "detail", "reference")
    list_filter = ("kind", ProviderFilter)
    search_fields = (
        "reference__exact",
        "label__istartswith",
        "subject__startswith",
        "owner_key__exact",
    )
    ordering = ("-pk",)


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnlyAdmin):
    list_display = ("provider", "host", "paused_until", "pause_reason")
    fields = ("provider", "host", "paused_until", "pause_reason")


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ("site_id", "adopted_at")
    fields = ("site_id", "adopted_at")
