"""Row filters as SQL conditions: column, operator, literals of the column's type.

Values are checked here, before the server reads them: what it would round, cut short or take for a moment in its own
time zone would show other rows than were approved.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final

from psycopg import sql

from apps.engines.base import Operator, Refused, RowFilter
from apps.engines.postgresql import column_types

MOST_VALUES: Final = 100
LONGEST_VALUE: Final = 200

_NULL_TESTS: Final = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL})
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,50})?")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def fits(row_filter: RowFilter, column_type: str) -> bool:
    """Whether the operator and the values can be compared with a column of this type."""
    return _why_not(row_filter, column_type) == ""


def condition(row_filter: RowFilter, column_type: str) -> sql.Composed:
    """What a view's WHERE says, in brackets. Raises Refused where the filter does not fit."""
    if why := _why_not(row_filter, column_type):
        raise Refused(f"The row filter on “{row_filter.column}” ({column_type}) cannot be used: {why}")
    column = sql.Identifier(row_filter.column)
    if row_filter.operator in _NULL_TESTS:
        return sql.SQL("({} {})").format(column, sql.SQL(row_filter.operator.value.upper()))
    base = column_types.base(column_type)
    values = sql.SQL(", ").join(_value(value, base) for value in row_filter.values)
    if row_filter.operator is Operator.ONE_OF:
        return sql.SQL("({} OPERATOR(pg_catalog.=) ANY (ARRAY[{}]))").format(column, values)
    return sql.SQL("({} OPERATOR(pg_catalog.{}) {})").format(column, sql.SQL(row_filter.operator.value), values)


def _why_not(row_filter: RowFilter, column_type: str) -> str:
    """The reason as a sentence; empty where the filter fits."""
    count = len(row_filter.values)
    if row_filter.operator in _NULL_TESTS:
        return f"“{row_filter.operator}” takes no value." if count else ""
    readable = _READABLE.get(column_types.base(column_type))
    if readable is None:
        return f"a {column_type} can only be asked whether it is null."
    if row_filter.operator is Operator.ONE_OF:
        if not 1 <= count <= MOST_VALUES:
            return f"“in” takes 1 to {MOST_VALUES} values, not {count}."
    elif count != 1:
        return f"“{row_filter.operator}” takes exactly one value, not {count}."
    if any(len(value) > LONGEST_VALUE for value in row_filter.values):
        return f"a value has at most {LONGEST_VALUE} letters."
    bad = next((value for value in row_filter.values if not readable(value)), None)
    return "" if bad is None else f"“{bad}” is no value of this type."


def _value(value: str, base: str) -> sql.Composed:
    """A literal of the column's type without its length, which would cut the value short without a word."""
    return sql.SQL("{}::pg_catalog.{}").format(sql.Literal(_written(value, base)), sql.Identifier(_CASTS[base]))


def _written(value: str, base: str) -> str:
    """The value as no setting can change its meaning: a moment without a zone is in UTC where the column has one."""
    if base == "timestamp with time zone":
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    return value


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half of a pair
        return False


def _is_integer_below(bound: int) -> Callable[[str], bool]:
    return lambda value: bool(_WHOLE.fullmatch(value)) and -bound <= int(value) < bound


def _is_day(value: str) -> bool:
    return bool(_DAY.fullmatch(value)) and _is_read_by(date.fromisoformat, value)


def _is_moment(value: str) -> bool:
    found = _MOMENT.fullmatch(value)
    return found is not None and not found[1] and _is_read_by(datetime.fromisoformat, value)


def _is_zoned_moment(value: str) -> bool:
    return bool(_MOMENT.fullmatch(value)) and _is_read_by(datetime.fromisoformat, value)


def _is_read_by(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


_READABLE: Final[dict[str, Callable[[str], bool]]] = {
    **dict.fromkeys(column_types.TEXTS, _is_text),
    **{name: _is_integer_below(bound) for name, bound in column_types.INTEGERS.items()},
    "numeric": lambda value: bool(_NUMBER.fullmatch(value)),
    "boolean": lambda value: value in ("true", "false"),
    "date": _is_day,
    "timestamp without time zone": _is_moment,
    "timestamp with time zone": _is_zoned_moment,
    "uuid": lambda value: bool(_UUID.fullmatch(value)),
}
# character is compared without its trailing blanks, the other texts as they are.
_CASTS: Final = {
    **dict.fromkeys(column_types.TEXTS, "text"),
    "character": "bpchar",
    "bpchar": "bpchar",
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "numeric": "numeric",
    "boolean": "bool",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "uuid": "uuid",
}
