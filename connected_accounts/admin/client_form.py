"""The form in which staff enter client credentials."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from connected_accounts.models import ProviderClient
from connected_accounts.providers.inputs import KNOWN
from connected_accounts.providers.registry import get_providers
from connected_accounts.secret import revealed
from connected_accounts.web.secret_field import SecretField

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[ProviderClient]
else:
    ModelForm = forms.ModelForm


class ProviderClientForm(ModelForm):
    """A new pair. There is no changing one: a new one takes its place, and it stays as a fall-back
    until it is removed."""

    provider = forms.ChoiceField(label=_("Provider"))
    new_secret = SecretField(
        label=_("Client secret"),
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Kept encrypted, and never shown again. Empty for a client without a secret."),
    )

    host = forms.CharField(
        label=_("Host or issuer"),
        required=False,
        help_text=_(
            "Where people choose among hosts: the one that this client is for, such as "
            "https://auth.example.com. Else empty."
        ),
    )

    class Meta:
        model = ProviderClient
        fields = ("provider", "host", "client_id")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [
            (p.alias, f"{p.name} ({p.alias})")
            for p in get_providers()
            if p.grant_type != "personal_token"
        ]
        if "provider" in self.fields:  # not where there is nothing to change
            self.fields["provider"].choices = choices  # type: ignore[attr-defined]

    def clean_host(self) -> str:
        provider, entered = self._provider(), str(self.cleaned_data["host"])
        if provider is None:
            return entered
        field = provider.client_host_field()
        if field is None:
            if entered:
                raise forms.ValidationError(_("One client serves all of this service."))
            return ""
        fault = field.fault(entered)
        if fault is not None:
            raise forms.ValidationError(fault)
        return entered

    def _provider(self) -> Any:
        alias = self.cleaned_data.get("provider")
        return next((p for p in get_providers() if p.alias == alias), None)

    def clean_client_id(self) -> str:
        client_id = self._checked("client_id")
        provider = self._provider()
        if ":" in client_id and provider is not None and provider.splits_client_at_colon:
            raise forms.ValidationError(_("A client id with a colon cannot be used here."))
        return client_id

    def clean_new_secret(self) -> str:
        return self._checked("new_secret") if self.cleaned_data["new_secret"] else ""

    def _checked(self, name: str) -> str:
        value: str = self.cleaned_data[name]
        known = KNOWN["client_id" if name == "client_id" else "client_secret"]
        fault = known.fault(revealed(value)) if value else None
        if fault is not None:
            raise forms.ValidationError(fault)
        return value
