"""The data classes that every portal starts with. DBAs change their masks and add their own; none is ever missing."""

from typing import Any, Final

from apps.catalog.models import Column, DataClass

# name: (mask, what it is)
DEFAULTS: Final = {
    "address": ("hidden", "Streets and house numbers"),
    "biometric": ("hidden", "Fingerprints, faces, voices, genes"),
    "card": ("partial(0,4)", "Numbers of payment cards; PCI DSS allows the first six and the last four at most"),
    "credential": ("hidden", "Passwords, their hashes, tokens and keys"),
    "date_of_birth": ("date(year)", "Birthdays"),
    "email": ("email", "E-mail addresses"),
    "free_text": ("hidden", "What people have written, and may be about anybody"),
    "health": ("hidden", "Illness, absence, treatment"),
    "iban": ("partial(2,2)", "Bank accounts"),
    "ip_address": ("hidden", "Network addresses of people"),
    "location": ("hidden", "Where somebody is or was"),
    "name": ("partial(1,0)", "Names of people"),
    "national_id": ("hidden", "Numbers that a state gives: social security, tax, passport"),
    "phone": ("partial(0,2)", "Telephone numbers"),
    "postal_code": ("partial(2,0)", "Postal codes"),
    "salary": ("hidden", "What somebody earns"),
}


def ensure_defaults(*, using: str = "default", **_: Any) -> None:
    """Runs after every migration. What columns were called before data classes had rows is hidden."""
    used = Column.objects.using(using).exclude(data_class="").order_by().values_list("data_class", flat=True).distinct()
    DataClass.objects.using(using).bulk_create(
        [
            *(DataClass(name=name, mask=mask, description=what) for name, (mask, what) in DEFAULTS.items()),
            *(DataClass(name=name) for name in used if name not in DEFAULTS),
        ],
        ignore_conflicts=True,
    )
