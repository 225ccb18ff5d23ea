"""Data classes: kinds of data, and the mask that columns of each have."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts.adminsite import PortalModelAdmin, VerbForm, person, portal_admin
from apps.catalog import services
from apps.catalog.models import Column, DataClass


class DataClassForm(VerbForm):
    class Meta:
        model = DataClass
        fields = ["name", "description", "mask"]
        help_texts = {
            "mask": "hidden, null, partial(first,last), email, bucket(width), date(year) or date(month). Columns whose "
            "type it does not fit are hidden. A changed mask holds for grants from now on."
        }


@admin.register(DataClass, site=portal_admin)
class DataClassAdmin(PortalModelAdmin):
    """What is shown in the place of a value, unless a column has a mask of its own."""

    form = DataClassForm
    may_add = may_change = True
    list_display = ["name", "mask", "its_columns", "description"]
    search_fields = ["name", "description"]
    fields = ["name", "description", "mask"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataClass]:
        columns = (
            Column.objects.filter(data_class=OuterRef("pk"), gone_at=None)
            .order_by()
            .values("data_class")
            .annotate(number=Count("pk"))
            .values("number")
        )
        return DataClass.objects.annotate(number=Subquery(columns, output_field=IntegerField()))

    def get_readonly_fields(self, request: HttpRequest, obj: DataClass | None = None) -> list[str]:
        return [] if obj is None else ["name"]

    @admin.display(description="columns", ordering="number")
    def its_columns(self, row: DataClass) -> SafeString:
        address = reverse("admin:catalog_column_changelist")
        number = row.number or 0  # type: ignore[attr-defined]
        return format_html('<a href="{}?data_class={}">{}</a>', address, row.pk, number)

    def save_model(self, request: HttpRequest, obj: DataClass, form: Any, change: bool) -> None:
        said = form.cleaned_data
        name = obj.pk if change else said["name"]
        services.save_data_class(actor=person(request), name=name, description=said["description"], mask=said["mask"])
