"""Deciding about masks: who lets a column be shown, and limits to rows that an approver adds."""

from collections.abc import Callable
from typing import Any

import pytest
from guardian.shortcuts import remove_perm

from apps.approvals.models import Decision
from apps.approvals.services import approve, deny, inbox, route_of
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.masking import tie_to_json
from apps.catalog.models import Column, StandingFilter, Table
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.engines.ties import Tie, TieKind
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from tests.factories import Cast, fresh, join, let_ask, let_own, let_own_data

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]
EMAIL = "sales.customers.email"
REGION = {"column": "region", "operator": "=", "values": ["EU"]}


@pytest.fixture
def owned(people: Cast) -> Cast:
    """sam owns the data of shop."""
    let_own_data(people.shop, people.sam)
    return people


@pytest.fixture
def unmasking(owned: Cast, ask: AskFor) -> AccessRequest:
    """alice wants to see e-mail addresses: bob, dana, then sam."""
    return submit(actor=owned.alice, ask=ask(tables=("sales.customers", "stock.levels"), unmask=(EMAIL,)))


@pytest.fixture
def masked(people: Cast, ask: AskFor) -> AccessRequest:
    """bob, then dana."""
    return submit(actor=people.alice, ask=ask(tables=("sales.customers", "sales.orders", "stock.levels")))


def lines(request: AccessRequest) -> list[audit.Line]:
    return audit.entries(limit=1000, where=audit.Filter(subjects=(request.audit_id,)))


def reload(request: AccessRequest) -> AccessRequest:
    return AccessRequest.objects.get(pk=request.pk)


def test_approve_needs_the_data_owner_when_a_column_is_to_be_unmasked(owned: Cast, unmasking: AccessRequest) -> None:
    assert not inbox(owned.sam).exists()
    approve(actor=owned.bob, request_id=unmasking.pk)
    assert approve(actor=owned.dana, request_id=unmasking.pk).status == "pending"
    assert list(inbox(owned.sam)) == [unmasking]
    assert approve(actor=owned.sam, request_id=unmasking.pk).status == "approved"

    route = route_of(reload(unmasking))
    assert [(step["kind"], step["approved_by"]) for step in route] == [
        ("peer", ["bob"]),
        ("owner", ["dana"]),
        ("data_owner", ["sam"]),
    ]
    assert [line.facts.get("unmask_count") for line in lines(unmasking) if line.action == Action.DECISION_APPROVED] == [
        1,
        1,
        1,
    ]


def test_approve_is_not_allowed_when_an_owner_of_the_database_does_not_own_the_data(
    owned: Cast, unmasking: AccessRequest
) -> None:
    let_own(owned.shop, owned.carol)
    approve(actor=owned.bob, request_id=unmasking.pk)
    approve(actor=owned.dana, request_id=unmasking.pk)

    with pytest.raises(Conflict, match="now this request waits for an owner of the data in shop"):
        approve(actor=fresh(owned.carol), request_id=unmasking.pk)
    with pytest.raises(Conflict, match="already"):
        approve(actor=owned.dana, request_id=unmasking.pk)
    assert reload(unmasking).status == "pending"


def test_approve_is_not_allowed_when_a_data_owner_comes_before_the_others(
    owned: Cast, unmasking: AccessRequest
) -> None:
    with pytest.raises(NotAllowed, match="waits for a peer"):
        approve(actor=owned.sam, request_id=unmasking.pk)


def test_approve_is_not_allowed_when_the_data_owner_asks_themselves(owned: Cast, ask: AskFor) -> None:
    """One of two data owners: the other one decides."""
    let_own_data(owned.shop, owned.shop_team)
    request = submit(actor=owned.alice, ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))

    assert set(request.facts["eligible"]["data_owner"]) == {owned.bob.pk, owned.sam.pk}
    with pytest.raises(NotAllowed, match="their own"):
        approve(actor=fresh(owned.alice), request_id=request.pk)
    approve(actor=fresh(owned.bob), request_id=request.pk)  # as a peer; not once more as a data owner
    approve(actor=owned.dana, request_id=request.pk)
    with pytest.raises(Conflict, match="already"):
        approve(actor=fresh(owned.bob), request_id=request.pk)
    assert approve(actor=owned.sam, request_id=request.pk).status == "approved"


def test_submit_sends_the_step_to_security_when_the_only_data_owner_asks(people: Cast, ask: AskFor) -> None:
    let_own_data(people.shop, people.alice)
    request = submit(actor=people.alice, ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))

    assert [step["kind"] for step in request.verdict["steps"]] == ["peer", "owner", "group"]


@pytest.mark.parametrize("way", [approve, deny])
def test_decide_is_not_found_and_recorded_when_a_stranger_guesses_the_request(
    owned: Cast, unmasking: AccessRequest, way: Callable[..., AccessRequest]
) -> None:
    let_own_data(owned.staging, owned.carol)  # of another database

    with pytest.raises(NotFound):
        way(actor=fresh(owned.carol), request_id=unmasking.pk, comment="fine")
    assert (lines(unmasking)[-1].action, lines(unmasking)[-1].actor) == (
        Action.DECISION_REFUSED,
        owned.carol.audit_id,
    )


def test_request_is_visible_to_a_data_owner_when_it_asks_one_and_not_else(
    people: Cast, unmasking: AccessRequest, masked: AccessRequest
) -> None:
    let_own_data(people.shop, people.web_team)

    carol = fresh(people.carol)
    assert list(AccessRequest.objects.visible_to(carol)) == [unmasking]


def test_approve_counts_no_vote_when_the_data_owner_is_none_any_more(owned: Cast, unmasking: AccessRequest) -> None:
    """A5: between the vote and the end of the route."""
    let_own_data(owned.shop, owned.carol)
    AccessRequest.objects.filter(pk=unmasking.pk).update(
        verdict={**unmasking.verdict, "steps": list(reversed(reload(unmasking).verdict["steps"]))}
    )
    approve(actor=owned.sam, request_id=unmasking.pk)
    remove_perm("own_data", owned.sam, owned.shop)

    with pytest.raises(NotAllowed, match="owner of the data"):
        approve(actor=owned.dana, request_id=unmasking.pk)


def test_approve_masks_again_when_the_data_owner_leaves_columns_out(owned: Cast, unmasking: AccessRequest) -> None:
    approve(actor=owned.bob, request_id=unmasking.pk)
    approve(actor=owned.dana, request_id=unmasking.pk)
    approve(actor=owned.sam, request_id=unmasking.pk, unmask=[])

    row = reload(unmasking)
    assert (row.status, row.effective.unmask) == ("approved", ())
    assert [column for _, column, _ in row.effective.masked()] == ["email"]
    narrowing = next(line for line in lines(row) if line.action == Action.DECISION_NARROWED)
    assert (narrowing.facts["unmask"], narrowing.facts["masked"]) == ([], [f"{EMAIL}: email"])


def test_approve_refuses_to_mask_again_when_that_could_not_be_issued(owned: Cast, unmasking: AccessRequest) -> None:
    ties = [tie_to_json(Tie(TieKind.INDEX, "by_region", ("email", "region")))]
    Table.objects.filter(name="customers").update(ties=ties)

    with pytest.raises(Invalid, match="no primary key"):
        approve(actor=owned.bob, request_id=unmasking.pk, unmask=[])
    assert not Decision.objects.exists()


def test_approve_limits_rows_when_filters_are_given(people: Cast, masked: AccessRequest) -> None:
    filters = {
        "sales.customers": [REGION],
        "stock.levels": [{"column": "count", "operator": "in", "values": ["1", "2"]}],
    }
    approve(actor=people.bob, request_id=masked.pk, filters=filters, seen_digest=masked.scope_digest)
    approve(actor=people.dana, request_id=masked.pk)

    row = reload(masked)
    assert row.status == "approved"
    seen = {str(view.table): view for view in row.effective.views}
    assert set(seen) == {"sales.customers", "sales.orders", "stock.levels"}
    assert [str(one) for one in seen["sales.customers"].filters] == ["region = 'EU'"]
    assert [str(one) for one in seen["stock.levels"].filters] == ["count in ('1', '2')"]
    assert seen["stock.levels"].columns == ("product_id", "count")
    assert masked.effective.covers(row.effective)
    assert AccessRequest.objects.get(pk=row.pk).asked_scope == masked.asked_scope
    narrowing = next(line for line in lines(row) if line.action == Action.DECISION_NARROWED)
    assert narrowing.facts["filter_count"] == 2
    assert narrowing.disclosed["filters"] == "sales.customers: region = 'EU'\nstock.levels: count in ('1', '2')"
    assert b"EU" not in narrowing.body


def test_approve_keeps_standing_filters_when_others_come_on_top(people: Cast, ask: AskFor) -> None:
    row = Table.objects.get(database=people.shop, name="levels")
    StandingFilter.objects.create(table=row, column="count", operator=">", values=["0"], added_at=clock.now())
    request = submit(actor=people.alice, ask=ask(tables=("stock.levels",)))

    approve(actor=people.bob, request_id=request.pk, filters={"stock.levels": [{**REGION, "column": "product_id"}]})

    (view,) = reload(request).effective.views
    assert [str(one) for one in view.filters] == ["count > '0'", "product_id = 'EU'"]


def test_approve_shows_no_more_when_a_column_was_classified_meanwhile(people: Cast, masked: AccessRequest) -> None:
    Column.objects.filter(table__name="levels", name="count").update(classification="restricted")

    approve(actor=people.bob, request_id=masked.pk, filters={"stock.levels": [{**REGION, "column": "product_id"}]})

    levels = next(view for view in reload(masked).effective.views if view.table.name == "levels")
    assert [column for column, _ in levels.masks] == ["count"]


@pytest.mark.parametrize(
    "filters",
    [
        {"sales.customers": [{**REGION, "column": "email"}]},
        {"sales.customers": [{**REGION, "column": "nothing"}]},
        {"sales.customers": [{**REGION, "operator": "~"}]},
        {"sales.customers": [{**REGION, "operator": "= 'EU' OR 1 ="}]},
        {"sales.customers": [{**REGION, "values": []}]},
        {"sales.customers": [{**REGION, "values": ["a", "b"]}]},
        {"sales.customers": [{**REGION, "values": "EU"}]},
        {"sales.customers": [{**REGION, "values": [1]}]},
        {"sales.customers": [{**REGION, "values": ["nul\0"]}]},
        {"sales.customers": [{**REGION, "or": "true"}]},
        {"sales.customers": [{"column": "region"}]},
        {"sales.customers": [{**REGION, "operator": "is null"}]},
        {"sales.customers": ["region = 'EU'"]},
        {"sales.customers": "region = 'EU'"},
        {"sales.customers": [{**REGION, "values": [str(number)]} for number in range(51)]},
        {"sales.*": [REGION]},
        {"hr.employees": [{**REGION, "column": "title"}]},
        {"customers": [REGION]},
        {3: [REGION]},
        ["sales.customers"],
        "sales.customers",
    ],
)
def test_approve_names_the_field_when_a_limit_cannot_be_meant(
    people: Cast, masked: AccessRequest, filters: Any
) -> None:
    with pytest.raises(Invalid) as refusal:
        approve(actor=people.bob, request_id=masked.pk, filters=filters)
    assert refusal.value.field == "filters"
    assert not Decision.objects.exists()
    assert reload(masked).scope == masked.scope


def test_approve_refuses_a_limit_by_a_masked_column_when_it_is_to_be_unmasked(
    owned: Cast, unmasking: AccessRequest
) -> None:
    """A later approver could keep it masked, and the limit would tell its value."""
    with pytest.raises(Invalid, match="is masked"):
        approve(actor=owned.bob, request_id=unmasking.pk, filters={"sales.customers": [{**REGION, "column": "email"}]})


def test_approve_refuses_limits_when_rows_are_to_be_changed(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(tables=("stock.levels",), level="change"))

    with pytest.raises(Invalid, match="can only be read"):
        approve(actor=people.bob, request_id=request.pk, filters={"stock.levels": [{**REGION, "column": "count"}]})


def test_approve_refuses_a_limit_when_the_table_cannot_be_a_view(people: Cast, masked: AccessRequest) -> None:
    Table.objects.filter(name="levels").update(row_security=True)

    with pytest.raises(Invalid, match="row security"):
        approve(actor=people.bob, request_id=masked.pk, filters={"stock.levels": [{**REGION, "column": "count"}]})


def test_approve_conflicts_when_another_approver_has_limited_rows_meanwhile(
    people: Cast, masked: AccessRequest
) -> None:
    approve(actor=people.bob, request_id=masked.pk, filters={"sales.customers": [REGION]})

    with pytest.raises(Conflict, match="changed since you looked"):
        approve(actor=people.dana, request_id=masked.pk, seen_digest=masked.scope_digest)
    assert (
        approve(actor=people.dana, request_id=masked.pk, seen_digest=reload(masked).scope_digest).status == "approved"
    )


def test_approve_cannot_take_a_limit_away_when_an_earlier_approver_set_it(people: Cast, masked: AccessRequest) -> None:
    approve(actor=people.bob, request_id=masked.pk, filters={"sales.customers": [REGION]})
    approve(actor=people.dana, request_id=masked.pk, filters={"sales.customers": []})

    customers = next(view for view in reload(masked).effective.views if view.table.name == "customers")
    assert [str(one) for one in customers.filters] == ["region = 'EU'"]


def test_submit_is_not_found_when_a_data_owner_of_another_database_asks(people: Cast, ask: AskFor) -> None:
    """Owning data lets nobody ask; seeing the database is not enough either."""
    let_own_data(people.shop, people.sam)
    with pytest.raises(NotAllowed):
        submit(actor=fresh(people.sam), ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))
    with pytest.raises(NotFound):
        submit(actor=fresh(people.sam), ask=ask(database="shop-staging", tables=("sales.customers",)))
    let_ask(people.shop, people.security)
    join(people.bob, people.security)
    assert submit(actor=fresh(people.sam), ask=ask(tables=("sales.customers",), unmask=(EMAIL,))).status == "pending"
