"""The classification of a database as a CSV file, and back: all of it or nothing.

In a file that comes back an empty cell leaves a value as it is, and `none` takes it away: a cell that somebody has
forgotten must not unmask a column. Columns that the file does not name stay as they are.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db.models import Q

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.classification import (
    is_masked_as,
    label_of,
    locked_columns_where,
    require_second_to_label,
    write_labels,
)
from apps.catalog.differences import Label
from apps.catalog.labels import NOBODY_HAS_LOOKED, Checker, lowers
from apps.catalog.models import Classification, Column, Database
from apps.catalog.row_filters import refuse_filtered
from apps.core import csvsafe
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.nudge import nudge
from apps.core.verbs import verb

HEADER: Final = ("schema", "table", "column", "type", "classification", "data_class", "mask")
MOST_BYTES: Final = 10_000_000
_NAMES: Final = ("schema", "table", "column")
_LABELS: Final = ("classification", "data_class", "mask")
_SHOWN_PROBLEMS: Final = 20
_LISTED: Final = 200  # in one entry of the record


class BadFile(Invalid):
    """Nothing was changed; `problems` are sentences with the numbers of their lines, the first twenty."""

    def __init__(self, problems: list[str]) -> None:
        more = f" … and {len(problems) - _SHOWN_PROBLEMS} more." if len(problems) > _SHOWN_PROBLEMS else ""
        self.problems = problems[:_SHOWN_PROBLEMS]
        lines = "line is" if len(problems) == 1 else "lines are"
        super().__init__(
            f"Nothing was changed: {len(problems)} {lines} wrong. {' '.join(self.problems)}{more}", field="file"
        )


@dataclass(frozen=True)
class Change:
    """One column that a file labels differently. `is_lowered`: it is less protected then, or may be."""

    column: str
    before: Label
    after: Label
    is_lowered: bool

    def __str__(self) -> str:
        return f"{self.column}: {self.before} → {self.after}"


@dataclass(frozen=True)
class Imported:
    """What a file changes. Lowered ones first."""

    rows: int
    changes: tuple[Change, ...]

    @property
    def lowered(self) -> int:
        return sum(change.is_lowered for change in self.changes)

    @property
    def digest(self) -> str:
        """Of what somebody has seen, so that nothing else is done in its place."""
        return hashlib.sha256(repr(self.changes).encode()).hexdigest()


@verb
def export_classification(*, actor: Actor, database_id: str) -> Iterator[str]:
    """Lines of a CSV file with every column that is there, also those that nobody has classified."""
    require_dba(actor, what="export the classification of a database")
    database = _database(database_id)
    rows = list(
        Column.objects.filter(table__database=database, table__gone_at=None, gone_at=None)
        .order_by("table__schema", "table__name", "position")
        .values_list(
            *("table__schema", "table__name", "name", "type", "classification", "data_class", "mask_override"),
        )
    )
    audit.record(
        Action.CLASSIFICATION_EXPORTED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts={"columns": len(rows), "unclassified": sum(not row[4] for row in rows)},
    )
    return csvsafe.stream(HEADER, ([*map(_doubled, row[:3]), *row[3:]] for row in rows))


@widening("classification.import")
def import_classification(
    *, actor: Actor, database_id: str, file: bytes | str, dry_run: bool = False, seen: str = ""
) -> Imported:
    """Label columns as a file says. `dry_run`: only say what would change. `seen`: the digest of what was shown.

    Raises BadFile about its lines, Conflict where it would change other things than were shown, and Waits where it
    protects a column less.
    """
    require_dba(actor, what="import the classification of a database")
    database = _database(database_id)
    rows = _rows(text_of(file))
    labels = _Reader(database).read(rows)
    imported = _imported(labels, len(rows))
    if dry_run or not labels:
        return imported
    if seen and seen != imported.digest:
        raise Conflict("The catalog has changed since you looked: look at what the file would change again.")
    require_second_to_label(labels, actor=actor)
    write_labels(labels)
    audit.record(
        Action.CLASSIFICATION_IMPORTED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts={
            "rows": imported.rows,
            "columns": len(labels),
            "lowered": imported.lowered,
            "before": dict(Counter(change.before.classification or NOBODY_HAS_LOOKED for change in imported.changes)),
            "after": dict(Counter(change.after.classification or NOBODY_HAS_LOOKED for change in imported.changes)),
        },
        disclosed={"columns": "\n".join(map(str, imported.changes[:_LISTED]))},
    )
    nudge()
    return imported


def _database(database_id: str) -> Database:
    """Locked, so that no reading of its tables comes in between."""
    row = (
        Database.objects.select_for_update(no_key=True, of=("self",))
        .select_related("server")
        .filter(pk=database_id)
        .first()
    )
    if row is None:
        raise NotFound("There is no such database.")
    return row


def text_of(file: bytes | str) -> str:
    if len(file) > MOST_BYTES:
        raise Invalid(f"The file has more than {MOST_BYTES // 1_000_000} MB: import it in parts.", field="file")
    if isinstance(file, str):
        return file.removeprefix("\ufeff")
    try:
        return file.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("The file is not in UTF-8: save it as “CSV UTF-8”.", field="file") from error


def _rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """Number of its last line, and cells by the name of their column. Lines that are empty are left out."""
    first = text.partition("\n")[0]
    semicolons = first.count(";") > first.count(",")  # as spreadsheets write in countries with decimal commas
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ",", strict=True)
    try:
        header = _header(next(reader, []))
        rows = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is no CSV: {error}.", field="file") from error
    wrong = [
        f"Line {line} has {len(cells)} cells where the first line has {len(header)}."
        for line, cells in rows
        if len(cells) != len(header)
    ]
    if wrong:
        raise BadFile(wrong)
    return [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    missing = [name for name in _NAMES if name not in names]
    if not set(_LABELS) & set(names):
        missing.append(" or ".join(_LABELS))
    if missing:
        raise Invalid(
            f"The first line has to name the columns {', '.join(HEADER)}; missing: {', '.join(missing)}.", field="file"
        )
    if odd := sorted({name or "(empty)" for name in names if name not in HEADER or names.count(name) > 1}):
        raise Invalid(f"The first line names what is unknown or there twice: {', '.join(odd)}.", field="file")
    return names


class _Reader:
    """Finds the columns that rows are about, and what they say of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        there = Q(table__database=database, table__gone_at=None, gone_at=None)
        self._columns = {
            (column.table.schema, column.table.name, column.name): column for column in locked_columns_where(there)
        }
        self._tables = {names[:2] for names in self._columns}
        self._checker = Checker()
        self._lines: dict[Column, int] = {}
        self._problems: list[str] = []

    def read(self, rows: list[tuple[int, dict[str, str]]]) -> dict[Column, Label]:
        """Those that change. Raises BadFile."""
        labels = {}
        for line, cells in rows:
            try:
                column, label = self._row(line, cells)
            except Invalid as problem:
                self._problems.append(f"Line {line}: {problem.sentence}")
            else:
                if label != label_of(column):
                    labels[column] = label
        if self._problems:
            raise BadFile(self._problems)
        refuse_filtered(column for column, label in labels.items() if is_masked_as(column, label))
        return labels

    def _row(self, line: int, cells: dict[str, str]) -> tuple[Column, Label]:
        column = self._column(*(_single(cells[name]) for name in _NAMES))
        if earlier := self._lines.get(column):
            raise Invalid(f"{column} stands on line {earlier} already.")
        self._lines[column] = line
        given = [_given(cells.get(name, ""), is_) for name, is_ in zip(_LABELS, label_of(column), strict=True)]
        label = Label(*given)
        if label.classification not in {"", *Classification.values}:
            levels = ", ".join(Classification.values)
            raise Invalid(f"there is no level “{label.classification}”: write {levels} or {NOBODY_HAS_LOOKED}.")
        if label != label_of(column):
            self._checker.check(column, label)
        return column, label

    def _column(self, schema: str, table: str, name: str) -> Column:
        if column := self._columns.get((schema, table, name)):
            return column
        if (schema, table) not in self._tables:
            raise Invalid(f"there is no table {schema}.{table} in {self._database}, or it is gone.")
        raise Invalid(f"there is no column {name} in {schema}.{table}, or it is gone.")


def _given(cell: str, as_it_is: str) -> str:
    text = csvsafe.plain(cell).strip()
    return as_it_is if not text else "" if text.lower() == NOBODY_HAS_LOOKED else text


def _imported(labels: dict[Column, Label], rows: int) -> Imported:
    lowered = lowers({column: (label_of(column), after) for column, after in labels.items()})
    changes = [Change(str(column), label_of(column), after, lowered[column]) for column, after in labels.items()]
    return Imported(rows, tuple(sorted(changes, key=lambda change: (not change.is_lowered, change.column))))


# A name that begins with an apostrophe gets another one, so that it is not taken for a name made safe.
def _doubled(name: str) -> str:
    return f"'{name}" if name.startswith("'") else name


def _single(cell: str) -> str:
    return cell[1:] if cell.startswith("''") else csvsafe.plain(cell)
