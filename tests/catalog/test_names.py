"""Names as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.catalog.names import MAX_BYTES, WholeSchema, parse_column, parse_table, quoted, quoted_column, quoted_part
from apps.core.errors import Invalid
from apps.engines.base import TableName

# Whatever PostgreSQL takes as a name: no NUL, valid UTF-8, 1 to 63 bytes.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63).filter(
    lambda name: len(name.encode()) <= MAX_BYTES
)


@given(names, names)
@settings(deadline=None)
def test_parse_table_when_quoted_by_us(schema: str, name: str) -> None:
    table = TableName(schema, name)
    assert parse_table(quoted(table)) == table
    assert parse_table(f" {quoted(table)}\n") == table


@given(names, names, names)
@settings(deadline=None)
def test_parse_column_when_quoted_by_us(schema: str, name: str, column: str) -> None:
    table = TableName(schema, name)
    assert parse_column(quoted_column(table, column)) == (table, column)


@given(st.text())
@settings(deadline=None)
def test_parse_table_when_given_anything(text: str) -> None:
    """It answers with a name that is written the same way again, or refuses with a sentence about the field."""
    try:
        name = parse_table(text)
    except Invalid as error:
        refusal = error
    else:
        assert isinstance(name, WholeSchema) or parse_table(quoted(name)) == name
        return
    assert refusal.field == "tables"
    assert refusal.sentence.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sales.orders", TableName("sales", "orders")),
        ("Sales.Orders", TableName("Sales", "Orders")),  # never folded
        ('"Odd.Name"."T"', TableName("Odd.Name", "T")),
        ('"a ""b"" c".t', TableName('a "b" c', "t")),
        ("übung.größe", TableName("übung", "größe")),
        ("sales.order-lines", TableName("sales", "order-lines")),
        ('sales."*"', TableName("sales", "*")),
        ('sales."a*"', TableName("sales", "a*")),
        ("sales.*", WholeSchema("sales")),
        ('"Odd.Name".*', WholeSchema("Odd.Name")),
        ("s." + "x" * 63, TableName("s", "x" * 63)),
        ("s." + "ü" * 31, TableName("s", "ü" * 31)),
    ],
)
def test_parse_table_when_well_formed(text: str, expected: TableName | WholeSchema) -> None:
    assert parse_table(text) == expected


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("orders", "names no schema"),
        ("*", "names no schema"),
        ("*.*", "names no schema"),
        ("shop.sales.orders", "3 parts"),
        ("sales.", "not a name"),
        (".orders", "not a name"),
        ("sales..orders", "not a name"),
        ('"sales.orders', "not a name"),
        ('sales."orders', "not a name"),
        ('sales."orders"x', "not a name"),
        ('sales.or"ders', "not a name"),
        ('"".orders', "not a name"),
        ("sales.my orders", "not a name"),
        ("sales . orders", "not a name"),
        ("sales.orders; DROP TABLE x", "not a name"),
        ("sales.ord*", "a * where none"),
        ("s*.orders", "a * where none"),
        ("s*.*", "a * where none"),
        ('"sa\0les".orders', "NUL"),
        ("sales.or\0ders", "not a name"),
        ("sales.\ud800", "half a character"),
        ("s." + "x" * 64, "64 bytes"),
        ("s." + "ü" * 32, "64 bytes"),
    ],
)
def test_parse_table_when_malformed(text: str, because: str) -> None:
    with pytest.raises(Invalid, match=because.replace("*", r"\*")) as refusal:
        parse_table(text)
    assert refusal.value.field == "tables"


@pytest.mark.parametrize("text", ["email", "customers.email", "a.b.c.d", "sales.customers.*", "sales.*.email"])
def test_parse_column_when_not_one_column(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_column(text)
    assert refusal.value.field == "unmask"


def test_quoted_part_when_a_word_of_sql() -> None:
    assert [quoted_part(name) for name in ("orders", "order", "Order", "a b", "1a", 'a"b', "é")] == [
        "orders",
        '"order"',
        '"Order"',
        '"a b"',
        '"1a"',
        '"a""b"',
        '"é"',
    ]
