"""The break in the portal's own memory, as a database administrator confirms it."""

from typing import ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from apps.accounts.adminsite import person, portal_admin
from apps.catalog.buttons import ButtonsAdmin, refused
from apps.core.errors import PortalError
from apps.grants import continuity
from apps.grants.models import Continuity


class ConfirmForm(forms.Form):
    reason = forms.CharField(
        max_length=continuity.MAX_REASON,
        help_text="What happened: the auditor reads it.",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )


@admin.register(Continuity, site=portal_admin)
class ContinuityAdmin(ButtonsAdmin):
    """Breaks, the open one first; nothing is changed here but by confirming it."""

    pages: ClassVar[dict[str, str]] = {"confirm": "Confirm, and let the portal go on"}
    list_display = ("found_at", "why", "size_here", "size_there", "confirmed_at")
    fields = readonly_fields = ("found_at", "why", "server", "size_here", "size_there", "confirmed_at", "confirmed_by")

    def pages_on(self, object_id: str) -> dict[str, str]:
        is_open = Continuity.objects.filter(pk=object_id, confirmed_at=None).exists()
        return super().pages_on(object_id) if is_open else {}

    def confirm(self, request: HttpRequest, row: Continuity) -> HttpResponse:
        form = ConfirmForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                continuity.confirm_restored(actor=person(request), reason=form.cleaned_data["reason"])
            except PortalError as refusal:
                refused(form, refusal)
            else:
                sentence = "Confirmed: workers compare every server now, and then go on."
                return self.done(request, self.address("change", row.pk), sentence)
        about = [
            row.why,
            f"The record here has {row.size_here} entries, and a server remembers {row.size_there}. What was done in "
            "between is not known here: access given then is disabled as soon as you confirm, and what was ended then "
            "is ended again.",
            "If another portal works with the same portal id, this one may be a copy: stop it instead of confirming.",
        ]
        return self.show_page(
            request, row, "page.html", title="Confirm the restored portal", about=about, form=form, submit="Confirm"
        )
