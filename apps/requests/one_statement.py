"""The exact SQL that a request may carry: what it has to be, so that nobody says yes to what cannot run.

A courtesy to those who decide, as the lexer behind it is (apps.engines.postgresql.splitting): what the statement may do
is for the database to say.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from apps.catalog.models import Database, Table
from apps.catalog.names import quoted, quoted_part
from apps.core.errors import Invalid
from apps.core.texts import checked
from apps.engines.base import Level, TableName
from apps.engines.postgresql.splitting import UNCOUNTABLE, Statement, refusal, split
from apps.policies.models import Connection
from apps.requests.scope import EffectiveScope

MAX_STATEMENT: Final = 20_000  # characters: approvers read it
MAX_EXPECTED: Final = 1_000_000_000


def checked_rows(value: object) -> None:
    """Raise Invalid unless `value` is a sane number of affected rows, or None."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_EXPECTED):
        sentence = f"The expected number of rows is a whole number, from 0 to {MAX_EXPECTED}."
        raise Invalid(sentence, field="expected_rows")


def checked_statement(given: str, *, expected_rows: int | None, level: str, connection: str, break_glass: bool) -> str:
    """Exactly as it was typed: what approvers read is what runs. Empty where any may run. Raises Invalid."""
    checked_rows(expected_rows)
    sql = checked(given, what="The statement", field="statement", at_most=MAX_STATEMENT)
    if not sql:
        if expected_rows is not None:
            raise Invalid("An expected number of rows belongs to a statement.", field="expected_rows")
        return ""
    if break_glass:
        raise Invalid("In an emergency access is not for one statement: leave it empty.", field="statement")
    if connection != Connection.CONSOLE:
        raise Invalid("An approved statement runs in the portal's console: choose that.", field="connection")
    if level == Level.EXPORT:
        raise Invalid("An approved statement reads or changes: choose the level query or change.", field="level")
    only = _only(sql)
    if why := refusal(only):
        raise Invalid(why, field="statement")
    if expected_rows is not None:
        _check_counts(only, level)
    return sql


def _check_counts(statement: Statement, level: str) -> None:
    """What can never affect the expected number of rows would be rolled back, and its approval used up."""
    if level != Level.CHANGE:
        raise Invalid(
            "Only what changes rows is held to an expected number: leave it empty, or choose the level change.",
            field="expected_rows",
        )
    first = next(iter(statement.words), "")
    if first in UNCOUNTABLE:
        raise Invalid(f"{first} does not say how many rows it changes: leave it empty.", field="expected_rows")


def check_tables(scope: EffectiveScope, database: Database, *, left_out: Iterable[TableName] = ()) -> None:
    """Raise Invalid where the statement writes a table in a way in which its login will not reach it.

    `left_out` are tables that it was asked for with: no plain name may be one of theirs alone.
    """
    if not scope.statement:
        return
    only = _only(scope.statement)
    if spoken := sorted(only.names & {table.name for table in left_out} - {table.name for table in scope.tables}):
        raise Invalid(f"The statement speaks of {spoken[0]}: that table cannot be left out.", field="tables")
    written = {TableName(*pair) for pair in only.dotted}
    if found := sorted(written & scope.seen.keys()):
        raise Invalid(_by_plain_name(found[0], scope), field="statement")
    if found := _elsewhere(written - set(scope.tables), database):
        raise Invalid(
            f"The statement names {quoted(found[0])}, which is not among the tables: choose it as well. If it is an "
            "alias with a column, give the alias another name.",
            field="statement",
        )


def _by_plain_name(table: TableName, scope: EffectiveScope) -> str:
    """The schema of the views is made with the login: nobody can write its name yet."""
    plain = quoted_part(table.name)
    why = "tables of a schema with masked columns are reached by their plain name"
    if Counter(one.name for one in scope.tables)[table.name] > 1:
        return f"The statement cannot tell {quoted(table)} from the other {plain}: {why}, so ask for one of them alone."
    return f"Write {plain} where the statement says {quoted(table)}: {why}."


def _elsewhere(written: set[TableName], database: Database) -> list[TableName]:
    """Those that are tables, and no alias with a column."""
    rows = Table.objects.filter(
        database=database,
        gone_at=None,
        schema__in={table.schema for table in written},
        name__in={table.name for table in written},
    )
    known = {TableName(schema, name) for schema, name in rows.values_list("schema", "name")}
    return sorted(written & known)


def _only(sql: str) -> Statement:
    found = split(sql)
    if len(found) != 1:
        said = f"These are {len(found)} statements" if found else "This says nothing"
        raise Invalid(f"{said}; exactly one can be approved and run.", field="statement")
    return found[0]
