from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.approvals.narrowing import narrowed
from apps.catalog.names import quoted
from apps.core.errors import Invalid
from apps.engines.base import Level, TableName
from apps.requests.scope import EffectiveScope

ORDERS, LINES, ODD = TableName("sales", "orders"), TableName("sales", "order_lines"), TableName("Odd.Name", "T")
SCOPE = EffectiveScope(
    database="db",
    level=Level.QUERY,
    connection="direct",
    minutes=60,
    starts_at=None,
    tables=(ODD, LINES, ORDERS),
    unmask=((LINES, "note"), (ORDERS, "note")),
)


def test_narrowed_is_the_same_when_nothing_is_given() -> None:
    assert narrowed(SCOPE) == SCOPE


def test_narrowed_is_the_same_when_everything_is_given() -> None:
    everything = ("sales.*", '"Odd.Name"."T"')
    less = narrowed(SCOPE, minutes=60, tables=everything, unmask=("sales.orders.note", "sales.order_lines.note"))

    assert less.digest() == SCOPE.digest()


def test_narrowed_keeps_named_tables_when_given() -> None:
    assert narrowed(SCOPE, tables=('"Odd.Name"."T"',)).tables == (ODD,)


def test_narrowed_keeps_the_scope_s_tables_when_a_wildcard_is_given() -> None:
    assert narrowed(SCOPE, tables=("sales.*",)).tables == (LINES, ORDERS)


def test_narrowed_drops_unmasked_columns_when_their_table_goes() -> None:
    assert narrowed(SCOPE, tables=("sales.orders",)).unmask == ((ORDERS, "note"),)


def test_narrowed_drops_all_unmasked_columns_when_none_is_given() -> None:
    assert narrowed(SCOPE, unmask=()).unmask == ()


@pytest.mark.parametrize(
    ("less", "field"),
    [
        ({"minutes": 61}, "minutes"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": "5"}, "minutes"),
        ({"tables": ()}, "tables"),
        ({"tables": ("stock.levels",)}, "tables"),
        ({"tables": ("sales.orders", "stock.levels")}, "tables"),
        ({"tables": ("stock.*",)}, "tables"),
        ({"tables": ("Sales.Orders",)}, "tables"),
        ({"tables": ("nul\0.x",)}, "tables"),
        ({"tables": "sales.orders"}, "tables"),
        ({"tables": (1,)}, "tables"),
        ({"unmask": ("sales.orders.secret",)}, "unmask"),
        ({"unmask": ("x",)}, "unmask"),
    ],
)
def test_narrowed_names_the_field_when_it_would_not_be_less(less: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        narrowed(SCOPE, **less)
    assert refusal.value.field == field


@given(
    st.sets(st.sampled_from(SCOPE.tables), min_size=1),
    st.sets(st.sampled_from(SCOPE.unmask)),
    st.integers(1, 60),
)
def test_narrowed_is_covered_by_what_it_came_from(
    tables: set[TableName], unmask: set[tuple[TableName, str]], minutes: int
) -> None:
    less = narrowed(
        SCOPE,
        minutes=minutes,
        tables=[quoted(table) for table in tables],
        unmask=[f"{quoted(table)}.{column}" for table, column in unmask],
    )

    assert SCOPE.covers(less)
    assert replace(less, minutes=60, tables=SCOPE.tables, unmask=SCOPE.unmask) == SCOPE
