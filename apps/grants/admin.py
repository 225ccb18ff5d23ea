"""Grants as a database administrator sees them: to look at, and to revoke now."""

import json
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts.adminsite import ReadOnlyAdmin, person, portal_admin
from apps.core import clock
from apps.grants import admin_continuity, admin_record, admin_servers, services
from apps.grants.models import Grant, is_late, is_never_used
from apps.grants.sessions import use_in_words

__all__ = ["admin_continuity", "admin_record", "admin_servers"]  # each registers its pages
_FIELDS: Final[tuple[str, ...]] = (
    *("login", "request", "holder", "database", "connection", "break_glass"),
    *("minutes", "status", "on_time", "problem"),
    *("drift", "drift_checked_at"),
    *("queued_at", "starts_at", "expires_at", "ending_since", "ended_at", "end_cause", "end_reason", "ended_by"),
    *("used", "sessions_live", "sessions_seen", "sessions_cut", "first_used_at", "last_used_at"),
    *("scope_role", "what_is_granted", "what_it_reaches", "proof_of_the_end"),
)


class RevokeForm(forms.Form):
    reason = forms.CharField(
        max_length=services.MAX_REASON,
        help_text="The holder reads it, and so will the auditor.",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )


class LateFilter(admin.SimpleListFilter):
    title = "late"
    parameter_name = "late"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "should be gone by now")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        return queryset.filter(is_late(clock.now())) if self.value() == "yes" else queryset


class UseFilter(admin.SimpleListFilter):
    title = "use"
    parameter_name = "use"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("never", "approved, never used"), ("cut", "had sessions cut")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> QuerySet[Grant]:
        wanted = {"never": is_never_used(), "cut": Q(sessions_cut__gt=0)}.get(self.value() or "")
        return queryset.filter(wanted) if wanted else queryset


@admin.register(Grant, site=portal_admin)
class GrantAdmin(ReadOnlyAdmin):
    """Live ones first to be looked for; whatever changes them is a verb."""

    actions = ["revoke_now"]
    date_hierarchy = "queued_at"
    list_display = (
        *("login", "holder", "database", "status", "break_glass"),
        *("on_time", "starts_at", "expires_at", "used"),
    )
    list_filter = ["status", LateFilter, UseFilter, "break_glass", "database__server", "connection", "end_cause"]
    list_select_related = ["holder", "database"]
    search_fields = ["login", "holder__username", "database__slug", "request__id"]
    fields = readonly_fields = _FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        late = ExpressionWrapper(is_late(clock.now()), output_field=BooleanField())
        return Grant.objects.annotate(is_late=late)

    @admin.display(boolean=True, description="on time")
    def on_time(self, grant: Grant) -> bool:
        """Not late: a cross is what to look for."""
        return not grant.is_late  # type: ignore[attr-defined]

    @admin.display(description="use")
    def used(self, grant: Grant) -> str:
        return use_in_words(grant)

    @admin.display(description="what is granted")
    def what_is_granted(self, grant: Grant) -> SafeString:
        return _as_text(grant.scope)

    @admin.display(description="what it reaches")
    def what_it_reaches(self, grant: Grant) -> SafeString:
        return _as_text(grant.evidence)

    @admin.display(description="proof of the end")
    def proof_of_the_end(self, grant: Grant) -> SafeString:
        return _as_text(grant.proof)

    @admin.action(description="Revoke now")
    def revoke_now(self, request: HttpRequest, grants: QuerySet[Grant]) -> TemplateResponse | None:
        """Asks for the reason first."""
        is_confirmed = "confirmed" in request.POST
        form = RevokeForm(request.POST if is_confirmed else None)
        if is_confirmed and form.is_valid():
            actor, reason = person(request), form.cleaned_data["reason"]
            self.call_verb(
                request,
                grants,
                lambda grant: services.revoke(actor=actor, grant_id=grant.pk, reason=reason),
                done="Being taken away",
            )
            return None
        context = {**portal_admin.each_context(request), "title": "Revoke now", "grants": grants, "form": form}
        return TemplateResponse(request, "admin/grants/revoke.html", context)


def _as_text(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=1, ensure_ascii=False)) if value else SafeString("–")
