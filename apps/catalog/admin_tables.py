"""Tables as they were last read, which of their rows are shown, and pausing them for a migration."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.accounts.adminsite import person, portal_admin
from apps.accounts.dual_control import Waits
from apps.catalog import services
from apps.catalog.buttons import ButtonsAdmin, refused
from apps.catalog.filters import FullNames, PausedFilter, PresenceFilter
from apps.catalog.masking import class_masks
from apps.catalog.models import Column, Table
from apps.catalog.pausing import MAX_REASON
from apps.catalog.showing import SHOWN, shown_as
from apps.core.errors import PortalError
from apps.engines.base import Operator

_FIELDS: Final[tuple[str, ...]] = (
    *("database", "schema", "name", "kind", "comment", "rows", "its_primary_key", "row_security"),
    *("first_seen_at", "gone_at", "state", "its_rows", "its_columns"),
)


_LOST: Final = "This column is not there any more: the table is not granted until the condition is taken away."


class PauseForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON,
        help_text="The people whose access ends read it, and so will the auditor.",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )


class FilterForm(forms.Form):
    """One condition; several must all hold."""

    column = forms.ChoiceField()
    operator = forms.ChoiceField(choices=[(operator.value, operator.value) for operator in Operator])
    values = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 40}),
        help_text="As the database would print it, without quotes. For “in” one value on each line; "
        "for “is null” and “is not null” none.",
    )

    def __init__(self, table: Table, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = table.columns.filter(gone_at=None).exclude(pk__in=Column.objects.masked().filter(table=table))
        names = shown.values_list("name", "type")
        self.fields["column"].choices = [(name, f"{name} ({type_})") for name, type_ in names]  # type: ignore[attr-defined]

    def said(self) -> dict[str, Any]:
        data = self.cleaned_data
        values = data["values"].splitlines() if data["operator"] == Operator.ONE_OF else [data["values"]]
        return {"column": data["column"], "operator": data["operator"], "values": [value for value in values if value]}


@admin.register(Table, site=portal_admin)
class TableAdmin(FullNames, ButtonsAdmin):
    """Tables as they were last read. What limits them is changed by verbs."""

    buttons: ClassVar[dict[str, str]] = {}
    pages: ClassVar[dict[str, str]] = {"limit_rows": "Limit its rows", "pause": "Pause masking for a migration"}
    list_display = ["__str__", "database", "kind", "rows", "paused_at", "first_seen_at", "gone_at"]
    list_filter = [PresenceFilter, PausedFilter, "database", "kind"]
    list_select_related = ["database"]
    search_fields = ["schema", "name"]
    fields = readonly_fields = _FIELDS

    @admin.display(description="rows, estimated", ordering="estimated_rows")
    def rows(self, table: Table) -> str:
        return "never counted" if table.estimated_rows < 0 else f"{table.estimated_rows:,}"

    @admin.display(description="primary key")
    def its_primary_key(self, table: Table) -> str:
        return ", ".join(table.primary_key) or "none"

    @admin.display(description="state")
    def state(self, table: Table) -> str:
        if not table.paused_at:
            return "can be asked for"
        who = table.paused_by.username if table.paused_by else "an operator"
        since = f"{table.paused_at:%Y-%m-%d %H:%M} UTC"
        return f"paused by {who} since {since}; nothing on it is granted until it is resumed. {table.pause_reason}"

    @admin.display(description="rows that grants show")
    def its_rows(self, table: Table) -> SafeString:
        lost = _lost(table)
        limits = [(row.row_filter, f" {_LOST}" if row.column in lost else "") for row in table.standing_filters.all()]
        return format_html_join("", "<p><code>{}</code>{}</p>", limits) if limits else SafeString("all")

    @admin.display(description="columns")
    def its_columns(self, table: Table) -> SafeString:
        classes = class_masks()
        return format_html_join(
            "",
            '<p><a href="{}">{}</a> {} {} {} {}</p>',
            (
                (
                    reverse("admin:catalog_column_change", args=[column.pk]),
                    column.name,
                    column.type,
                    column.get_classification_display(),
                    format_html("<em>{}</em>", _as_sentence(shown_as(column, classes))),
                    "gone" if column.gone_at else "",
                )
                for column in table.columns.select_related("table__database__server")
            ),
        )

    def pages_on(self, object_id: str) -> dict[str, str]:
        is_paused = Table.objects.filter(pk=unquote(object_id), paused_at__isnull=False).exists()
        return {**self.pages, "pause": "Resume masking"} if is_paused else self.pages

    def pause(self, request: HttpRequest, table: Table) -> HttpResponse:
        return self._resume(request, table) if table.paused_at else self._pause(request, table)

    def _pause(self, request: HttpRequest, table: Table) -> HttpResponse:
        form = PauseForm(request.POST or None)
        if form.is_valid():
            try:
                services.pause_table(actor=person(request), table_id=table.pk, reason=form.cleaned_data["reason"])
            except PortalError as refusal:
                refused(form, refusal)
            else:
                sentence = (
                    f"Paused: grants on {table} in {table.database} end now, and none is given until you resume it."
                )
                return self.done(request, self.address("change", table.pk), sentence)
        about = [
            "Views that mask a table block its owner from changing or dropping its columns.",
            f"Every grant on {table} in {table.database} ends within seconds: open sessions are cut, and each person "
            "is told. Nothing on it can be asked for or is granted until you resume it here.",
        ]
        return self.show_page(
            request,
            table,
            "page.html",
            title="Pause masking for a migration",
            about=about,
            form=form,
            submit="Pause it now",
        )

    def _resume(self, request: HttpRequest, table: Table) -> HttpResponse:
        form = forms.Form(request.POST or None)
        if request.method == "POST":
            form.full_clean()
            try:
                services.resume_table(actor=person(request), table_id=table.pk)
            except PortalError as refusal:
                refused(form, refusal)
            else:
                sentence = (
                    f"Resumed: {table} in {table.database} can be asked for again. If its columns changed, "
                    "read its tables anew."
                )
                return self.done(request, self.address("change", table.pk), sentence)
        about = [f"The table {table} in {table.database} is {self.state(table)}"]
        return self.show_page(
            request, table, "page.html", title="Resume masking", about=about, form=form, submit="Resume"
        )

    def limit_rows(self, request: HttpRequest, table: Table) -> HttpResponse:
        here, actor = self.address("limit_rows", table.pk), person(request)
        adds = "remove" not in request.POST
        form = FilterForm(table, request.POST if request.method == "POST" and adds else None)
        try:
            if not adds:
                known = {str(row.pk): row.pk for row in table.standing_filters.all()}
                services.remove_filter(actor=actor, filter_id=known.get(request.POST["remove"], 0))
                return self.done(request, here, "Taken away: grants from now on show more rows.")
            if form.is_valid():
                services.add_filter(actor=actor, table_id=table.pk, **form.said())
                return self.done(request, here, "Added: grants from now on show only these rows.")
        except Waits as waits:
            self.say_refusal(request, waits)
            return HttpResponseRedirect(here)
        except PortalError as refusal:
            form = form if form.is_bound else FilterForm(table, {})
            refused(form, refusal)
        about = [
            f"Every grant on {table} in {table.database} shows only rows for which all these conditions hold, and "
            "cannot change any. Masked columns are not offered: a condition would tell their values."
        ]
        return self.show_page(
            request,
            table,
            "filters.html",
            title="Limit its rows",
            about=about,
            form=form,
            filters=table.standing_filters.all(),
            lost=_lost(table),
            why_lost=_LOST,
            submit="Add the condition",
        )


def _lost(table: Table) -> set[str]:
    """Columns that rows are chosen by and that are not there."""
    there = set(table.columns.filter(gone_at=None).values_list("name", flat=True))
    return {row.column for row in table.standing_filters.all()} - there


def _as_sentence(shown: str) -> str:
    return shown if shown == SHOWN else f"masked: {shown}"
