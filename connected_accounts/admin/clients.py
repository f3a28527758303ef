"""Client credentials as staff see them: entered here, write-only, and never shown again."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from connected_accounts import security
from connected_accounts.admin.records import ForgetfulAdmin
from connected_accounts.models import ProviderClient
from connected_accounts.owners import SITE_OWNER


def _dependents_of(row: ProviderClient) -> int:
    from connected_accounts.clients.credentials import dependents_of  # not at start-up

    return dependents_of(row)


@admin.register(ProviderClient)
@method_decorator(sensitive_post_parameters("new_secret"), name="changeform_view")
class ProviderClientAdmin(ForgetfulAdmin):
    list_display = ("provider", "host", "client_id", "state", "created_at", "refused_at")
    list_filter = ("provider",)
    search_fields = ("client_id__exact",)
    ordering = ("-pk",)
    show_full_result_count = False
    actions = None
    change_list_template = "admin/connected_accounts/providerclient/change_list.html"
    delete_confirmation_template = (
        "admin/connected_accounts/providerclient/delete_confirmation.html"
    )
    readonly: ClassVar[tuple[str, ...]] = (
        "provider",
        "host",
        "client_id",
        "state",
        "accounts",
        "created_at",
        "retired_at",
        "refused_at",
        "secret_expires_at",
    )

    @property
    def form(self) -> Any:  # type: ignore[override]  # Django has an attribute
        from connected_accounts.admin.client_form import ProviderClientForm  # not at start-up

        return ProviderClientForm

    def get_queryset(self, request: HttpRequest) -> Any:
        # People's own credentials are theirs.
        rows = super().get_queryset(request).filter(owner_key=SITE_OWNER).defer("client_secret")
        in_use = ProviderClient.objects.in_use(OuterRef("provider"), host=OuterRef("host"))
        return rows.annotate(newest=Subquery(in_use.values("pk")[:1]))

    def get_fields(self, request: HttpRequest, obj: ProviderClient | None = None) -> Any:
        return ("provider", "host", "client_id", "new_secret") if obj is None else self.readonly

    def get_readonly_fields(self, request: HttpRequest, obj: ProviderClient | None = None) -> Any:
        return () if obj is None else self.readonly

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: ProviderClient, form: Any, change: bool
    ) -> None:
        obj.created_at = timezone.now()
        secret = form.cleaned_data["new_secret"]
        if secret:
            sealed = obj.sealed(secret)
            obj.client_secret = sealed  # type: ignore[assignment]
        super().save_model(request, obj, form, change)
        security.log(
            security.SecurityEvent.CLIENT_STORED, provider=obj.provider, owner=obj.owner_key
        )

    @admin.display(description=_("state"))
    def state(self, obj: Any) -> str:
        now = timezone.now()
        if obj.retired_at is not None or (obj.secret_expires_at and obj.secret_expires_at <= now):
            return str(_("retired"))
        return str(_("in use") if obj.newest == obj.pk else _("fall-back"))

    @admin.display(description=_("accounts that need it"))
    def accounts(self, obj: ProviderClient) -> int:
        return _dependents_of(obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "in_settings": self._in_settings()}
        return super().changelist_view(request, context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        found = _dependents_of(obj) if obj is not None else 0
        return super().delete_view(request, object_id, {"dependents": found})

    def _in_settings(self) -> list[dict[str, Any]]:
        """The pairs of settings that something entered here goes before."""
        # Not at start-up.
        from connected_accounts.clients.credentials import dependents
        from connected_accounts.providers.registry import get_providers

        entered = set(
            ProviderClient.objects.entered()
            .filter(retired_at__isnull=True)
            .values_list("provider", flat=True)
        )
        return [
            {
                "provider": p.alias,
                "client_id": p.config.client_id,
                "accounts": dependents(p.alias, p.config.client_id),
            }
            for p in get_providers()
            if p.config.client_id and p.alias in entered
        ]
