"""Servers, databases, tables and columns as a database administrator sees them. Everything that changes is a verb."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.accounts.adminsite import PortalModelAdmin, ReadOnlyAdmin, VerbForm, person, portal_admin
from apps.catalog import services
from apps.catalog.buttons import ButtonsAdmin
from apps.catalog.filters import ClassificationFilter, PresenceFilter
from apps.catalog.models import Classification, Column, Database, Server, Table
from apps.catalog.rights import groups_with
from apps.core.errors import PortalError
from apps.engines.base import Severity


class ServerForm(VerbForm):
    class Meta:
        model = Server
        fields = ["name", "host", "port", "tls", "ca_certificate", "maintenance_database", "is_active"]
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
    list_display = ["name", "host", "port", "state", "checked_at", "is_active"]
    list_filter = ["is_active"]
    search_fields = ["name", "host"]
    readonly_fields = ["password", "state", "checked_at", "clock", "what_was_found", "its_databases"]

    def get_fields(self, request: HttpRequest, obj: Server | None = None) -> list[Any]:
        fields = list(ServerForm.Meta.fields)
        if obj is None:
            fields.remove("is_active")
            return fields
        return [*fields, "password", "its_databases", "state", "checked_at", "clock", "what_was_found"]

    @admin.display(description="password of the portal")
    def password(self, server: Server) -> str:
        if server.manager_secret is None:
            return "none yet: make the bootstrap SQL"
        return "sealed to the workers; after a new one the portal cannot work there until its SQL has run"

    @admin.display(description="state")
    def state(self, server: Server) -> str:
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

    class Meta:
        model = Database
        fields = ["server", "slug", "datname", "environment", "description", "is_active"]
        labels = {"slug": "Name"}
        help_texts = {"slug": "What people call it: a–z, 0–9 and hyphens.", "datname": "As in CREATE DATABASE."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            for permission in services.PERMISSIONS:
                self.fields[permission].initial = groups_with(self.instance, permission)


@admin.register(Database, site=portal_admin)
class DatabaseAdmin(ButtonsAdmin):
    """What people ask for, who may, and who owns it."""

    form = DatabaseForm
    may_add = may_change = True
    buttons: ClassVar[dict[str, str]] = {"read_now": "Read its tables now"}
    actions = ["read"]
    list_display = ["slug", "server", "environment", "present_tables", "synced_at", "sync_error", "is_active"]
    list_filter = ["environment", "server", "is_active"]
    list_select_related = ["server"]
    search_fields = ["slug", "datname", "description"]
    readonly_fields = ["synced_at", "sync_error", "its_tables"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Database]:
        return Database.objects.annotate(present=Count("tables", filter=Q(tables__gone_at=None)))

    def get_readonly_fields(self, request: HttpRequest, obj: Database | None = None) -> list[str]:
        fixed = [] if obj is None else ["server", "datname"]
        return [*fixed, *self.readonly_fields]

    def get_fields(self, request: HttpRequest, obj: Database | None = None) -> list[Any]:
        fields = [*DatabaseForm.Meta.fields, *services.PERMISSIONS]
        if obj is None:
            fields.remove("is_active")
            return fields
        return [*fields, "its_tables", "synced_at", "sync_error"]

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

    def save_model(self, request: HttpRequest, obj: Database, form: Any, change: bool) -> None:
        actor, said = person(request), form.cleaned_data
        if change:
            fields = {name: said[name] for name in form.changed_data if name in DatabaseForm.Meta.fields}
            services.change_database(actor=actor, database_id=obj.pk, **fields)
        else:
            fields = {name: said[name] for name in ("slug", "datname", "environment", "description")}
            obj.pk = services.add_database(actor=actor, server_id=said["server"].pk, **fields).pk
        for permission in services.PERMISSIONS:
            for group in set(said[permission]) ^ set(groups_with(obj, permission)):
                services.set_rights(
                    actor=actor,
                    database_id=obj.pk,
                    permission=permission,
                    group=group,
                    present=group in said[permission],
                )

    @admin.action(description="Read tables now")
    def read(self, request: HttpRequest, databases: QuerySet[Database]) -> None:
        actor = person(request)
        self.call_verb(
            request,
            databases,
            lambda database: services.want_sync(actor=actor, database_id=database.pk),
            done="A worker reads",
        )

    def read_now(self, request: HttpRequest, database_id: str) -> str:
        services.want_sync(actor=person(request), database_id=database_id)
        return "A worker reads its tables now; reload this page in a moment."


@admin.register(Table, site=portal_admin)
class TableAdmin(ReadOnlyAdmin):
    """Tables as they were last read."""

    list_display = ["__str__", "database", "kind", "rows", "first_seen_at", "gone_at"]
    list_filter = [PresenceFilter, "database", "kind"]
    list_select_related = ["database"]
    search_fields = ["schema", "name"]
    fields = [
        "database", "schema", "name", "kind", "comment", "rows", "first_seen_at", "gone_at", "its_columns",
    ]  # fmt: skip
    readonly_fields = ["rows", "its_columns"]

    @admin.display(description="rows, estimated", ordering="estimated_rows")
    def rows(self, table: Table) -> str:
        return "never counted" if table.estimated_rows < 0 else f"{table.estimated_rows:,}"

    @admin.display(description="columns")
    def its_columns(self, table: Table) -> SafeString:
        return format_html_join(
            "",
            '<p><a href="{}">{}</a> {} {} {}</p>',
            (
                (
                    reverse("admin:catalog_column_change", args=[column.pk]),
                    column.name,
                    column.type,
                    column.get_classification_display(),
                    "gone" if column.gone_at else "",
                )
                for column in table.columns.all()
            ),
        )


class DataClassForm(ActionForm):
    """A field beside the list of actions."""

    data_class = forms.CharField(required=False, label="Data class (empty: as it is)")


class ColumnForm(VerbForm):
    class Meta:
        model = Column
        fields = ["classification", "data_class"]


@admin.register(Column, site=portal_admin)
class ColumnAdmin(PortalModelAdmin):
    """Where columns are classified, one or many at a time."""

    form = ColumnForm
    may_change = True
    action_form = DataClassForm
    list_display = ["name", "table", "database", "type", "classification", "data_class"]
    list_filter = [ClassificationFilter, PresenceFilter, "table__database"]
    list_select_related = ["table__database"]
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
        "first_seen_at",
        "gone_at",
    ]
    readonly_fields = ["name", "table", "database", "type", "comment", "first_seen_at", "gone_at"]

    @admin.display(description="database", ordering="table__database__slug")
    def database(self, column: Column) -> Database:
        return column.table.database

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
        )


def _classifier(classification: str) -> Callable[[ColumnAdmin, HttpRequest, QuerySet[Column]], None]:
    def act(page: ColumnAdmin, request: HttpRequest, columns: QuerySet[Column]) -> None:
        try:
            changed = services.classify_many(
                actor=person(request),
                column_ids=list(columns.order_by().values_list("pk", flat=True)),
                classification=classification,
                data_class=request.POST.get("data_class", "").strip() or None,
            )
        except PortalError as refusal:
            page.message_user(request, refusal.sentence, messages.ERROR)
        else:
            page.message_user(request, f"Columns that changed: {changed}.", messages.SUCCESS)

    return act


def _finding(finding: dict[str, str]) -> tuple[str, str, SafeString]:
    fix = format_html("<pre>{}</pre>", finding["fix"]) if finding["fix"] else SafeString("")
    return finding["severity"], finding["sentence"], fix


def _download(server_id: str, text: str) -> HttpResponse:
    name = Server.objects.values_list("name", flat=True).get(pk=server_id)
    return HttpResponse(
        text,
        content_type="application/sql; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="bootstrap-{name}.sql"', "Cache-Control": "no-store"},
    )
