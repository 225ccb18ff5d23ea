"""More time on a request's page: asking for it, what was asked for, and what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms

from apps.accounts.models import User
from apps.grants.models import Extension, Grant
from apps.grants.states import ExtensionStatus, GrantStatus
from apps.portal.forms import RefusableForm
from apps.portal.words import span
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

PRESETS: Final = (15, 30, 60, 120, 240)
_SOON: Final = timedelta(minutes=10)  # before the end, or a quarter of the time


class LongerForm(RefusableForm):
    minutes = forms.IntegerField(
        initial=30,
        widget=forms.Select(choices=[(minutes, span(minutes)) for minutes in PRESETS]),
        error_messages={"required": "Say for how many minutes.", "invalid": "Give a whole number of minutes."},
    )
    reason = forms.CharField(required=False)


@dataclass(frozen=True)
class Asked:
    """On the page of the access: what was asked for so far, and whether more can be."""

    rows: list[AccessRequest]
    may_ask: bool
    is_soon: bool  # the form is not to be looked for then

    @property
    def state(self) -> list[Any]:
        told = [(row.pk, row.status, row.minutes, _status(row)) for row in self.rows]
        return [told, self.may_ask, self.is_soon]


@dataclass(frozen=True)
class Outcome:
    """On the page of the request for more time. Ends are None where there is nothing to move any more."""

    grant: Grant | None
    extension: Extension | None
    in_all: int  # minutes that the access would last
    ends_at: datetime | None
    would_end_at: datetime | None

    @property
    def is_at_work(self) -> bool:
        return self.extension is None or self.extension.status == ExtensionStatus.QUEUED

    @property
    def state(self) -> list[Any]:
        extension = self.extension
        return [self.ends_at, (extension.status, extension.problem) if extension else None]


def asked(row: AccessRequest, grant: Grant | None, user: User, now: datetime) -> Asked | None:
    """None for a request that became no access."""
    if grant is None:
        return None
    rows = list(row.extended_by.select_related("extension").order_by("submitted_at"))
    is_live = grant.status == GrantStatus.ACTIVE and grant.expires_at is not None and grant.expires_at > now
    may_ask = is_live and grant.holder_id == user.pk and not grant.break_glass and not any(map(_waits, rows))
    lead = max(_SOON, timedelta(minutes=grant.minutes) / 4)
    return Asked(rows, may_ask, may_ask and grant.expires_at is not None and grant.expires_at - now < lead)


def outcome(row: AccessRequest) -> Outcome | None:
    """None for what is no request for more time."""
    if row.extends is None:
        return None
    grant: Grant | None = getattr(row.extends, "grant", None)
    extension: Extension | None = getattr(row, "extension", None)
    before_that: int = row.facts["minutes"] - row.asked_scope["minutes"]
    ends_at = grant.expires_at if grant is not None and grant.status == GrantStatus.ACTIVE else None
    still_to_come = extension is None or extension.status == ExtensionStatus.QUEUED
    return Outcome(
        grant=grant,
        extension=extension,
        in_all=before_that + row.minutes,
        ends_at=ends_at,
        would_end_at=ends_at + timedelta(minutes=row.minutes) if ends_at and still_to_come else None,
    )


def _waits(row: AccessRequest) -> bool:
    open_yet = row.status == RequestStatus.APPROVED and _status(row) in {None, ExtensionStatus.QUEUED}
    return open_yet or row.status == RequestStatus.PENDING


def _status(row: AccessRequest) -> str | None:
    extension: Extension | None = getattr(row, "extension", None)
    return extension.status if extension else None
