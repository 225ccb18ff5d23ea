"""Breaks of the record and how anchors do; nothing is changed here but by confirming a break."""

from typing import ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from apps.accounts.adminsite import PortalModelAdmin, person, portal_admin
from apps.audit.models import AnchorState, RecordBreak
from apps.catalog.buttons import ButtonsAdmin, refused
from apps.core.errors import PortalError
from apps.grants import record_break


class ConfirmBreakForm(forms.Form):
    reason = forms.CharField(
        max_length=record_break.MAX_REASON,
        help_text="What happened: the auditor reads it.",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )


@admin.register(AnchorState, site=portal_admin)
class AnchorStateAdmin(PortalModelAdmin):
    """How anchors did when they were last written to."""

    list_display = ("address", "size", "succeeded_at", "failed_at", "error")
    fields = readonly_fields = list_display


@admin.register(RecordBreak, site=portal_admin)
class RecordBreakAdmin(ButtonsAdmin):
    """The open ones are on the front page."""

    pages: ClassVar[dict[str, str]] = {"confirm": "Confirm, and let signing go on"}
    list_display = ("found_at", "anchor", "size_here", "size_there", "confirmed_at")
    fields = readonly_fields = (
        "found_at", "anchor", "why", "size_here", "hash_here", "size_there", "hash_there", "confirmed_at",
        "confirmed_by",
    )  # fmt: skip

    def pages_on(self, object_id: str) -> dict[str, str]:
        is_open = RecordBreak.objects.filter(pk=object_id, confirmed_at=None).exists()
        return super().pages_on(object_id) if is_open else {}

    def confirm(self, request: HttpRequest, row: RecordBreak) -> HttpResponse:
        form = ConfirmBreakForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                record_break.confirm(actor=person(request), break_id=row.pk, reason=form.cleaned_data["reason"])
            except PortalError as refusal:
                refused(form, refusal)
            else:
                sentence = "Confirmed: a worker signs again within a minute, when no other break is open."
                return self.done(request, self.address("change", row.pk), sentence)
        about = [
            row.why,
            f"Here are {row.size_here} entries; the anchor has seen {row.size_there}. What is not the same in both was "
            "lost or rewritten, and the record will name it. Confirm only if you know why: a restored backup, say.",
            "The operator proposes it first, on the server, for another person than you: manage.py confirm_record.",
        ]
        return self.show_page(
            request, row, "page.html", title="Go on with this record", about=about, form=form, submit="Confirm"
        )
