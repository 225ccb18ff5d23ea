"""Masks as SQL expressions over one column.

Total (an error would print the value, field notes M1), inlined, made of the server's own functions and operators by
their full names (M2, M9). None depends on a setting, because a login owns its settings: not on TimeZone (with
`UTC+5` PostgreSQL 18 even takes the name 'UTC' for a zone of the login's making), DateStyle, collation or search_path.
"""

from typing import Final, LiteralString

from psycopg import sql

from apps.engines.base import Refused
from apps.engines.masks import Mask, MaskKind, fewest_hidden
from apps.engines.postgresql import column_types

_NUMBERS: Final = frozenset({*column_types.INTEGERS, "numeric"})
_FITTING: Final = {
    MaskKind.PARTIAL: frozenset({*column_types.TEXTS, *_NUMBERS, "uuid"}),
    MaskKind.EMAIL: column_types.TEXTS,
    MaskKind.BUCKET: frozenset({*_NUMBERS, *column_types.FLOATS}),
    MaskKind.DATE: column_types.DATES,
}
_RESULTS: Final = {
    MaskKind.PARTIAL: "text",
    MaskKind.EMAIL: "text",
    MaskKind.BUCKET: "numeric",
    MaskKind.DATE: "date",
}

_STARS: Final = sql.SQL("'***'::pg_catalog.text")
# Searching is an error under some collations, and the order of letters is nobody's business.
_TEXT: Final[LiteralString] = '({column}::pg_catalog.text COLLATE pg_catalog."C")'

_PARTIAL: Final[LiteralString] = """\
CASE WHEN pg_catalog.length({text}) OPERATOR(pg_catalog.<) {shortest} THEN '***'
ELSE {shown} END COLLATE pg_catalog."default\""""

# The last @ counts: what is before it may hold another one. What is not a domain's name is not shown. Long domains are
# left out before the regular expression, which fails on hundreds of megabytes; octets are letters where it matches.
_EMAIL: Final[LiteralString] = """\
CASE WHEN pg_catalog.octet_length({domain}) OPERATOR(pg_catalog.<) 4 THEN '***'
WHEN pg_catalog.octet_length({text}) OPERATOR(pg_catalog.>) 253
  AND pg_catalog.octet_length({domain}) OPERATOR(pg_catalog.>) 253 THEN '***'
WHEN {domain} OPERATOR(pg_catalog.!~) '^[a-zA-Z0-9-]*[.][a-zA-Z0-9.-]*$' THEN '***'
WHEN {text} OPERATOR(pg_catalog.~~) '__%@%'
  THEN pg_catalog.left({text}, 1) OPERATOR(pg_catalog.||) '***@' OPERATOR(pg_catalog.||) {domain}
WHEN {text} OPERATOR(pg_catalog.~~) '%@%' THEN '***@' OPERATOR(pg_catalog.||) {domain}
WHEN {text} IS NOT NULL THEN '***'
END COLLATE pg_catalog."default\""""
_DOMAIN: Final[LiteralString] = "pg_catalog.split_part({text}, '@', -1)"  # all of the text if it has none

# NaN is above every bound. Floor first: it is exact, where a quotient would be rounded, perhaps up.
_BUCKET: Final[LiteralString] = """\
CASE WHEN {column} OPERATOR(pg_catalog.>=) {bound} AND {column} OPERATOR(pg_catalog.<=) (OPERATOR(pg_catalog.-) {bound})
THEN pg_catalog.div({floor} OPERATOR(pg_catalog.-)
  CASE WHEN {column} OPERATOR(pg_catalog.<) 0 THEN {width} OPERATOR(pg_catalog.-) 1::pg_catalog.numeric
  ELSE 0::pg_catalog.numeric END, {width}) OPERATOR(pg_catalog.*) {width} END"""

_DATE: Final[LiteralString] = """\
CASE WHEN {moment} OPERATOR(pg_catalog.>=) {begin} AND {moment} OPERATOR(pg_catalog.<) {end}
THEN pg_catalog.date_trunc({unit}, {moment}::pg_catalog.timestamp)::pg_catalog.date END"""
_UTC: Final[LiteralString] = "pg_catalog.timezone('0'::pg_catalog.interval, {column})"

# No index holds ctid: without it a scan of an index alone gives the masked values in the order of the true ones.
_UNORDERED: Final[LiteralString] = """\
CASE WHEN ctid OPERATOR(pg_catalog.=) '(4294967295,0)'::pg_catalog.tid THEN NULL ELSE {shown} END"""


def fits(mask: Mask, column_type: str) -> bool:
    """Whether the mask can show every value of a type, as format_type() prints it."""
    return mask.kind not in _FITTING or column_types.base(column_type) in _FITTING[mask.kind]


def result_type(mask: Mask, column_type: str) -> str:
    """The type of expression(), as format_type() prints it."""
    if mask.kind in _RESULTS:
        return _RESULTS[mask.kind]
    if mask.kind is MaskKind.HIDDEN and column_types.base(column_type) in column_types.TEXTS:
        return "text"
    return column_type if column_types.own_type(column_type) else "text"


def expression(mask: Mask, column: str, column_type: str, *, stored: bool = True) -> sql.Composed:
    """What a view selects instead of `column`. Raises Refused where the mask does not fit.

    `stored`: the rows lie in a table or materialised view, or in partitions; a view's rows have no ctid.
    """
    if not fits(mask, column_type):
        raise Refused(
            f"The mask {mask} cannot show every {column_type} (column “{column}”); choose another one, or hidden."
        )
    match mask.kind:
        case MaskKind.HIDDEN | MaskKind.NULL:
            return _constant(mask, column_type)
        case MaskKind.PARTIAL:
            shown = _partial(mask, sql.Identifier(column))
        case MaskKind.EMAIL:
            shown = _email(sql.Identifier(column))
        case MaskKind.BUCKET:
            shown = _bucket(mask, sql.Identifier(column), column_types.base(column_type))
        case MaskKind.DATE:
            shown = _date(mask, sql.Identifier(column), column_types.base(column_type))
    return sql.SQL(_UNORDERED).format(shown=shown) if stored else shown


def _constant(mask: Mask, column_type: str) -> sql.Composed:
    if mask.kind is MaskKind.HIDDEN and column_types.base(column_type) in column_types.TEXTS:
        return sql.Composed([_STARS])
    return sql.SQL("NULL::{}").format(column_types.own_type(column_type) or sql.Identifier("pg_catalog", "text"))


def _partial(mask: Mask, column: sql.Identifier) -> sql.Composed:
    first, last = (int(argument) for argument in mask.arguments)
    text = sql.SQL(_TEXT).format(column=column)
    parts: list[sql.Composable] = [sql.SQL("'***'")]
    if first:
        parts.insert(0, sql.SQL("pg_catalog.left({}, {})").format(text, first))
    if last:
        parts.append(sql.SQL("pg_catalog.right({}, {})").format(text, last))
    return sql.SQL(_PARTIAL).format(
        text=text,
        shortest=sql.Literal(first + last + fewest_hidden(mask)),
        shown=sql.SQL(" OPERATOR(pg_catalog.||) ").join(parts),
    )


def _email(column: sql.Identifier) -> sql.Composed:
    text = sql.SQL(_TEXT).format(column=column)
    return sql.SQL(_EMAIL).format(text=text, domain=sql.SQL(_DOMAIN).format(text=text))


def _bucket(mask: Mask, column: sql.Identifier, base: str) -> sql.Composed:
    wide = sql.SQL("float8" if base in column_types.FLOATS else "numeric")
    value = sql.SQL("({}::pg_catalog.{})").format(column, wide)
    return sql.SQL(_BUCKET).format(
        column=value,
        bound=sql.SQL("'-1e100'::pg_catalog.{}").format(wide),
        floor=sql.SQL("pg_catalog.floor({})::pg_catalog.numeric").format(value),
        width=sql.SQL("{}::pg_catalog.numeric").format(sql.Literal(mask.arguments[0])),
    )


def _date(mask: Mask, column: sql.Identifier, base: str) -> sql.Composed:
    zoned = base == "timestamp with time zone"
    kind = sql.SQL("date" if base == "date" else "timestamp")
    bound = sql.SQL("{}::pg_catalog.{}")
    return sql.SQL(_DATE).format(
        moment=sql.SQL(_UTC).format(column=column) if zoned else column,
        begin=bound.format(sql.Literal("0001-01-01"), kind),
        end=bound.format(sql.Literal("10000-01-01"), kind),
        unit=sql.Literal(mask.arguments[0]),
    )
