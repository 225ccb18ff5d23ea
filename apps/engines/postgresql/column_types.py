"""Types of columns as format_type() prints them with search_path pg_catalog: only the server's own have no schema."""

import re
from typing import Final

from psycopg import sql

TEXTS: Final = frozenset({"text", "character varying", "character", "bpchar", "name"})
INTEGERS: Final = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}  # the first number that is too big
FLOATS: Final = frozenset({"real", "double precision"})
DATES: Final = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})

_MODIFIER: Final = re.compile(r"\([0-9]+(?:,-?[0-9]+)?\)")
# The grammar's own words: they mean the server's types whatever search_path says.
_WORDS: Final = re.compile(
    r"(?:smallint|integer|bigint|real|double precision|boolean|numeric(?:\([0-9]+,-?[0-9]+\))?"
    r"|(?:character varying|character|bit varying|bit)(?:\([0-9]+\))?"
    r"|time(?:stamp)?(?:\([0-9]\))? with(?:out)? time zone"
    r"|interval(?: (?:year|month|day|hour|minute|second)(?: to (?:month|hour|minute|second))?)?(?:\([0-9]\))?)(?:\[\])?"
)
_IDENTIFIER: Final = re.compile(r'([a-z_][a-z0-9_]*|"(?:[^"]|"")+")(\[\])?')


def base(column_type: str) -> str:
    """The type without length or precision: `character varying(20)` is a `character varying`."""
    return _MODIFIER.sub("", column_type)


def own_type(column_type: str) -> sql.Composable | None:
    """The type for a cast, if it is one of the server's own; None for all others."""
    if _WORDS.fullmatch(column_type):
        return _verbatim(column_type)
    if found := _IDENTIFIER.fullmatch(column_type):
        name = found[1][1:-1].replace('""', '"') if found[1].startswith('"') else found[1]
        return sql.Identifier("pg_catalog", name) + sql.SQL("[]" if found[2] else "")
    return None


def _verbatim(words: str) -> sql.SQL:
    """What has been matched with the grammar's words."""
    return sql.SQL(words)
