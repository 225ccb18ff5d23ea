"""The views of a scope: one schema of them for each source schema, owned by the masker.

Their comments say whose they are and what they were made of, so that one that was altered is seen.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import Refused, Scope, Shown, TableName, Target
from apps.engines.postgresql import names
from apps.engines.postgresql.connect import Connection, ask, batch
from apps.engines.postgresql.queries import query, text_array
from apps.engines.postgresql.view_plans import Plan

_MADE_OF = re.compile(r"scope=(\S+) text=([0-9a-f]{32}) definition=([0-9a-f]{32}) ordered=(yes|no): ")


@dataclass(frozen=True)
class View:
    """A view of a scope as it is on the target. `source_kind` is the relkind of what it shows: r, p, v or m."""

    oid: int
    schema: str
    name: str
    table: TableName
    source_oid: int
    source_kind: str
    shown: Shown


@dataclass(frozen=True)
class Standing:
    """A row of sql/views.sql: a view of a scope, there or not."""

    schema: str
    name: str
    namespace: int | None
    schema_ours: bool | None
    schema_comment: str | None
    oid: int | None
    ours: bool | None
    comment: str | None
    definition: str | None
    options: list[str]
    rules: int
    sources: list[int] | None
    source_kind: str | None
    writes: dict[str, list[str]]

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.name)

    def digest(self) -> str:
        """Of what it does, as the server tells it."""
        told = json.dumps([self.definition, self.options, self.rules])
        return hashlib.sha256(told.encode()).hexdigest()[: names.DIGEST_LENGTH]

    def made_of(self, target: Target, role: str) -> tuple[str, bool] | None:
        """The digest of our text, and whether it is ordered; None unless it is ours and as it was made."""
        if self.oid is None or not self.ours or not names.is_ours(target.portal_id, self.comment):
            return None
        found = _MADE_OF.match(names.without_mark(target.portal_id, self.comment or ""))
        if found is None or found[1] != role or found[3] != self.digest():
            return None
        return found[2], found[4] == "yes"


def stand(connection: Connection, scope: Scope) -> list[Standing]:
    """As they are, in the order of the scope."""
    return ask_stand(connection, scope)()


def ask_stand(connection: Connection, scope: Scope) -> Callable[[], list[Standing]]:
    """The same; see connect.ask()."""
    if not scope.views:
        return list
    schemas = names.view_schemas(scope)
    keys = [(schemas[view.table.schema], view.table.name) for view in scope.views]
    parameters = {
        "masker": names.MASKER,
        "scope_role": names.scope_role_name(scope),
        "schemas": text_array(schema for schema, _ in keys),
        "names": text_array(name for _, name in keys),
    }
    told = ask(connection, query("views"), parameters, class_row(Standing))

    def in_order() -> list[Standing]:
        found = {standing.key: standing for standing in told()}
        return [found[key] for key in keys]

    return in_order


def stale(target: Target, scope: Scope, planned: Sequence[Plan], standing: Sequence[Standing]) -> list[Plan]:
    """The views that are to be made: missing, altered, or with another text than they would have now."""
    role = names.scope_role_name(scope)
    return [
        plan
        for plan, one in zip(planned, standing, strict=True)
        if (made_of := one.made_of(target, role)) is None
        or made_of[0] != plan.digest
        or one.sources != [plan.source.oid]
    ]


def make(
    connection: Connection, target: Target, scope: Scope, wanted: Sequence[Plan], standing: Sequence[Standing]
) -> list[Standing]:
    """As the masker, which the session must have become. A view that is there is made anew, with no right on it.

    What stands then; it wants comments().
    """
    if not wanted:
        return list(standing)
    before = {one.key: one for one in standing}
    if any(before[plan.key].namespace is None for plan in wanted):
        _refuse_without_create(connection, scope)
    batch(connection, [*_schemas(target, scope, wanted, before), *_texts(wanted, before)])
    return stand(connection, scope)


def comments(target: Target, scope: Scope, made: Sequence[Plan], standing: Sequence[Standing]) -> list[sql.Composable]:
    """What views that were just made are known by."""
    now = {one.key: one for one in standing}
    return [_comment(target, scope, plan, now[plan.key]) for plan in made]


def _refuse_without_create(connection: Connection, scope: Scope) -> None:
    may = "SELECT has_database_privilege(%s, current_database(), 'CREATE')"
    if not connection.execute(may, [names.MASKER]).fetchall()[0][0]:
        parts = map(sql.Identifier, (scope.database, names.MASKER))
        raise Refused(
            f"The role {names.MASKER} may not create schemas in the database “{scope.database}”, and masks need one: "
            + sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(*parts).as_string(None)
        )


def _schemas(
    target: Target, scope: Scope, wanted: Sequence[Plan], standing: dict[tuple[str, str], Standing]
) -> list[sql.Composable]:
    role = names.scope_role_name(scope)
    statements: list[sql.Composable] = []
    for plan in {plan.schema: plan for plan in wanted}.values():
        there, name = standing[plan.key], sql.Identifier(plan.schema)
        comment = names.view_schema_comment(target.portal_id, role, plan.source.schema)
        if there.namespace is None:
            statements.append(sql.SQL("CREATE SCHEMA {}").format(name))
        elif not there.schema_ours:
            raise Refused(f"The schema {plan.schema} is there and is not the portal's; a DBA must look at it.")
        if there.schema_comment != comment:
            statements.append(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(name, sql.Literal(comment)))
    return statements


def _texts(wanted: Sequence[Plan], standing: dict[tuple[str, str], Standing]) -> list[sql.Composable]:
    """Dropped with what somebody has built on it, which must not keep it from being made anew."""
    there = [plan.identifier for plan in wanted if standing[plan.key].oid is not None]
    drop = [sql.SQL("DROP VIEW {} CASCADE").format(sql.SQL(", ").join(there))] if there else []
    return [*drop, *(plan.text for plan in wanted)]


def _comment(target: Target, scope: Scope, plan: Plan, made: Standing) -> sql.Composed:
    """Also for an owner whose ALTER TABLE the view blocks, as the server then names the view (field notes M10)."""
    ordered = "yes" if plan.shown.ordered else "no"
    text = names.comment(
        target.portal_id,
        f"scope={names.scope_role_name(scope)} text={plan.digest} definition={made.digest()} ordered={ordered}: "
        f"shows {plan.shown.table} to temporary grants and is dropped with the last of them. If it is in the way of "
        "a change to that table, pause masking of the table in the portal: that ends these grants.",
    )
    return sql.SQL("COMMENT ON VIEW {} IS {}").format(plan.identifier, sql.Literal(text))


def as_made(plan: Plan, standing: Standing) -> View:
    """A view that stands as planned."""
    if standing.oid is None or plan.source.oid is None:
        raise Refused(f"The server took the text of {plan.shown.view}, but the view is not there.")
    return View(standing.oid, *standing.key, plan.viewed.table, plan.source.oid, plan.source.relkind, plan.shown)
