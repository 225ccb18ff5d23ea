"""Columns as a database administrator sees them, and where they are classified."""

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from apps.accounts.adminsite import VerbForm, person, portal_admin
from apps.catalog import services
from apps.catalog.admin_suggestions import SuggestedColumns
from apps.catalog.filters import ClassificationFilter, FullNames, PresenceFilter, SuggestionFilter
from apps.catalog.labels import NOBODY_HAS_LOOKED
from apps.catalog.masking import class_masks
from apps.catalog.models import Classification, Column, Database, DataClass
from apps.catalog.showing import shown_as
from apps.core.errors import PortalError


def _data_classes() -> list[tuple[str, str]]:
    return [("", "as it is"), (NOBODY_HAS_LOOKED, "none"), *((name, name) for name in class_masks())]


class LabelForm(ActionForm):
    """Fields beside the list of actions."""

    data_class = forms.ChoiceField(choices=_data_classes, required=False)
    mask_override = forms.CharField(
        required=False,
        max_length=32,
        label="Mask of its own",
        widget=forms.TextInput(attrs={"placeholder": "as it is; “none” takes it away"}),
    )


class ColumnForm(VerbForm):
    data_class = forms.ChoiceField(required=False, help_text="Its mask is the column's, unless it has one of its own.")

    class Meta:
        model = Column
        fields = ["classification", "data_class", "mask_override"]
        help_texts = {"mask_override": "hidden, null, partial(1,4), email, bucket(1000), date(year). Empty: none."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = {**class_masks(), **({self.instance.data_class: ""} if self.instance.data_class else {})}
        self.fields["data_class"].choices = [("", "none"), *((name, name) for name in sorted(known))]  # type: ignore[attr-defined]


@admin.register(Column, site=portal_admin)
class ColumnAdmin(FullNames, SuggestedColumns):
    """Where columns are classified, one or many at a time."""

    form = ColumnForm
    may_change = True
    action_form = LabelForm
    list_display = ["name", "table", "database", "type", "classification", "data_class", "mask", "suggested"]
    list_filter = [ClassificationFilter, SuggestionFilter, PresenceFilter, "table__database"]
    list_select_related = ["table__database__server"]
    ordering = ["table_id", "position"]  # by an index: names would be sorted anew for each page
    search_fields = ["name", "table__schema", "table__name"]
    fields = [
        "name",
        "table",
        "database",
        "type",
        "comment",
        "classification",
        "data_class",
        "mask_override",
        "mask",
        "suggested",
        "first_seen_at",
        "gone_at",
    ]
    readonly_fields = ["name", "table", "database", "type", "comment", "mask", "suggested", "first_seen_at", "gone_at"]

    @admin.display(description="database", ordering="table__database__slug")
    def database(self, column: Column) -> Database:
        return column.table.database

    def get_queryset(self, request: HttpRequest) -> QuerySet[Column]:
        its_class = DataClass.objects.filter(pk=OuterRef("data_class")).values("mask")
        return Column.objects.annotate(class_mask=Subquery(its_class))

    @admin.display(description="grants show")
    def mask(self, column: Column) -> str:
        return shown_as(column, {column.data_class: column.class_mask or ""})  # type: ignore[attr-defined]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """One for each classification, and one that takes it back."""
        choices = [*Classification.choices, ("", "not classified")]
        own = {
            f"classify_{value or 'none'}": (_classifier(value), f"classify_{value or 'none'}", f"Classify as {label}")
            for value, label in choices
        }
        return cast("dict[str, Any]", super().get_actions(request) | own)

    def save_model(self, request: HttpRequest, obj: Column, form: Any, change: bool) -> None:
        said = form.cleaned_data
        services.classify(
            actor=person(request),
            column_id=obj.pk,
            classification=said["classification"],
            data_class=said["data_class"],
            mask=said["mask_override"],
        )


def _classifier(classification: str) -> Callable[[ColumnAdmin, HttpRequest, QuerySet[Column]], None]:
    def act(page: ColumnAdmin, request: HttpRequest, columns: QuerySet[Column]) -> None:
        try:
            changed = services.classify_many(
                actor=person(request),
                column_ids=list(columns.order_by().values_list("pk", flat=True)),
                classification=classification,
                data_class=_as_said(request, "data_class"),
                mask=_as_said(request, "mask_override"),
            )
        except PortalError as refusal:
            page.say_refusal(request, refusal)
        else:
            page.message_user(request, f"Columns that changed: {changed}.", messages.SUCCESS)

    return act


def _as_said(request: HttpRequest, name: str) -> str | None:
    """None: as it is."""
    said = request.POST.get(name, "").strip()
    return "" if said == NOBODY_HAS_LOOKED else said or None
