"""Masks on real servers: total, hiding, of the type they say, whatever a login has set.

Many values go into each query: a property over mask and value, at the price of a few queries.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from apps.engines.base import Refused
from apps.engines.masks import Mask, fewest_hidden, parse
from apps.engines.postgresql import masking
from tests.support.targets import TargetServer

Values = st.SearchStrategy[str]

MASKS = [
    *map(parse, ("hidden", "null", "partial(1,4)", "partial(6,4)", "partial(0,32)", "partial(32,0)", "email")),
    *map(parse, ("bucket(2)", "bucket(1000)", "bucket(1000000000000000)", "date(year)", "date(month)")),
]

# Everything a login could move, and functions and operators of its own before the server's.
HOSTILE = """
    CREATE SCHEMA IF NOT EXISTS evil;
    CREATE OR REPLACE FUNCTION evil.left(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE OR REPLACE FUNCTION evil.length(text) RETURNS int LANGUAGE sql AS 'SELECT 1000';
    CREATE OR REPLACE FUNCTION evil.concat(text, text) RETURNS text LANGUAGE sql AS 'SELECT $2';
    DROP OPERATOR IF EXISTS evil.|| (text, text);
    CREATE OPERATOR evil.|| (FUNCTION = evil.concat, LEFTARG = text, RIGHTARG = text);
    SET search_path = evil, pg_catalog; SET TimeZone = 'UTC+5'; SET DateStyle = 'German';
    SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15; SET bytea_output = 'escape';
    SET lc_monetary = 'C'; SET standard_conforming_strings = off; SET backslash_quote = on;
    SET timezone_abbreviations = 'India'
"""


def _numbers(bound: int) -> Values:
    extremes = st.sampled_from([-bound, 1 - bound, -1001, -1000, -1, 0, 1, 999, 1000, bound - 1])
    return st.one_of(extremes, st.integers(-bound, bound - 1)).map(str)


def _floats(width: Any, extremes: Sequence[str]) -> Values:
    return st.one_of(
        st.sampled_from(["NaN", "Infinity", "-Infinity", "-0", *extremes]), st.floats(width=width).map(repr)
    )


LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=70)
ADDRESSES = st.builds(
    "{}@{}".format, LETTERS, st.sampled_from(["example.com", "a.b", "x.io", "", "[::1]", "ü.de", "a b.c"])
)
# Where the rules of `email` begin and end: letters before the last @, letters and octets after it.
EDGES = [
    *("", " ", "@", "@@", "@a.bc", "@@a.bc", "a@@a.bc", "é@a.bc", "éa@a.bc", "a@b@c.de", "ab@c.de@a.b", "ab@c.de@"),
    *("z@example.com", "z@example.com\n", "z@exam\nple.com", "z@exämple.com", "z@.bc", "z@....", "z@abcd", "z@-.--"),
    *("example.com", "x" * 300, "x" * 300 + ".com", "x" * 300 + "@a.bc", "é" * 300 + "@a.bc", "x@" + "é" * 127 + ".b"),
    *("xy@" + "b" * 249 + ".com", "xy@" + "b" * 250 + ".com", "@" + "b" * 249 + ".com", "'\\\"%s", "%@_", "__%@%.bc"),
]
TEXTS = st.one_of(LETTERS, ADDRESSES, st.sampled_from(EDGES))
ENDS_OF_TIME = ["infinity", "-infinity", "0001-01-01", "0001-12-31 BC", "9999-12-31", "10000-01-01", "4713-01-01 BC"]
DAYS = st.dates().map(str)
MOMENTS = st.datetimes().map(str)
LATEST = ["294276-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"]
EXACT = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e131000",
    "-1e131000",
    "1e-16000",
    "999.99999999999999999999999999999",
    "-0.001",
]

TYPES: dict[str, Values] = {
    "text": TEXTS,
    "character varying(90)": TEXTS,
    "character(90)": TEXTS,
    "name": TEXTS.map(lambda text: text[:15]),
    "smallint": _numbers(2**15),
    "integer": _numbers(2**31),
    "bigint": _numbers(2**63),
    "numeric": st.one_of(st.sampled_from(EXACT), st.decimals(allow_nan=False, allow_infinity=False).map(str)),
    "numeric(12,3)": st.decimals(-(10**8), 10**8, places=3).map(str),
    "real": _floats(32, ["3.4028235e38", "1e-45"]),
    "double precision": _floats(64, ["1.7976931348623157e308", "-1e100", "1999.9999999999998", "5e-324"]),
    "date": st.one_of(st.sampled_from([*ENDS_OF_TIME, "5874897-12-31"]), DAYS),
    "timestamp without time zone": st.one_of(st.sampled_from([*ENDS_OF_TIME, *LATEST]), MOMENTS),
    "timestamp with time zone": st.one_of(
        st.sampled_from([*ENDS_OF_TIME, *LATEST]), MOMENTS, MOMENTS.map(lambda moment: f"{moment}+05:30")
    ),
    "uuid": st.uuids().map(str),
}


@contextmanager
def _table(server: TargetServer, column_type: str, values: Sequence[str | None]) -> Iterator[psycopg.Connection[Any]]:
    """A table `masked_values` of them, in a column that needs quoting; it goes with the connection."""
    with server.admin() as admin, admin.transaction(force_rollback=True):
        admin.execute("SET LOCAL TimeZone = 'UTC'")
        admin.execute(f'CREATE TABLE masked_values (n int, "X ""y" {column_type})')
        admin.execute(
            f"INSERT INTO masked_values SELECT n, v::{column_type} FROM unnest(%s::text[]) WITH ORDINALITY AS u(v, n)",
            [values],
        )
        yield admin


def _shown(connection: psycopg.Connection[Any], masks: Sequence[Mask], column_type: str) -> list[tuple[Any, ...]]:
    shown = [masking.expression(mask, 'X "y', column_type) for mask in masks]
    look = sql.SQL("SELECT {} FROM public.masked_values ORDER BY n").format(sql.SQL(", ").join(shown))
    return connection.execute(look).fetchall()


def _partial(mask: Mask, raw: str) -> str:
    first, last = (int(argument) for argument in mask.arguments)
    if len(raw) - first - last < fewest_hidden(mask):
        return "***"
    return raw[:first] + "***" + raw[len(raw) - last :]


def _email(_: Mask, raw: str) -> str:
    local, at, domain = raw.rpartition("@")
    if not at or not re.fullmatch(r"[a-zA-Z0-9.-]*", domain) or "." not in domain or not 4 <= len(domain) <= 253:
        return "***"
    return f"{local[0] if len(local) > 1 else ''}***@{domain}"


def _bucket(mask: Mask, raw: str) -> Decimal | None:
    width, number = int(mask.arguments[0]), Decimal(raw)
    if not number.is_finite() or abs(number) > Decimal(10) ** 100:
        return None
    exact = number.as_integer_ratio()
    return Decimal(exact[0] // (exact[1] * width) * width)


def _first_day(mask: Mask, raw: str) -> date | None:
    if "infinity" in raw or raw.endswith("BC") or len(raw.split("-", maxsplit=1)[0]) > 4:
        return None
    year, month = int(raw[:4]), int(raw[5:7])
    return date(year, month if mask.arguments == ("month",) else 1, 1)


EXPECTED: dict[str, Callable[[Mask, str], Any]] = {
    "partial": _partial,
    "email": _email,
    "bucket": _bucket,
    "date": _first_day,
}


def _expected(mask: Mask, raw: str | None, column_type: str) -> Any:
    if mask.kind == "hidden":
        return "***" if masking.result_type(mask, column_type) == "text" else None
    if mask.kind == "null" or raw is None:
        return None
    return EXPECTED[mask.kind](mask, raw)


@pytest.mark.parametrize("column_type", TYPES)
def test_expression_when_any_value_and_any_setting(target_server: TargetServer, column_type: str) -> None:
    masks = [mask for mask in MASKS if masking.fits(mask, column_type)]

    @settings(max_examples=2, phases=[Phase.generate])
    @given(st.lists(TYPES[column_type], min_size=30, max_size=120))
    def holds(values: list[str]) -> None:
        with _table(target_server, column_type, [*values, None]) as connection:
            raws = [row[0] for row in connection.execute('SELECT "X ""y"::text FROM masked_values ORDER BY n')]
            found = _shown(connection, masks, column_type)
            connection.execute(HOSTILE)
            assert _shown(connection, masks, column_type) == found
        for raw, row in zip(raws, found, strict=True):
            for mask, value in zip(masks, row, strict=True):
                if mask.kind == "bucket" and column_type in ("real", "double precision") and value is not None:
                    width = int(mask.arguments[0])
                    assert int(value) % width == 0
                    assert abs(int(value) - int(float(raw))) <= width + abs(float(raw)) / 10**5
                else:
                    assert value == _expected(mask, raw, column_type), (str(mask), raw)

    holds()


ODD = {
    "json": '{"a": "secret"}',
    "jsonb": '{"a": "secret"}',
    "integer[]": "{1,NULL}",
    "character varying(7)[]": '{a,"b c"}',
    "timestamp(3) with time zone[]": "{2024-05-17}",
    "odd.mood": "sad",
    "odd.positive": "7",
    'odd."My ""Type"': "(1,secret)",
    "odd.mood[]": "{sad}",
    "int4range": "[1,7)",
    "datemultirange": "{[2024-01-01,2024-05-17)}",
    "bytea": "\\xdeadbeef",
    "bit(3)": "101",
    "bit varying(5)": "1",
    '"bit"': "101",
    "bpchar": "secret",
    "inet": "10.0.0.1/8",
    "cidr": "10.0.0.0/8",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "interval": "-178000000 years",
    "interval day to second(3)": "1 02:03:04.567",
    "interval(2)": "1.23 s",
    "time(3) without time zone": "24:00:00",
    "time with time zone": "00:00:00+15:59",
    "uuid": "00000000-0000-0000-0000-00000000beef",
    "money": "-92233720368547758.08",
    '"char"': "\\377",
    "name": "secret",
    "oid": "4294967295",
    "pg_lsn": "16/B374D848",
    "regclass": "pg_class",
    "tsvector": "secret",
    "point": "(NaN,1)",
    "jsonpath": "$.secret",
    "boolean": "t",
    "xid8": "1",
}


def test_expression_when_the_type_is_any_other(target_server: TargetServer) -> None:
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        admin.execute(
            "CREATE SCHEMA odd; CREATE TYPE odd.mood AS ENUM ('sad');"
            "CREATE DOMAIN odd.positive AS int CHECK (value > 0);"
            'CREATE TYPE odd."My ""Type" AS (a int, b text); SET LOCAL search_path = pg_catalog'
        )
        for column_type, value in [*ODD.items(), *_xml(admin)]:
            admin.execute(f"CREATE TABLE odd.t AS SELECT {sql.Literal(value).as_string(admin)}::{column_type} AS c")
            named = _types(admin, "odd.t")["c"]
            for mask in map(parse, ("hidden", "null")):
                assert masking.fits(mask, named)
                view = sql.SQL("CREATE VIEW odd.v AS SELECT {} AS c FROM odd.t").format(
                    masking.expression(mask, "c", named)
                )
                admin.execute(view)
                assert _types(admin, "odd.v")["c"] == masking.result_type(mask, named)
                hidden = "***" if mask.kind == "hidden" and column_type in ("name", "bpchar") else None
                assert admin.execute("SELECT c::text FROM odd.v", prepare=False).fetchall() == [(hidden,)]
                admin.execute("DROP VIEW odd.v")
            admin.execute("DROP TABLE odd.t")


def _xml(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Where the server was built with it."""
    try:
        with connection.transaction():
            connection.execute("SELECT '<secret/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return []
    return [("xml", "<secret/>")]


def test_expression_when_a_view_shows_every_mask(target_server: TargetServer) -> None:
    shown = [
        (mask, name, masking.expression(mask, name, name) + sql.SQL(" AS ") + sql.Identifier(f"{name} {mask}"))
        for name in TYPES
        for mask in MASKS
        if masking.fits(mask, name)
    ]
    columns = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(name)) for name in TYPES)
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        admin.execute(sql.SQL("CREATE TABLE all_masked ({})").format(columns))
        admin.execute(
            sql.SQL("CREATE VIEW all_shown AS SELECT {} FROM all_masked").format(
                sql.SQL(", ").join(e for _, _, e in shown)
            )
        )
        types = _types(admin, "all_shown")
    assert types == {f"{name} {mask}": masking.result_type(mask, name) for mask, name, _ in shown}


def _types(connection: psycopg.Connection[Any], relation: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        [relation],
    )
    return dict(rows.fetchall())


@pytest.mark.parametrize(
    ("mask", "column_type"),
    [
        ("partial(1,4)", "jsonb"),
        ("partial(1,4)", "double precision"),
        ("partial(1,4)", '"char"'),
        ("partial(1,4)", "text[]"),
        ("partial(1,4)", "public.citext"),
        ("email", "integer"),
        ("email", 'odd."text"'),
        ("bucket(10)", "text"),
        ("bucket(10)", "money"),
        ("date(year)", "interval"),
        ("date(year)", "time without time zone"),
        ("date(year)", "'; DROP TABLE t; --"),
    ],
)
def test_expression_when_the_mask_does_not_fit(mask: str, column_type: str) -> None:
    assert not masking.fits(parse(mask), column_type)
    with pytest.raises(Refused, match="cannot show every"):
        masking.expression(parse(mask), "c", column_type)


@pytest.mark.parametrize("column_type", ["'; DROP TABLE t; --", "s.t(", "???", "a b", 'x"', "text);", "Text", ""])
def test_expression_when_the_type_is_unknown(column_type: str) -> None:
    hidden = masking.expression(parse("hidden"), "c", column_type)
    assert hidden.as_string(None) == 'NULL::"pg_catalog"."text"'
    assert masking.result_type(parse("null"), column_type) == "text"


SHUFFLED = "SELECT i, 'A' || lpad((i * 7919 % 100000)::text, 8, '0') || '1234' FROM generate_series(1, 2000) AS i"


@pytest.mark.parametrize("kind", ["table", "partitioned", "materialized view"])
def test_expression_when_an_index_has_the_true_order(target_server: TargetServer, kind: str) -> None:
    """Scanning an index alone gives its order away, unless a view reads something that is in none."""
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        if kind == "materialized view":
            admin.execute(f"CREATE MATERIALIZED VIEW o (id, code) AS {SHUFFLED}")
        else:
            admin.execute("CREATE TABLE o (id int, code text)" + (" PARTITION BY LIST (id)" * (kind == "partitioned")))
            if kind == "partitioned":
                admin.execute("CREATE TABLE o1 PARTITION OF o DEFAULT")
            admin.execute(f"INSERT INTO o {SHUFFLED}")
        admin.execute("CREATE INDEX ON o (code); ANALYZE o")
        for name, stored in (("safe", True), ("unsafe", False)):
            shown = masking.expression(parse("partial(0,6)"), "code", "text", stored=stored)
            admin.execute(
                sql.SQL("CREATE VIEW {} WITH (security_barrier) AS SELECT {} AS code FROM o").format(
                    sql.Identifier(name), shown
                )
            )
        admin.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        plans = {name: str(admin.execute(f"EXPLAIN SELECT code FROM {name}").fetchall()) for name in ("safe", "unsafe")}
    assert "Index Only Scan" in plans["unsafe"]
    assert "Index" not in plans["safe"]


def test_expression_when_rows_are_written_through_the_view(target_server: TargetServer) -> None:
    """The masked column takes nothing; RETURNING shows it masked, of partitions too."""
    masked = masking.expression(parse("partial(1,1)"), "code", "text")
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        admin.execute(
            "CREATE TABLE w (id int, code text DEFAULT 'secret letters', note text) PARTITION BY LIST (id);"
            "CREATE TABLE w1 PARTITION OF w FOR VALUES IN (1); CREATE TABLE w2 PARTITION OF w DEFAULT"
        )
        admin.execute(
            sql.SQL(
                "CREATE VIEW wv WITH (security_barrier, check_option=cascaded) AS SELECT id, {} AS code, note FROM w"
            ).format(masked)
        )
        assert admin.execute("INSERT INTO wv (id, note) VALUES (1, 'a') RETURNING code").fetchall() == [("s***s",)]
        assert admin.execute("UPDATE wv SET note = 'b', id = 2 RETURNING code, note").fetchall() == [("s***s", "b")]
        assert admin.execute("DELETE FROM wv WHERE code = 's***s' RETURNING id").fetchall() == [(2,)]
        with pytest.raises(psycopg.errors.FeatureNotSupported), admin.transaction():
            admin.execute("UPDATE wv SET code = 'x'")


def test_expression_when_a_text_is_at_an_edge_of_a_rule(target_server: TargetServer) -> None:
    """All of them, whatever the property has drawn."""
    masks = [mask for mask in MASKS if masking.fits(mask, "text")]
    with _table(target_server, "text", EDGES) as connection:
        found = _shown(connection, masks, "text")
    assert found == [tuple(_expected(mask, raw, "text") for mask in masks) for raw in EDGES]


def test_expression_when_the_column_has_an_odd_collation(target_server: TargetServer) -> None:
    """Searching in text is an error under a nondeterministic collation before 18, where there is one at all."""
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        try:
            admin.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("This server was built without ICU.")
        admin.execute("CREATE TABLE c (mail text COLLATE loose); INSERT INTO c VALUES ('zoe@example.com')")
        shown = masking.expression(parse("email"), "mail", "text")
        assert admin.execute(sql.SQL("SELECT {} FROM c").format(shown)).fetchall() == [("z***@example.com",)]
