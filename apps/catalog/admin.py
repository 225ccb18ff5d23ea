"""Servers and databases as a database administrator sees them. Everything that changes is a verb."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Final, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth.models import Group
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.accounts.adminsite import VerbForm, person, portal_admin
from apps.catalog import admin_columns, admin_data_classes, admin_tables, services
from apps.catalog.admin_classification import ClassificationPages
from apps.catalog.buttons import ButtonsAdmin
from apps.catalog.exposure import exposures, notifying_unaccepted
from apps.catalog.guards import CONSOLE_LIMITS, SESSION_LIMITS
from apps.catalog.models import Column, Database, Server
from apps.catalog.rights import groups_with
from apps.catalog.suggestions import WAITING
from apps.engines.base import Severity

__all__ = ["admin_columns", "admin_data_classes", "admin_tables"]  # each registers its page


class ServerForm(VerbForm):
    class Meta:
        model = Server
        fields = ["name", "host", "port", "tls", "ca_certificate", "maintenance_database", *SESSION_LIMITS, "is_active"]
        labels = {"tls": "TLS", "ca_certificate": "Certificate authority"}
        help_texts = {
            "name": "What people call it: a–z, 0–9 and hyphens.",
            "host": "One name or one address. A changed host or port clears the portal's password for the server.",
            "maintenance_database": "Where the portal signs in for what concerns the whole server.",
        }


@admin.register(Server, site=portal_admin)
class ServerAdmin(ButtonsAdmin):
    """Add it, add its databases, run the bootstrap SQL on it, check it."""

    form = ServerForm
    may_add = may_change = True
    buttons: ClassVar[dict[str, str]] = {
        "check_now": "Check now",
        "bootstrap": "Bootstrap SQL",
        "new_password": "Bootstrap SQL with a new password",
    }
    actions = ["check_servers"]
    list_display = ["name", "host", "port", "standing", "checked_at", "is_active"]
    list_filter = ["is_active"]
    search_fields = ["name", "host"]
    readonly_fields = [
        *("password", "its_databases", "standing", "checked_at", "clock", "what_was_found", "open_to_everybody"),
    ]

    def get_fields(self, request: HttpRequest, obj: Server | None = None) -> list[Any]:
        fields = list(ServerForm.Meta.fields)
        if obj is None:
            fields.remove("is_active")
            return fields
        return [*fields, *self.readonly_fields]

    @admin.display(description="password of the portal")
    def password(self, server: Server) -> str:
        if server.manager_secret is None:
            return "none yet: make the bootstrap SQL"
        return "sealed to the workers; after a new one the portal cannot work there until its SQL has run"

    # Not "state": that is what workers write about the server, and the admin would show it instead.
    @admin.display(description="state")
    def standing(self, server: Server) -> str:
        if server.check_wanted_at:
            return "being checked"
        if server.checked_at is None:
            return "never checked"
        bad = sum(finding["severity"] == Severity.ERROR for finding in server.findings)
        return f"{bad} to mend" if bad else "ready"

    @admin.display(description="clock against the portal's")
    def clock(self, server: Server) -> str:
        return "unknown" if server.skew_seconds is None else f"{server.skew_seconds:+.1f} s"

    @admin.display(description="what was found")
    def what_was_found(self, server: Server) -> SafeString:
        return format_html_join("", "<p><strong>{}</strong>: {}</p>{}", map(_finding, server.findings))

    @admin.display(description="open to everybody")
    def open_to_everybody(self, server: Server) -> SafeString:
        return _exposure(server.databases.filter(is_active=True))

    @admin.display(description="databases")
    def its_databases(self, server: Server) -> SafeString:
        links = [
            (reverse("admin:catalog_database_change", args=[quote(pk)]), slug)
            for pk, slug in server.databases.values_list("pk", "slug")
        ]
        return format_html_join(", ", '<a href="{}">{}</a>', links) if links else SafeString("none yet")

    def save_model(self, request: HttpRequest, obj: Server, form: Any, change: bool) -> None:
        said = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            server = services.change_server(actor=person(request), server_id=obj.pk, **said)
            if server.manager_secret is None:
                self.message_user(request, "Now make the bootstrap SQL and run it on the server.", messages.WARNING)
            return
        fields = {name: form.cleaned_data[name] for name in form.cleaned_data if name != "is_active"}
        obj.pk = services.add_server(actor=person(request), **fields).pk
        self.message_user(request, "Now add its databases; then make the bootstrap SQL and run it on the server.")

    @admin.action(description="Check now")
    def check_servers(self, request: HttpRequest, servers: QuerySet[Server]) -> None:
        actor = person(request)
        self.call_verb(
            request,
            servers,
            lambda server: services.want_preflight(actor=actor, server_id=server.pk),
            done="A worker checks",
        )

    def check_now(self, request: HttpRequest, server_id: str) -> str:
        services.want_preflight(actor=person(request), server_id=server_id)
        return "A worker checks it now; reload this page in a moment."

    def bootstrap(self, request: HttpRequest, server_id: str) -> HttpResponse:
        return _download(server_id, services.make_bootstrap(actor=person(request), server_id=server_id))

    def new_password(self, request: HttpRequest, server_id: str) -> HttpResponse:
        return _download(server_id, services.new_manager_secret(actor=person(request), server_id=server_id))


_NEW_DATABASE: Final = ("slug", "datname", "environment", "description", "hides_unclassified", *CONSOLE_LIMITS)


class DatabaseForm(VerbForm):
    request_database = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="May ask for access",
    )
    own_database = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Own it",
        help_text="They decide about access where the policy asks for the owner.",
    )
    own_data = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Data owners",
        help_text="They decide about every request to see columns unmasked.",
    )

    break_glass = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="May break the glass",
        help_text="In an emergency they have access at once, for a short time; security reviews it afterwards.",
    )

    class Meta:
        model = Database
        fields = [
            *("server", "slug", "datname", "environment", "description", "hides_unclassified"),
            *CONSOLE_LIMITS,
            "is_active",
        ]
        labels = {"slug": "Name"}
        help_texts = {"slug": "What people call it: a–z, 0–9 and hyphens.", "datname": "As in CREATE DATABASE."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            for permission in services.PERMISSIONS:
                self.fields[permission].initial = groups_with(self.instance, permission)


@admin.register(Database, site=portal_admin)
class DatabaseAdmin(ClassificationPages, ButtonsAdmin):
    """What people ask for, who may, and who owns it."""

    form = DatabaseForm
    may_add = may_change = True
    buttons: ClassVar[dict[str, str]] = {
        "read_now": "Read its tables now",
        "accept_notifying": "Accept functions that notify",
        "download_classification": "Download classification (CSV)",
    }
    pages: ClassVar[dict[str, str]] = {"upload_classification": "Upload classification"}
    actions = ["read"]
    list_display = [
        *("slug", "server", "environment", "present_tables", "unclassified_columns"),
        *("synced_at", "sync_error", "is_active"),
    ]
    list_filter = ["environment", "server", "is_active"]
    list_select_related = ["server"]
    search_fields = ["slug", "datname", "description"]
    readonly_fields = [
        *("synced_at", "sync_error", "its_tables", "unclassified_columns"),
        *("functions_that_notify", "open_to_everybody"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Database]:
        unclassified = (
            Column.objects.filter(table__database=OuterRef("pk"), table__gone_at=None, gone_at=None, classification="")
            .order_by()
            .values("table__database")
        )
        return Database.objects.annotate(
            present=Count("tables", filter=Q(tables__gone_at=None)),
            unclassified=Subquery(unclassified.annotate(number=Count("pk")).values("number")),
            suggested=Subquery(unclassified.annotate(number=Count("pk", filter=WAITING)).values("number")),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Database | None = None) -> list[str]:
        fixed = [] if obj is None else ["server", "datname"]
        return [*fixed, *self.readonly_fields]

    def get_fields(self, request: HttpRequest, obj: Database | None = None) -> list[Any]:
        fields = [*DatabaseForm.Meta.fields, *services.PERMISSIONS]
        if obj is None:
            fields.remove("is_active")
            return fields
        return [*fields, *self.readonly_fields]

    @admin.display(description="tables", ordering="present")
    def present_tables(self, database: Database) -> int:
        return cast("int", database.present)  # type: ignore[attr-defined]

    @admin.display(description="tables")
    def its_tables(self, database: Database) -> SafeString:
        return format_html(
            '<a href="{}?database__id__exact={}">{} tables</a>, <a href="{}?table__database__id__exact={}">columns</a>',
            reverse("admin:catalog_table_changelist"),
            database.pk,
            self.present_tables(database),
            reverse("admin:catalog_column_changelist"),
            database.pk,
        )

    @admin.display(description="unclassified", ordering="unclassified")
    def unclassified_columns(self, database: Database) -> SafeString:
        number = database.unclassified or 0  # type: ignore[attr-defined]
        if not number:
            return SafeString("none")
        columns = reverse("admin:catalog_column_changelist")
        said = format_html(
            '<a href="{}?classification=none&table__database__id__exact={}">{} unclassified {}</a>',
            columns,
            database.pk,
            number,
            "column" if number == 1 else "columns",
        )
        if not database.suggested:  # type: ignore[attr-defined]
            return said
        return said + format_html(
            ', <a href="{}?suggestion=yes&table__database__id__exact={}">{} with a suggestion</a>',
            columns,
            database.pk,
            database.suggested,  # type: ignore[attr-defined]
        )

    @admin.display(description="functions that notify")
    def functions_that_notify(self, database: Database) -> str:
        waiting = notifying_unaccepted(database)
        if waiting:
            return f"Not accepted, so that nobody may connect directly: {', '.join(waiting)}"
        accepted = database.notifying_accepted
        return f"Accepted: {', '.join(accepted)}" if accepted else "none"

    @admin.display(description="open to everybody")
    def open_to_everybody(self, database: Database) -> SafeString:
        return _exposure([database])

    def save_model(self, request: HttpRequest, obj: Database, form: Any, change: bool) -> None:
        actor, said = person(request), form.cleaned_data
        if change:
            fields = {name: said[name] for name in form.changed_data if name in DatabaseForm.Meta.fields}
            self.attempt(request, partial(services.change_database, actor=actor, database_id=obj.pk, **fields))
        else:
            fields = {name: said[name] for name in _NEW_DATABASE}
            obj.pk = services.add_database(actor=actor, server_id=said["server"].pk, **fields).pk
        for permission in services.PERMISSIONS:
            for group in set(said[permission]) ^ set(groups_with(obj, permission)):
                present = group in said[permission]
                right = partial(services.set_rights, permission=permission, group=group, present=present)
                self.attempt(request, partial(right, actor=actor, database_id=obj.pk))

    @admin.action(description="Read tables now")
    def read(self, request: HttpRequest, databases: QuerySet[Database]) -> None:
        actor = person(request)
        self.call_verb(
            request,
            databases,
            lambda database: services.want_sync(actor=actor, database_id=database.pk),
            done="A worker reads",
        )

    def buttons_on(self, object_id: str) -> dict[str, str]:
        database = Database.objects.filter(pk=unquote(object_id)).first()
        is_asked = database is not None and notifying_unaccepted(database)
        return {name: label for name, label in self.buttons.items() if is_asked or name != "accept_notifying"}

    def accept_notifying(self, request: HttpRequest, database_id: str) -> str:
        names = services.accept_notifying(actor=person(request), database_id=database_id)
        return f"Accepted: {', '.join(names)}. Direct connections can be asked for."

    def read_now(self, request: HttpRequest, database_id: str) -> str:
        services.want_sync(actor=person(request), database_id=database_id)
        return "A worker reads its tables now; reload this page in a moment."


def _finding(finding: dict[str, str]) -> tuple[str, str, SafeString]:
    fix = format_html("<pre>{}</pre>", finding["fix"]) if finding["fix"] else SafeString("")
    return finding["severity"], finding["sentence"], fix


def _exposure(databases: Iterable[Database]) -> SafeString:
    """What PUBLIC may reach in each of them."""
    found = [
        {"database": database, "exposures": seen, "count": sum(one.count for one in seen)}
        for database, seen in ((database, exposures(database)) for database in databases)
    ]
    return render_to_string("admin/catalog/exposure.html", {"found": found})


def _download(server_id: str, text: str) -> HttpResponse:
    name = Server.objects.values_list("name", flat=True).get(pk=server_id)
    return HttpResponse(
        text,
        content_type="application/sql; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="bootstrap-{name}.sql"', "Cache-Control": "no-store"},
    )
