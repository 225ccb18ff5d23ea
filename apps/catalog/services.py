"""What people do with the catalog. Only database administrators do, and whoever has a shell on the server."""

import secrets
from typing import Any, Final

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from guardian.shortcuts import assign_perm, remove_perm

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.bootstrap import bootstrap_sql, print_bootstrap, verifier_of
from apps.catalog.classification import classify, classify_many, save_data_class
from apps.catalog.classification_csv import export_classification, import_classification
from apps.catalog.exposure import accept_notifying, notifying_unaccepted
from apps.catalog.guards import CONSOLE_LIMITS, SESSION_LIMITS, check_database, check_secret, check_server
from apps.catalog.models import Column, Database, Server
from apps.catalog.pausing import pause_table, resume_table
from apps.catalog.preflight import run_preflight
from apps.catalog.rights import PERMISSIONS, groups_with
from apps.catalog.row_filters import add_filter, check_filter, refuse_filtered_unclassified, remove_filter
from apps.catalog.suggestions import accept_suggestions, dismiss_suggestions, run_suggest
from apps.catalog.sync import run_sync
from apps.catalog.targets import seal_secret
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.nudge import nudge
from apps.core.verbs import sqlstate, verb

__all__ = [
    "PERMISSIONS",
    "accept_notifying",
    "accept_suggestions",
    "add_database",
    "add_filter",
    "add_server",
    "bootstrap_sql",
    "change_database",
    "change_server",
    "check_filter",
    "classify",
    "classify_many",
    "dismiss_suggestions",
    "export_classification",
    "import_classification",
    "make_bootstrap",
    "new_manager_secret",
    "notifying_unaccepted",
    "pause_table",
    "remove_filter",
    "resume_table",
    "run_preflight",
    "run_suggest",
    "run_sync",
    "save_data_class",
    "set_manager_secret",
    "set_rights",
    "want_preflight",
    "want_reconcile",
    "want_sync",
]

_SERVER_FIELDS: Final = frozenset(
    {"name", "host", "port", "tls", "maintenance_database", "ca_certificate", "manager", "is_active", *SESSION_LIMITS}
)
_SERVER_PROOF: Final = ("host", "port", "tls", "ca_certificate")  # where it is, and how it shows that it is it
_DATABASE_FIELDS: Final = frozenset(
    {"slug", "environment", "description", "is_active", "hides_unclassified", *CONSOLE_LIMITS}
)
# Words of our own and numbers: the record says what they were. Of other fields it says that they changed.
_PLAIN_FACTS: Final = frozenset(
    {"port", "tls", "environment", "is_active", "hides_unclassified", *SESSION_LIMITS, *CONSOLE_LIMITS}
)
_TEXTS: Final = frozenset({"name", "host", "slug", "description", "maintenance_database", "manager"})
_UNIQUE_VIOLATION: Final = "23505"


@verb
def add_server(
    *,
    actor: Actor,
    name: str,
    kind: str = Server.Kind.POSTGRESQL,
    host: str,
    port: int = 5432,
    tls: str = Server.TlsMode.VERIFY_FULL,
    maintenance_database: str = "postgres",
    ca_certificate: str = "",
    manager: str = "jitportal",
    **limits: int,
) -> Server:
    """A server without a secret: the bootstrap SQL comes next. `limits`: seconds, any of SESSION_LIMITS."""
    require_dba(actor, what="add a server")
    if unknown := sorted(limits.keys() - set(SESSION_LIMITS)):
        raise Invalid(f"A server has no {unknown[0]}.", field=unknown[0])
    server = Server(
        name=name,
        kind=kind,
        host=host,
        port=port,
        tls=tls,
        maintenance_database=maintenance_database,
        ca_certificate=ca_certificate,
        manager=manager,
        **limits,
    )
    check_server(server)
    _save_server(server)
    facts: dict[str, Any] = {name: getattr(server, name) for name in SESSION_LIMITS}
    audit.record(
        Action.SERVER_ADDED,
        actor=actor_id(actor),
        subject=server.audit_id,
        facts=facts | {"kind": kind, "port": port, "tls": tls},
        disclosed={"name": name, "host": host},
    )
    return server


@widening("server.change")
def change_server(*, actor: Actor, server_id: str, **fields: Any) -> Server:
    """Change any of name, host, port, tls, maintenance_database, ca_certificate, manager, is_active, SESSION_LIMITS.

    A changed host or port clears the secret: it would be shown to a machine that it was not made for. Where its address
    or its proof of who it is changes while it has databases here, that takes a second person (Waits).
    """
    require_dba(actor, what="change a server")
    server = locked_server(server_id)
    if server.retiring_at and fields.get("is_active"):
        raise Conflict(f"{server} is being taken out of the catalog, so nothing is granted there.", field="is_active")
    before = _apply(server, fields, allowed=_SERVER_FIELDS)
    if not before:
        return server
    check_server(server)
    _require_second_for_server(actor, server, before)
    moved = bool({"host", "port"} & before.keys())
    if moved:
        _refuse_to_leave(server)
        server.manager_secret, server.next_manager_secret, server.manager_verifier = None, None, ""
        server.findings, server.checked_at, server.skew_seconds = [], None, None
    if not before.keys() <= {"name", "is_active", *SESSION_LIMITS}:
        server.check_wanted_at = clock.now()
    _save_server(server)
    facts, disclosed = _told(server, before)
    audit.record(
        Action.SERVER_CHANGED,
        actor=actor_id(actor),
        subject=server.audit_id,
        facts=facts | {"secret_cleared": moved},
        disclosed=disclosed,
    )
    nudge()
    return server


def _refuse_to_leave(server: Server) -> None:
    """Elsewhere there is nothing of what was granted here, which would be taken for the proof that it has ended.

    A server that does not answer may have moved. Whether it does, and who has access, is told by rows of a room above.
    """
    found = Server.objects.filter(pk=server.pk, grants__status__in=["active", "ending"])
    if found.exclude(state__unreachable_since__isnull=False).exists():
        raise Conflict(
            f"Somebody has access on {server}, and it answers at its address: revoke that first, and come back when "
            "it has ended. Another machine is another server: add it as one.",
            field="host",
        )


@verb
def set_manager_secret(*, actor: Actor, server_id: str, secret: str) -> Server:
    """Keep a password that the server's administrator has set for the manager."""
    require_dba(actor, what="set a server's secret")
    check_secret(secret)
    server = locked_server(server_id)
    server.check_wanted_at = clock.now()
    _keep_secret(server, secret, actor=actor)
    return server


@verb
def new_manager_secret(*, actor: Actor, server_id: str) -> str:
    """A new random password for the manager; returns the bootstrap SQL that sets it on the server.

    Until that SQL has run there, the portal cannot work on the server. The password itself is shown to nobody.
    """
    require_dba(actor, what="make a new secret for a server")
    server = locked_server(server_id)
    _keep_secret(server, secrets.token_urlsafe(32), actor=actor)
    return print_bootstrap(server, server.manager_verifier)


@verb
def make_bootstrap(*, actor: Actor, server_id: str) -> str:
    """The bootstrap SQL of a server, with the password it has; the first time one is made."""
    require_dba(actor, what="make the bootstrap SQL of a server")
    server = locked_server(server_id)
    if not server.manager_verifier:
        _keep_secret(server, secrets.token_urlsafe(32), actor=actor)
    return print_bootstrap(server, server.manager_verifier)


@verb
def want_preflight(*, actor: Actor, server_id: str) -> None:
    """Ask a worker to look at a server; what it finds is recorded."""
    require_dba(actor, what="check a server")
    server = locked_server(server_id)
    server.check_wanted_at = clock.now()
    server.save(update_fields=["check_wanted_at"])
    nudge()


@verb
def want_reconcile(*, actor: Actor, server_id: str) -> None:
    """Ask a worker to compare what is on a server with what should be; what it finds is recorded."""
    require_dba(actor, what="have a server compared")
    server = locked_server(server_id)
    server.reconcile_wanted_at = clock.now()
    server.save(update_fields=["reconcile_wanted_at"])
    nudge()


@verb
def add_database(
    *,
    actor: Actor,
    server_id: str,
    slug: str,
    datname: str,
    environment: str,
    description: str = "",
    hides_unclassified: bool = False,
    **limits: int,
) -> Database:
    """A database of a server; its tables are read as soon as a worker can. `limits`: any of CONSOLE_LIMITS."""
    require_dba(actor, what="add a database")
    if unknown := sorted(limits.keys() - set(CONSOLE_LIMITS)):
        raise Invalid(f"A database has no {unknown[0]}.", field=unknown[0])
    server = locked_server(server_id)
    database = Database(
        server=server,
        slug=slug,
        datname=datname,
        environment=environment,
        description=description,
        hides_unclassified=hides_unclassified,
        sync_wanted_at=clock.now(),
        **limits,
    )
    check_database(database)
    _save_database(database)
    facts: dict[str, Any] = {name: getattr(database, name) for name in CONSOLE_LIMITS}
    audit.record(
        Action.DATABASE_ADDED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts=facts | {"server": server.pk, "environment": environment, "hides_unclassified": hides_unclassified},
        disclosed={"slug": slug, "datname": datname, "description": description},
    )
    nudge()
    return database


@widening("database.change")
def change_database(*, actor: Actor, database_id: str, **fields: Any) -> Database:
    """Change any of slug, environment, description, is_active, hides_unclassified and CONSOLE_LIMITS.

    Another database of the server is another row. Another environment, and to show what nobody has classified, takes a
    second person (Waits).
    """
    require_dba(actor, what="change a database")
    database = _locked_database(database_id)
    before = _apply(database, fields, allowed=_DATABASE_FIELDS)
    if not before:
        return database
    check_database(database)
    if "hides_unclassified" in before and database.hides_unclassified:
        refuse_filtered_unclassified(database)
    _require_second_for_database(actor, database, before)
    _save_database(database)
    facts, disclosed = _told(database, before)
    audit.record(
        Action.DATABASE_CHANGED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts=facts,
        disclosed=disclosed,
    )
    nudge()
    return database


@verb
def want_sync(*, actor: Actor, database_id: str) -> None:
    """Ask a worker to read the tables of a database again."""
    require_dba(actor, what="read a database's tables")
    database = _locked_database(database_id)
    database.sync_wanted_at = clock.now()
    database.save(update_fields=["sync_wanted_at"])
    nudge()


@widening("rights.set")
def set_rights(*, actor: Actor, database_id: str, permission: str, group: Group, present: bool) -> bool:
    """Let a group ask for a database, own it or its data, or break its glass, or no longer. See PERMISSIONS.

    Returns whether anything changed. To give a right takes a second person (Waits).
    """
    require_dba(actor, what="change who may ask for a database or owns it")
    if permission not in PERMISSIONS:
        raise Invalid(f"Choose one of: {', '.join(PERMISSIONS)}.", field="permission")
    database = _locked_database(database_id)
    if groups_with(database, permission).filter(pk=group.pk).exists() == present:
        return False
    right = [Line(f"the group “{group.name}”", *("", permission.replace("_", " "))[:: 1 if present else -1])]
    right += [Line("on", "", where) for where in _where(database)] if present else []
    about = f"Rights on {database}"
    require_second(actor, about=about, subject=database.audit_id, difference=right, widens=present)
    (assign_perm if present else remove_perm)(permission, group, database)
    audit.record(
        Action.RIGHTS_CHANGED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts={"permission": permission, "group": group.pk, "present": present},
        disclosed={"group": group.name},
    )
    nudge()
    return True


def _require_second_for_server(actor: Actor, server: Server, before: dict[str, Any]) -> None:
    """Elsewhere may be a machine of somebody's own, which would be handed passwords and believed."""
    widens = bool(set(_SERVER_PROOF) & before.keys()) and server.databases.exists()
    difference = [_line(server, name, before[name]) for name in sorted(before)]
    require_second(actor, about=f"Server {server}", subject=server.audit_id, difference=difference, widens=widens)


def _require_second_for_database(actor: Actor, database: Database, before: dict[str, Any]) -> None:
    """Rules of the policy look at the environment."""
    shows = before.get("hides_unclassified") is True
    difference = [_line(database, name, before[name]) for name in sorted(before)]
    if shows:
        columns = Column.objects.filter(table__database=database, table__gone_at=None, gone_at=None, classification="")
        ordered = columns.select_related("table").order_by("table__schema", "table__name", "position")
        difference += [Line(str(column), "hidden", "shown") for column in ordered]
    widens = shows or "environment" in before
    require_second(actor, about=f"Database {database}", subject=database.audit_id, difference=difference, widens=widens)


def _where(database: Database) -> list[str]:
    """Which database a right is on: its name here tells little."""
    server = database.server
    return [f"{database.environment}", f"{database.datname} on {server.host}:{server.port}"]


def _line(row: Server | Database, name: str, before: object) -> Line:
    return Line(name.replace("_", " "), str(before), str(getattr(row, name)))


def locked_server(server_id: str) -> Server:
    """Inside a verb. Raises NotFound, and Conflict for one that was taken out."""
    try:
        server = Server.objects.select_for_update(no_key=True).get(pk=server_id)
    except Server.DoesNotExist as error:
        raise NotFound("There is no such server.") from error
    if server.retired_at:
        raise Conflict(f"{server} was taken out of the catalog. To use it again, add it under another name.")
    return server


def _locked_database(database_id: str) -> Database:
    try:
        return Database.objects.select_for_update(no_key=True).get(pk=database_id)
    except Database.DoesNotExist as error:
        raise NotFound("There is no such database.") from error


def _keep_secret(server: Server, secret: str, *, actor: Actor) -> None:
    server.manager_secret, server.next_manager_secret = seal_secret(server, secret), None
    server.manager_verifier = verifier_of(secret)
    server.save(update_fields=["manager_secret", "next_manager_secret", "manager_verifier", "check_wanted_at"])
    audit.record(
        Action.SERVER_CHANGED, actor=actor_id(actor), subject=server.audit_id, facts={"changed": ["manager_secret"]}
    )
    nudge()


def _apply(row: Server | Database, fields: dict[str, Any], *, allowed: frozenset[str]) -> dict[str, Any]:
    """Set the fields that differ; returns what they were."""
    if unknown := sorted(fields.keys() - allowed):
        raise Invalid(f"{', '.join(unknown)} cannot be changed.", field=unknown[0])
    before = {name: getattr(row, name) for name, value in fields.items() if getattr(row, name) != value}
    for name in before:
        setattr(row, name, fields[name])
    return before


def _told(row: Server | Database, before: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the record says of a change: plain facts, and texts apart from them."""
    facts: dict[str, Any] = {"changed": sorted(before)}
    facts |= {name: [old, getattr(row, name)] for name, old in before.items() if name in _PLAIN_FACTS}
    disclosed = {name: f"{old} → {getattr(row, name)}" for name, old in before.items() if name in _TEXTS}
    return facts, disclosed


def _save_server(server: Server) -> None:
    try:
        with transaction.atomic():  # a savepoint, so that the refusal can still be told
            server.save()
    except IntegrityError as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        raise Invalid(f"There is a server called {server.name} already.", field="name") from error


def _save_database(database: Database) -> None:
    try:
        with transaction.atomic():  # as in _save_server()
            database.save()
    except IntegrityError as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        if error.__cause__.diag.constraint_name == "database_once_per_server":  # type: ignore[union-attr]
            raise Invalid(f"{database.server} has {database.datname} here already.", field="datname") from error
        raise Invalid(f"There is a database called {database.slug} already.", field="slug") from error
