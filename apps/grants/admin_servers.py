"""What grants add to the admin's page of a server: comparing it, and taking it out of the catalog."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.accounts.adminsite import person, portal_admin
from apps.catalog import services as catalog
from apps.catalog.admin import ServerAdmin
from apps.catalog.buttons import refused
from apps.catalog.models import Server
from apps.core.errors import PortalError
from apps.grants import retiring
from apps.grants.admin_server_state import left_behind, reached
from apps.grants.models import ServerState

_SHOWN: Final = 20

portal_admin.unregister(Server)


class RetireForm(forms.Form):
    reason = forms.CharField(
        max_length=retiring.MAX_REASON,
        help_text="The auditor reads it.",
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
    )
    does_not_exist = forms.BooleanField(
        required=False,
        label="It does not exist any more",
        help_text="Only if it is gone for good: nothing can be proven there then, and the record says so.",
    )


@admin.register(Server, site=portal_admin)
class ServerWithGrantsAdmin(ServerAdmin):
    """The catalog's page, and what is done with a server as a whole."""

    buttons: ClassVar[dict[str, str]] = {**ServerAdmin.buttons, "compare_now": "Compare with the server now"}
    pages: ClassVar[dict[str, str]] = {**ServerAdmin.pages, "take_out": "Take it out of the catalog"}
    readonly_fields: ClassVar[list[Any]] = [
        *ServerAdmin.readonly_fields,
        *(reached, "compared", "unknown_logins", left_behind, "taken_out"),
    ]

    @admin.display(description="state")
    def standing(self, server: Server) -> str:
        if server.retired_at is not None:
            return "taken out of the catalog"
        return "being taken out" if server.retiring_at is not None else super().standing(server)

    def buttons_on(self, object_id: str) -> dict[str, str]:
        return {} if self._is_retired(object_id) else super().buttons_on(object_id)

    def pages_on(self, object_id: str) -> dict[str, str]:
        return {} if self._is_retired(object_id) else super().pages_on(object_id)

    @admin.display(description="compared with what should be there")
    def compared(self, server: Server) -> str:
        if server.reconcile_wanted_at:
            return "being compared"
        found = ServerState.objects.filter(server=server).values_list("reconciled_at", flat=True).first()
        return f"{found:%Y-%m-%d %H:%M:%S} UTC" if found else "never"

    @admin.display(description="logins that the portal does not know")
    def unknown_logins(self, server: Server) -> SafeString:
        strays = ServerState.objects.filter(server=server).values_list("strays", flat=True).first() or []
        rows = ((stray["role"], stray["found_at"], _fate(stray)) for stray in strays[:_SHOWN])
        return format_html_join("", "<p><code>{}</code> found {}: {}</p>", rows) or SafeString("none")

    @admin.display(description="taken out of the catalog")
    def taken_out(self, server: Server) -> SafeString:
        if server.retiring_at is None:
            return SafeString("no")
        if server.retired_at is not None:
            return format_html("{} UTC: {}", f"{server.retired_at:%Y-%m-%d %H:%M:%S}", server.retire_reason)
        said = server.retire_problem or "A worker looks what is left there."
        return format_html("being taken out: {} {}", said, _grants_on(server))

    def compare_now(self, request: HttpRequest, server_id: str) -> str:
        catalog.want_reconcile(actor=person(request), server_id=server_id)
        return "A worker compares it now; reload this page in a moment."

    def take_out(self, request: HttpRequest, server: Server) -> HttpResponse:
        form = RetireForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                retiring.retire_server(actor=person(request), server_id=server.pk, **form.cleaned_data)
            except PortalError as refusal:
                refused(form, refusal)
            else:
                sentence = f"{server} is being taken out: a worker looks what is left there, and says so here."
                return self.done(request, self.address("change", server.pk), sentence)
        number = retiring.living_on(server)
        if number:
            self.message_user(request, format_html("Grants there: {} {}", number, _grants_on(server)), messages.WARNING)
        about = [
            f"Nothing is granted on {server} from then on. A worker closes what the portal has left there, drops its "
            "scope roles and views, and reads back that nothing is left; only then it is out. Its rows and its part of "
            "the record stay.",
            "The roles of the portal itself stay on the server; its administrator drops them afterwards.",
        ]
        context: dict[str, Any] = {"title": "Take it out of the catalog", "submit": "Take it out"}
        return self.show_page(request, server, "page.html", about=about, form=form, **context)

    def _is_retired(self, object_id: str) -> bool:
        return Server.objects.filter(pk=object_id, retired_at__isnull=False).exists()


def _fate(stray: dict[str, Any]) -> str:
    if "of" in stray:
        return "its rights were taken away" if stray["gone"] else stray["problem"] or stray["comment"]
    if stray["gone"]:
        return "disabled and dropped"
    return "disabled; its role cannot be dropped yet" if stray["disabled"] else "not disabled yet"


def _grants_on(server: Server) -> SafeString:
    if not retiring.living_on(server):
        return SafeString("")
    address = reverse("admin:grants_grant_changelist")
    return format_html('<a href="{}?database__server__id__exact={}">Look at its grants</a>', address, server.pk)
