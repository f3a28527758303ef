"""The form field of a secret."""

from typing import Any

from django import forms

from connected_accounts.secret import Secret, revealed


class SecretField(forms.CharField):
    """A secret that a person enters. It is a Secret in the request, where that was looked after,
    and in ``cleaned_data`` always; what was entered is never put into a page again."""

    widget = forms.PasswordInput

    def clean(self, value: Any) -> Any:
        text: str = super().clean(None if value is None else revealed(value))
        return Secret(text) if text else ""
