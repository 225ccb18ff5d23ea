from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.approvals.narrowing import narrowed
from apps.catalog.names import quoted
from apps.core.errors import Invalid
from apps.engines.base import Level, Operator, RowFilter, TableName, ViewedTable
from apps.engines.masks import HIDDEN
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
    views=(
        ViewedTable(LINES, ("id", "note"), (("note", HIDDEN),)),
        ViewedTable(ORDERS, ("id", "note", "region"), (("note", HIDDEN),), (RowFilter("id", Operator.MORE, ("5",)),)),
    ),
)
EU = RowFilter("region", Operator.EQUAL, ("EU",))


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


def test_narrowed_drops_views_when_their_table_goes() -> None:
    assert [view.table for view in narrowed(SCOPE, tables=("sales.orders",)).views] == [ORDERS]
    assert narrowed(SCOPE, tables=('"Odd.Name"."T"',)).views == ()


def test_narrowed_masks_again_when_a_column_is_not_to_be_unmasked() -> None:
    less = narrowed(SCOPE, unmask=("sales.orders.note",))

    assert less.views == SCOPE.views
    assert less.masked() == ((LINES, "note", HIDDEN),)


def test_narrowed_adds_limits_to_those_that_are_there() -> None:
    less = narrowed(SCOPE, filters={ORDERS: (EU,)})

    assert less.seen[ORDERS].filters == (RowFilter("id", Operator.MORE, ("5",)), EU)
    assert less.seen[LINES] == SCOPE.seen[LINES]
    assert SCOPE.covers(less)
    assert not less.covers(SCOPE)


def test_narrowed_makes_a_view_of_a_table_when_it_was_given_directly() -> None:
    plain = ViewedTable(ODD, ("region", "secret"), (("secret", HIDDEN),))
    other = ViewedTable(LINES, ("id", "note", "more"))  # nobody asked for this one, and it shows more
    less = narrowed(SCOPE, filters={ODD: (EU,)}, viewed=(plain, other))

    assert less.seen[ODD] == replace(plain, filters=(EU,))
    assert less.seen[LINES] == SCOPE.seen[LINES]
    assert [view.table for view in less.views] == [ODD, LINES, ORDERS]
    assert SCOPE.covers(less)


@pytest.mark.parametrize(
    ("table", "column"), [(ORDERS, "note"), (LINES, "note"), (ORDERS, "nothing"), (ODD, "region"), (LINES, "region")]
)
def test_narrowed_refuses_a_limit_when_its_column_is_masked_or_not_there(table: TableName, column: str) -> None:
    """Also by one that is to be unmasked: a later approver may keep it masked."""
    with pytest.raises(Invalid) as refusal:
        narrowed(SCOPE, filters={table: (replace(EU, column=column),)})
    assert refusal.value.field == "filters"


def test_narrowed_refuses_a_limit_when_its_table_is_left_out() -> None:
    with pytest.raises(Invalid, match="not among the tables that are left"):
        narrowed(SCOPE, tables=("sales.order_lines",), filters={ORDERS: (EU,)})


def test_narrowed_refuses_a_view_when_it_would_show_more_than_was_asked_for() -> None:
    """Whatever the catalog says by then: a limit never makes more of a scope."""
    wide = replace(SCOPE, views=(replace(SCOPE.views[0], columns=("id",), masks=()), SCOPE.views[1]))
    with pytest.raises(Invalid):
        narrowed(wide, filters={LINES: (EU,)}, viewed=(ViewedTable(LINES, ("id", "region")),))


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
    assert replace(less, minutes=60, tables=SCOPE.tables, unmask=SCOPE.unmask, views=SCOPE.views) == SCOPE
    assert set(less.views) == {view for view in SCOPE.views if view.table in tables}
