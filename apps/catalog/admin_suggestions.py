"""What the portal suggests of columns that nobody has classified, for a database administrator to take up."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts.adminsite import PortalModelAdmin, person
from apps.catalog import services
from apps.catalog.models import Column
from apps.catalog.suggestions import waiting
from apps.core.errors import PortalError


class SuggestedColumns(PortalModelAdmin):
    """The part of the columns' pages that is about suggestions."""

    actions: Sequence[Callable[..., Any] | str] | None = ["accept_suggestions", "dismiss_suggestions"]
    change_list_template = "admin/catalog/columns.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        looked_for = "suggestion" in request.GET or request.method != "GET"
        number = 0 if looked_for else waiting().count()
        return super().changelist_view(request, {**(extra_context or {}), "suggestions": number})

    @admin.display(description="suggestion")
    def suggested(self, column: Column) -> SafeString | str:
        suggestion = column.suggestion
        if not suggestion or column.classification:
            return ""
        return format_html(
            "<strong>{}, {}</strong>: {}", suggestion["classification"], suggestion["data_class"], suggestion["why"]
        )

    @admin.action(description="Accept the suggestions")
    def accept_suggestions(self, request: HttpRequest, columns: QuerySet[Column]) -> None:
        self._take_up(request, columns, services.accept_suggestions, "Columns classified as suggested")

    @admin.action(description="Dismiss the suggestions")
    def dismiss_suggestions(self, request: HttpRequest, columns: QuerySet[Column]) -> None:
        self._take_up(request, columns, services.dismiss_suggestions, "Suggestions dismissed")

    def _take_up(self, request: HttpRequest, columns: QuerySet[Column], verb: Callable[..., int], done: str) -> None:
        try:
            count = verb(actor=person(request), column_ids=list(columns.order_by().values_list("pk", flat=True)))
        except PortalError as refusal:
            self.say_refusal(request, refusal)
        else:
            self.message_user(request, f"{done}: {count}.", messages.SUCCESS)
