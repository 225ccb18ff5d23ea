"""The evidence of a grant for its page: what it sees through views, what directly, what everybody reaches anyway."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.catalog.names import parse_table, quoted_part
from apps.engines.base import TableName
from apps.portal import words

_EVERYBODY: Final = "PUBLIC"


@dataclass(frozen=True)
class SeenColumn:
    name: str
    shows: str  # "its values", or the mask in words
    masked: bool
    unmasked: bool  # its values are shown because that was approved
    may: str  # at change level: "insert, update", or "no: it is masked"


@dataclass(frozen=True)
class SeenTable:
    table: str
    view: str
    columns: tuple[SeenColumn, ...]
    filters: tuple[str, ...]
    ordered: bool
    deletes: bool

    @property
    def masked(self) -> int:
        return sum(column.masked for column in self.columns)

    @property
    def writes(self) -> bool:
        return any(column.may for column in self.columns)


@dataclass(frozen=True)
class Held:
    object: str
    privileges: tuple[str, ...]
    via: str


@dataclass(frozen=True)
class Reached:
    views: tuple[SeenTable, ...]
    direct: tuple[Held, ...]
    everybody: tuple[Held, ...]
    findings: tuple[str, ...]

    @property
    def schemas(self) -> tuple[tuple[str, str], ...]:
        """(schema, the schema of its views), once each."""
        return tuple(dict.fromkeys((_schema(one.table), _schema(one.view)) for one in self.views))

    @property
    def has_masks(self) -> bool:
        return any(one.masked for one in self.views)

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """Names that several schemas have: alone they mean the table of the first of them on the search path."""
        direct = (one.object.partition(" ") for one in self.direct)
        tables = [one.table for one in self.views] + [name for kind, _, name in direct if kind == "table"]
        parsed = map(parse_table, tables)
        counted = Counter(quoted_part(table.name) for table in parsed if isinstance(table, TableName))
        return tuple(sorted(name for name, number in counted.items() if number > 1))


def reached(evidence: Mapping[str, Any] | None, unmasked: Collection[str] = ()) -> Reached | None:
    """None where there is no evidence yet. `unmasked` are full names of columns."""
    if not evidence or not evidence.get("reach"):
        return None
    held = [Held(one["object"], tuple(one["privileges"]), one["via"]) for one in evidence["reach"]]
    deletes = {one.object for one in held if "DELETE" in one.privileges}
    views = tuple(_seen(one, unmasked, deletes) for one in evidence.get("views", ()))
    shown = {one.view for one in views}
    return Reached(
        views=views,
        direct=tuple(one for one in held if not one.via.startswith(_EVERYBODY) and not _is_of(one.object, shown)),
        everybody=tuple(one for one in held if one.via.startswith(_EVERYBODY)),
        findings=tuple(evidence.get("findings", ())),
    )


def _seen(one: Mapping[str, Any], unmasked: Collection[str], deletes: Collection[str]) -> SeenTable:
    return SeenTable(
        table=one["table"],
        view=one["view"],
        columns=tuple(_column(column, one["table"], unmasked) for column in one["columns"]),
        filters=tuple(one.get("filters", ())),
        ordered=bool(one.get("ordered")),
        deletes=f"view {one['view']}" in deletes,
    )


def _column(one: Mapping[str, Any], table: str, unmasked: Collection[str]) -> SeenColumn:
    mask, writable, why = one.get("mask"), one.get("writable") or (), one.get("why_read_only")
    return SeenColumn(
        name=one["name"],
        shows=words.mask(mask) if mask else "its values",
        masked=bool(mask),
        unmasked=not mask and f"{table}.{quoted_part(one['name'])}" in unmasked,
        may=", ".join(right.lower() for right in writable) or _not(why or ""),
    )


def _not(why: str) -> str:
    """`why` is about the column ("is masked") or names the statements ("INSERT fires the trigger t, …")."""
    if not why:
        return ""
    return f"no: {why}" if why.startswith(("INSERT ", "UPDATE ")) else f"no: it {why}"


def _is_of(thing: str, views: set[str]) -> bool:
    """Whether this is one of the views, or a column of one: their own table tells more."""
    kind, _, name = thing.partition(" ")
    return (kind == "view" and name in views) or (kind == "column" and any(name.startswith(f"{v}.") for v in views))


def _schema(name: str) -> str:
    """Of a quoted `schema.name`."""
    return quoted_part(parse_table(name).schema)
