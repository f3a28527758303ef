"""The records that the flows write, for staff to look at: revocations, events, provider states."""

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from connected_accounts import conf
from connected_accounts.admin.addresses import first_page_for, page_for, person_link
from connected_accounts.admin.large_lists import (
    BoundedPaginator,
    ProviderFilter,
    SearchedByPerson,
    names_of,
)
from connected_accounts.models import Deployment, Event, Outcome, ProviderState, Revocation

__all__ = ["EventAdmin", "ProviderStateAdmin", "RevocationAdmin"]

PAUSE: Final = "connected_accounts.change_providerstate"  # the permission
CONFIRM: Final = "admin/connected_accounts/connectedaccount/confirm.html"

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


def our_context(made: ModelAdmin, request: HttpRequest, title: Any) -> dict[str, Any]:
    """The context of a page of our own, with the ways back that its reader may go."""
    return {
        **made.admin_site.each_context(request),
        "title": title,
        "opts": made.opts,
        "accounts_page": page_for(request, "connectedaccount_changelist"),
        "back": first_page_for(request),
    }


class ForgetfulAdmin(ModelAdmin):
    """Whatever breaks in a page of ours, what was entered is in no crash report, as on the pages
    for people."""

    def get_urls(self) -> list[Any]:
        # Loads what only pages need.
        from connected_accounts.web import request_secrets

        patterns = super().get_urls()
        for pattern in patterns:
            pattern.callback = request_secrets.forgetful(pattern.callback)
        return patterns


class ReadOnlyAdmin(ForgetfulAdmin):
    """To be looked at: what stands here is written by the flows alone."""

    @admin.display(description=_("label"), ordering="label")
    def display_name(self, obj: Any) -> str:
        """The label, and the host, account or server that the person chose."""
        return str(obj.display_name)

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("connected_accounts/admin.css",)}

    show_full_result_count = False
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class FailingAdmin(ReadOnlyAdmin):
    """Rows with a ``last_error``."""

    def last_error_of(self, obj: Any) -> str:
        """The last failure in a sentence; empty where there was none."""
        from connected_accounts.web.last_errors import explain_error  # not at start-up

        return explain_error(obj.last_error)

    @admin.display(description=_("last error"))
    def error_with_code(self, obj: Any) -> Any:
        """In a sentence, with the code that stands in the log."""
        if not obj.last_error:
            return "–"
        return format_html("{} <code>{}</code>", self.last_error_of(obj), obj.last_error)


class OwnedAdmin(SearchedByPerson, ReadOnlyAdmin):
    """Rows that are somebody's: found by the person, each with a link to the person's page."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        from connected_accounts.admin.owned_list import OwnedChangeList  # not at start-up

        return OwnedChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.shows_person = bool(page_for(request, "connectedaccount_changelist"))
        return row

    @admin.display(description=_("owner"), ordering="owner_key")
    def owner(self, obj: Any) -> Any:
        """A user, the site, or the key of what the site calls an owner, such as a team."""
        name = getattr(obj, "owner_name", None)
        name = name or names_of([obj.owner_key]).get(obj.owner_key, obj.owner_key)
        linked = obj.owner_key and getattr(obj, "shows_person", False)
        return person_link(self.admin_site.name, obj.owner_key, name) if linked else name


@admin.register(Revocation)
class RevocationAdmin(OwnedAdmin, FailingAdmin):
    """The outbox: grants that are to be withdrawn, and how that went."""

    actions = ("try_again",)
    list_display = (
        "provider",
        "display_name",
        "owner",
        "state",
        "attempts",
        "next_attempt_at",
    )
    list_filter = (ProviderFilter, "outcome", "cause")
    ordering = ("-pk",)
    fields = (
        "provider",
        "display_name",
        "subject",
        "owner",
        "cause",
        "outcome",
        "attempts",
        "error_with_code",
        "created_at",
        "next_attempt_at",
        "finished_at",
    )

    @admin.display(description=_("outcome"), ordering="outcome")
    def state(self, obj: Revocation) -> Any:
        """The outcome, and what went wrong last time."""
        outcome, error = obj.get_outcome_display(), self.last_error_of(obj)
        return format_html("{}<br><small>{}</small>", outcome, error) if error else outcome

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("connected_accounts.change_revocation")

    @admin.action(description=_("Try again now"), permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Revocation]) -> None:
        from connected_accounts import tasks  # loads Celery

        open_ones = queryset.filter(outcome__in=(Outcome.PENDING, Outcome.GIVEN_UP))
        count = open_ones.update(next_attempt_at=timezone.now())
        tasks.enqueue(tasks.revoke_pending_tokens)
        words = ngettext(
            "%(count)d revocation is tried again now; reload the list to see how it went.",
            "%(count)d revocations are tried again now; reload the list to see how it went.",
            count,
        )
        self.message_user(request, words % {"count": count}, messages.SUCCESS)


@admin.register(Event)
class EventAdmin(OwnedAdmin):
    """The events of the last days, of everybody."""

    list_display = ("at", "kind", "provider", "label", "owner", "detail", "reference")
    list_filter = ("kind", ProviderFilter)
    search_fields: ClassVar[tuple[str, ...]] = (
        "reference__exact",
        *SearchedByPerson.search_fields,
    )
    search_help_text = _(
        "The reference of a failure, or the beginning of a label, subject, user name or e-mail "
        "address."
    )
    fields = (
        "at",
        "kind",
        "provider",
        "owner",
        "subject",
        "label",
        "detail",
        "reference",
    )
    ordering = ("-pk",)


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnlyAdmin):
    """The pauses of providers, and two pages that begin and end one by hand."""

    list_display = ("provider", "host", "paused_until", "pause_reason")
    fields = ("provider", "host", "paused_until", "pause_reason")

    def get_urls(self) -> list[Any]:
        def page(view: Any, name: str) -> Any:
            view = self.admin_site.admin_view(view)
            return path(
                f"<slug:alias>/{name}/", view, name=f"connected_accounts_providerstate_{name}"
            )

        return [page(self.pause, "pause"), page(self.resume, "resume"), *super().get_urls()]

    def pause(self, request: HttpRequest, alias: str) -> HttpResponse:
        """Ask first; then send no refresh to a provider until it is resumed."""
        from connected_accounts.provider_state import pauses  # not at start-up

        explanation = _(
            "Nothing is refreshed at this provider until you resume it. Tokens that have not "
            "expired can be used; disconnecting goes on."
        )
        title = _("Pause %(provider)s") % {"provider": alias}
        return self._ask_or_do(request, alias, title, explanation, pauses.pause_by_hand)

    def resume(self, request: HttpRequest, alias: str) -> HttpResponse:
        """Ask first; then refresh at a provider again, whatever paused it."""
        from connected_accounts.provider_state import pauses  # not at start-up

        explanation = _("What is due at this provider is refreshed again.")
        title = _("Resume %(provider)s") % {"provider": alias}
        return self._ask_or_do(request, alias, title, explanation, pauses.resume_by_hand)

    def _ask_or_do(
        self, request: HttpRequest, alias: str, title: str, explanation: Any, change: Any
    ) -> HttpResponse:
        if not request.user.has_perm(PAUSE):
            raise PermissionDenied
        if alias not in conf.provider_aliases():
            raise Http404
        if request.method == "POST":
            self.log_change(request, change(alias), title)
            self.message_user(request, title, messages.SUCCESS)
            return redirect(first_page_for(request))
        context = our_context(self, request, title) | {"explanation": explanation}
        return TemplateResponse(request, CONFIRM, context)


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ("site_id", "adopted_at")
    fields = ("site_id", "adopted_at")
