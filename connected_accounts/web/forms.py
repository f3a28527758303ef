"""The form for a provider's inputs before a connection."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from connected_accounts.providers.base import Provider
from connected_accounts.providers.inputs import (
    MAX_INPUT,
    OWN_CLIENT,
    ConnectField,
    field_named,
)
from connected_accounts.secret import Secret, revealed
from connected_accounts.web.secret_field import SecretField

NOT_ACCEPTED = _("The service does not accept this. Please check it and try again.")


def _stripped(value: str) -> str:
    return Secret(value.reveal().strip(" \t")) if isinstance(value, Secret) else value.strip(" \t")


def _is_good(field: ConnectField, known: dict[str, str]) -> bool:
    """Whether a value is known that may be used still: settings may have other choices by now."""
    return field.name in known and field.fault(known[field.name]) is None


class ConnectForm(forms.Form):
    """The provider's ``asked_fields``. ``known`` values, those of an account that is connected
    again, are not asked for."""

    def __init__(
        self,
        provider: Provider,
        data: Any = None,
        *,
        for_site: bool = False,
        known: dict[str, str] | None = None,
        with_client: bool = False,
    ) -> None:
        super().__init__(data)
        fields = provider.asked_fields(for_site=for_site)
        self.optional: tuple[str, ...] = ()
        if with_client or ("server" in provider.connect_fields and "client_id" in self.data):
            fields += [field_named(name) for name in OWN_CLIENT]
            self.optional = ("client_secret",)  # a public client has none
        self.known = {f.name: known[f.name] for f in fields if known and _is_good(f, known)}
        self.asked = [field for field in fields if field.name not in self.known]
        for field in self.asked:
            self.fields[field.name] = _form_field(field)
            self.fields[field.name].required = field.name not in self.optional

    @property
    def was_sent(self) -> bool:
        """Whether any field came along: a bare connect button sends none."""
        return any(field.name in self.data for field in self.asked)

    def clean(self) -> dict[str, Any]:
        for field in self.asked:
            value = self.cleaned_data.get(field.name)
            if value is None or (not value and field.name in self.optional):
                continue
            # A copied text may have blanks around it; a line break within is another matter.
            self.cleaned_data[field.name] = value = _stripped(value)
            fault = field.fault(revealed(value))
            if fault is not None:
                self.add_error(field.name, fault)
        return self.cleaned_data

    @property
    def values(self) -> dict[str, str]:
        """All the provider's fields, once the form is valid; secrets are Secret."""
        entered = {n: v for n, v in self.cleaned_data.items() if v or n not in self.optional}
        return self.known | entered


def _form_field(field: ConnectField) -> forms.Field:
    text = {"label": field.label, "help_text": field.help_text}
    if field.kind == "choice":
        return forms.ChoiceField(choices=[(c, c) for c in field.choices], **text)
    attrs = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
    if field.kind == "secret":
        widget: forms.Widget = forms.PasswordInput(attrs=attrs)
        return SecretField(widget=widget, strip=False, max_length=MAX_INPUT, **text)
    if field.kind == "server" and len(field.choices) == 1:
        text["initial"] = field.choices[0]
    widget = forms.TextInput(attrs=attrs)
    return forms.CharField(widget=widget, strip=False, max_length=MAX_INPUT, **text)
