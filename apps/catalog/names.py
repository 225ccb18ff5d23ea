"""Names of tables and columns as people write them: dotted, each part quoted as in SQL where it must be. Pure.

Unlike in SQL, an unquoted part is taken exactly as typed: its case is never folded. An unquoted `*` as the whole
table part stands for every table of the schema.
"""

import re
from dataclasses import dataclass

from apps.catalog.keywords import KEYWORDS
from apps.core.errors import Invalid
from apps.engines.base import TableName

MAX_BYTES = 63  # of a name in PostgreSQL

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".\s\x00-\x1f\x7f]+)')
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class WholeSchema:
    """`sales.*`: every table that the schema has when the request is submitted."""

    schema: str


@dataclass(frozen=True)
class _Part:
    text: str
    is_quoted: bool

    @property
    def is_wildcard(self) -> bool:
        return self.text == "*" and not self.is_quoted


def parse_table(text: str, *, field: str = "tables") -> TableName | WholeSchema:
    """`schema.table` or `schema.*`. Raises Invalid about `field`."""
    parts = _split(text, field)
    if len(parts) == 1:
        raise Invalid(f"{_shown(text)} names no schema: write schema.table.", field=field)
    if len(parts) > 2:
        raise Invalid(
            f"{_shown(text)} has {len(parts)} parts: write schema.table without the database, "
            'and quote a part that holds a dot ("odd.name").',
            field=field,
        )
    schema, table = parts
    if schema.is_wildcard:
        raise Invalid(f"{_shown(text)} names no schema: write schema.* for each schema.", field=field)
    if table.is_wildcard:
        _refuse_stars(schema, text=text, field=field)
        return WholeSchema(schema.text)
    _refuse_stars(schema, table, text=text, field=field)
    return TableName(schema.text, table.text)


def parse_column(text: str, *, field: str = "unmask") -> tuple[TableName, str]:
    """`schema.table.column`. Raises Invalid about `field`."""
    parts = _split(text, field)
    if len(parts) != 3:
        raise Invalid(f"{_shown(text)} is not the full name of a column: write schema.table.column.", field=field)
    _refuse_stars(*parts, text=text, field=field)
    schema, table, column = parts
    return TableName(schema.text, table.text), column.text


def quoted(table: TableName) -> str:
    """How a person writes this table, here and in SQL: parts are quoted only where SQL needs it."""
    return f"{quoted_part(table.schema)}.{quoted_part(table.name)}"


def quoted_column(table: TableName, column: str) -> str:
    return f"{quoted(table)}.{quoted_part(column)}"


def quoted_part(name: str) -> str:
    if _PLAIN.fullmatch(name) and name not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def _split(text: str, field: str) -> list[_Part]:
    text = text.strip()
    if not text:
        raise Invalid("A name is empty: write schema.table.", field=field)
    parts, position = [], 0
    while match := _PART.match(text, position):
        inner, plain = match.groups()
        parts.append(_Part(plain, False) if inner is None else _Part(inner.replace('""', '"'), True))
        _check(parts[-1].text, text=text, field=field)
        position = match.end()
        if position == len(text):
            return parts
        if text[position] != ".":
            break
        position += 1
    raise Invalid(
        f"{_shown(text)} is not a name: write schema.table, and put a part that holds a space, a dot or a quote "
        'in double quotes, with each quote inside doubled ("odd ""name""").',
        field=field,
    )


def _check(name: str, *, text: str, field: str) -> None:
    """What no name in a database can be."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:  # a lone surrogate
        raise Invalid(f"{_shown(text)} holds half a character.", field=field) from error
    if "\0" in name:
        raise Invalid(f"{_shown(text)} holds a NUL character, which no name can.", field=field)
    if size > MAX_BYTES:
        raise Invalid(
            f"A part of {_shown(text)} has {size} bytes; names in the database have at most {MAX_BYTES}.", field=field
        )


def _refuse_stars(*parts: _Part, text: str, field: str) -> None:
    if any("*" in part.text and not part.is_quoted for part in parts):
        raise Invalid(
            f"{_shown(text)} has a * where none can stand: it means every table of a schema, as in sales.*; "
            "put a name that holds a star in double quotes.",
            field=field,
        )


def _shown(text: str) -> str:
    """For a sentence: short, and nothing in it but printable characters."""
    cut = text if len(text) <= 80 else text[:79] + "…"
    return "‘" + "".join(letter if letter.isprintable() else "�" for letter in cut) + "’"
