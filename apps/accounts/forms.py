"""Forms about oneself."""

from zoneinfo import available_timezones

from django import forms

from apps.accounts.models import TokenScope
from apps.accounts.tokens import MAX_DAYS


class EmergencyForm(forms.Form):
    """Nobody else has a password here."""

    username = forms.CharField(max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"}))
    password = forms.CharField(
        max_length=200, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class PasswordForm(forms.Form):
    """The same password once more, from whoever is signed in with it."""

    password = EmergencyForm.base_fields["password"]


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(max_length=100, help_text="What will use it, such as ‘backup script’.")
    scopes = forms.MultipleChoiceField(
        choices=TokenScope.choices, widget=forms.CheckboxSelectMultiple, label="It may", initial=[TokenScope.READ]
    )
    days = forms.IntegerField(min_value=1, max_value=MAX_DAYS, initial=30, label="Days until it expires")


class DeviceForm(forms.Form):
    """The code that `jit login` shows."""

    code = forms.CharField(
        max_length=20,
        label="Code",
        help_text="The eight letters that stand in the terminal.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}),
    )


class ProfileForm(forms.Form):
    """How the portal shows itself to one person."""

    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(available_timezones())],
        help_text="Times on the pages are shown in it. The record keeps UTC.",
    )
