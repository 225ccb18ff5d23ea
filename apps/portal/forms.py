"""What people type, before a verb judges it. The verbs' refusals come back beside the fields."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS

from apps.catalog.names import WholeSchema, parse_column, parse_table
from apps.core.errors import Invalid, PortalError
from apps.engines.base import Level
from apps.policies.models import Connection
from apps.portal import names
from apps.portal.words import LEVELS
from apps.reports.listing import REPORTS
from apps.reports.services import Wanted, moment
from apps.requests.services import Ask

# How a grant can be used; first the one that is offered: it adds nothing to the risk.
CONNECTIONS = (Connection.CONSOLE, Connection.DIRECT)
PRESETS = (15, 60, 240, 480)
_REASON_TO_COME = "(not given yet)"
_MOMENT = "%Y-%m-%dT%H:%M"


class RefusableForm(forms.Form):
    """A form that shows why a verb refused."""

    def refuse(self, error: PortalError) -> None:
        field = error.field if error.field in self.fields else None
        if error.sentence not in self.errors.get(field or NON_FIELD_ERRORS, ()):
            self.add_error(field, error.sentence)


class EditForm(RefusableForm):
    """What the second person says about an edit."""

    comment = forms.CharField(required=False)


class BreakForm(RefusableForm):
    """Why the record may go on, in the words of the second person."""

    reason = forms.CharField(error_messages={"required": "Say why the record may go on as it is."})


class NamesField(forms.Field):
    """Ticks that share one field: their names, as they were sent."""

    widget = forms.MultipleHiddenInput


class AskForm(RefusableForm):
    """A request. `tables` is the truth about what is asked for; `pick` are ticks that a page without scripts adds."""

    database = forms.CharField(max_length=63, error_messages={"required": "Choose a database."})
    tables = forms.CharField(required=False)
    level = forms.ChoiceField(choices=[(level.value, LEVELS[level][0]) for level in Level], initial=Level.QUERY.value)
    connection = forms.ChoiceField(
        choices=[(way.value, way.label) for way in CONNECTIONS], initial=CONNECTIONS[0].value
    )
    minutes = forms.IntegerField(
        initial=60,
        error_messages={"required": "Say for how many minutes.", "invalid": "Give a whole number of minutes."},
    )
    unmask = NamesField(required=False)
    starts_at = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(format=_MOMENT),
        error_messages={"invalid": "Give a day and a time, such as 2026-01-31 09:00."},
    )
    reason = forms.CharField(required=False)
    ticket = forms.CharField(required=False)
    statement = forms.CharField(required=False, strip=False)
    expected_rows = forms.IntegerField(
        required=False, error_messages={"invalid": "Give the expected rows as a whole number, or leave it empty."}
    )
    break_glass = forms.BooleanField(required=False)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(_with_picks(data), initial=initial)

    @property
    def names(self) -> tuple[str, ...]:
        return names.split(self["tables"].value() or "")

    @property
    def unmask_names(self) -> tuple[str, ...]:
        """What is ticked, of the tables that are still chosen: the rest went with its table."""
        ticked = self["unmask"].value()
        return tuple(_of_tables(ticked, self.names)) if ticked else ()

    def clean_statement(self) -> str:
        """Browsers send the ends of lines as CR LF, whatever was typed."""
        text: str = self.cleaned_data["statement"]
        return text.replace("\r\n", "\n") if text.strip() else ""

    def ask(self, *, draft: bool = False) -> Ask:
        """After is_valid(). A draft may still lack its reason: the preview does not depend on it."""
        given = self.cleaned_data
        starts_at: datetime | None = given["starts_at"]
        return Ask(
            database=given["database"],
            level=given["level"],
            tables=names.split(given["tables"]),
            unmask=self.unmask_names,
            connection=given["connection"],
            minutes=given["minutes"],
            starts_at=starts_at,
            reason=given["reason"] or (_REASON_TO_COME if draft else ""),
            ticket=given["ticket"],
            statement=given["statement"],
            expected_rows=given["expected_rows"],
            break_glass=given["break_glass"],
        )


class DecideForm(RefusableForm):
    """A yes to all or to less of it, or a no. An empty field means: as asked."""

    seen_digest = forms.CharField(max_length=64)
    comment = forms.CharField(required=False)
    minutes = forms.IntegerField(required=False, error_messages={"invalid": "Give a whole number of minutes."})


class RecordForm(RefusableForm):
    """Which entries of the record to show. Everything empty: all of them."""

    action = forms.CharField(required=False, max_length=64)
    person = forms.CharField(required=False, max_length=150)
    subject = forms.CharField(required=False, max_length=200)
    database = forms.CharField(required=False, max_length=200)
    life = forms.CharField(required=False, max_length=200)  # of a request, with its grants
    since = forms.DateTimeField(required=False)
    until = forms.DateTimeField(required=False)
    before = forms.IntegerField(required=False, min_value=0, max_value=2**62)


class PeriodForm(RefusableForm):
    """Its `since` and `until` are what verbs and API call `from` and `to`."""

    def refuse(self, error: PortalError) -> None:
        field = {"from": "since", "to": "until"}.get(error.field, error.field)
        super().refuse(Invalid(error.sentence, field=field))


class ReportForm(PeriodForm):
    """Which part of a report. The period is judged where reports are taken, so that API and page say the same."""

    since = forms.CharField(required=False, max_length=64)
    until = forms.CharField(required=False, max_length=64)
    person = forms.CharField(required=False, max_length=1_000)
    database = forms.CharField(required=False, max_length=1_000)
    size = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    def wanted(self) -> Wanted:
        """Raises Invalid."""
        if not self.is_valid():
            raise Invalid("Look at what is marked, and send it again.")
        given = self.cleaned_data
        return Wanted(
            since=moment(given["since"], field="from"),
            until=moment(given["until"], field="to"),
            person=given["person"],
            database=given["database"],
            size=given["size"],
        )


class BundleForm(PeriodForm):
    """The period of an evidence bundle, and its reports; none chosen means all."""

    since = forms.CharField(max_length=64)
    until = forms.CharField(max_length=64)
    report = forms.MultipleChoiceField(required=False, choices=[(name, name) for name in REPORTS])

    def period(self) -> tuple[datetime | None, datetime | None]:
        """Raises Invalid."""
        if not self.is_valid():
            raise Invalid("Look at what is marked, and send it again.")
        given = self.cleaned_data
        return moment(given["since"], field="from"), moment(given["until"], field="to")

    def chosen(self) -> list[str] | None:
        return (self.cleaned_data.get("report") if self.is_bound and self.is_valid() else None) or None


def _of_tables(columns: Iterable[str], tables: Iterable[str]) -> Iterable[str]:
    try:
        chosen = set(map(parse_table, tables))
    except PortalError:  # said beside the tables
        chosen = set()
    for column in dict.fromkeys(columns):
        try:
            table, _ = parse_column(column)
        except PortalError:
            yield column  # for the verb to refuse
            continue
        if table in chosen or WholeSchema(table.schema) in chosen:
            yield column


def _with_picks(data: Any) -> Any:
    if data is None or not data.getlist("pick"):
        return data
    data = data.copy()
    data["tables"] = names.joined([*names.split(data.get("tables", "")), *data.getlist("pick")])
    return data
