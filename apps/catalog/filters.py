"""Filters of the admin's lists."""

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.catalog.models import Classification
from apps.catalog.suggestions import WAITING


class FullNames:
    """Finds what is called as the lists print it: sales.customers, "Odd.Name"."T"."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.replace(".", " ").replace('"', " ")
        return super().get_search_results(request, queryset, words)  # type: ignore[misc,no-any-return]


class PresenceFilter(SimpleListFilter):
    """What is there, unless somebody wants to see what is gone."""

    title = "presence"
    parameter_name = "presence"

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        return [("gone", "gone"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        default, *others = super().choices(changelist)
        return [{**default, "display": "there"}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(gone_at__isnull=self.value() != "gone")


class ClassificationFilter(SimpleListFilter):
    """Stock filters do not offer the empty value, and what nobody has looked at is what a DBA looks for."""

    title = "classification"
    parameter_name = "classification"

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        return [("none", "nobody has looked yet"), *Classification.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(classification="" if self.value() == "none" else self.value())


class SuggestionFilter(SimpleListFilter):
    title = "suggestion"
    parameter_name = "suggestion"

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        return [("yes", "has a suggestion")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(WAITING) if self.value() == "yes" else queryset


class PausedFilter(SimpleListFilter):
    title = "paused for a migration"
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: "ModelAdmin[Any]") -> list[tuple[str, str]]:
        return [("yes", "paused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(paused_at__isnull=False) if self.value() == "yes" else queryset
