"""Classified tables are asked for masked; what could not be issued so is refused with a sentence."""

from collections.abc import Callable
from typing import Any

import pytest

from apps.audit import services as audit
from apps.catalog.masking import tie_to_json
from apps.catalog.models import Column, Database, StandingFilter, Table
from apps.core import clock
from apps.core.errors import Invalid
from apps.engines.ties import Tie, TieKind
from apps.policies.models import PolicyVersion
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, Refused, preview, shown_by, submit
from tests.factories import Cast, ColumnFactory, let_own_data

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]
EMAIL = "sales.customers.email"


def table(people: Cast, name: str, **changes: Any) -> Table:
    row = Table.objects.get(database=people.shop, name=name)
    for field, value in changes.items():
        setattr(row, field, value)
    row.save()
    return row


def limit(row: Table, column: str, *values: str) -> None:
    StandingFilter.objects.create(table=row, column=column, operator="=", values=values, added_at=clock.now())


def views(request: AccessRequest) -> dict[str, Any]:
    return {view.table.name: view for view in request.effective.views}


def test_submit_freezes_columns_and_masks_when_a_table_is_classified(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(tables=("sales.*", "stock.levels")))
    ColumnFactory(table=table(people, "customers"), name="added_later", classification="restricted")

    seen = views(AccessRequest.objects.get(pk=request.pk))
    assert set(seen) == {"customers", "order_lines", "orders"}  # stock holds nothing masked: direct
    assert seen["customers"].columns == ("id", "email", "region")
    assert [(column, str(mask)) for column, mask in seen["customers"].masks] == [("email", "email")]
    assert seen["orders"].masks == ()
    assert request.facts["classified_tables"] == ("sales.customers",)
    assert (request.facts["highest_classification"], request.facts["unmask"]) == ("confidential", ())
    assert request.facts["unclassified"] == 10


def test_submit_hides_what_nobody_classified_when_the_database_says_so(people: Cast, ask: AskFor) -> None:
    Database.objects.update(hides_unclassified=True)

    request = submit(actor=people.alice, ask=ask(tables=("stock.levels",)))

    assert [column for column, _ in views(request)["levels"].masks] == ["count", "product_id"]
    assert (request.facts["highest_classification"], request.facts["unclassified"]) == ("restricted", 0)
    shown = submit(actor=people.alice, ask=ask(tables=("stock.levels",), unmask=("stock.levels.count",)))
    assert (shown.facts["highest_unmask"], shown.facts["unmask_classes"]) == ("restricted", ("",))


def test_submit_asks_a_data_owner_when_a_column_is_to_be_unmasked(people: Cast, ask: AskFor) -> None:
    let_own_data(people.shop, people.security)

    request = submit(actor=people.alice, ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))

    assert [step["kind"] for step in request.verdict["steps"]] == ["peer", "owner", "data_owner"]
    request.refresh_from_db()
    facts = request.facts
    assert (facts["unmask"], facts["unmask_classes"], facts["highest_unmask"]) == ([EMAIL], ["email"], "confidential")
    assert facts["eligible"]["data_owner"] == [people.sam.pk]
    assert [str(mask) for _, mask in views(request)["customers"].masks] == ["email"]  # also of what is to be shown
    assert request.effective.masked() == ()


def test_submit_never_approves_an_unmask_at_once_when_a_rule_would(people: Cast, ask: AskFor) -> None:
    newest = PolicyVersion.objects.get()
    yes = {**newest.rules[0], "name": "yes", "outcome": "approve", "longer_than_minutes": None}
    PolicyVersion.objects.create(number=2, rules=[yes], created_at=clock.now(), author="operator")
    let_own_data(people.shop, people.security)

    masked = submit(actor=people.alice, ask=ask(tables=("sales.customers",)))
    unmasked = submit(actor=people.alice, ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))

    assert (masked.status, unmasked.status) == ("approved", "pending")
    assert [step["kind"] for step in unmasked.verdict["steps"]] == ["data_owner"]


def test_submit_is_denied_when_cards_are_to_be_unmasked_outside_the_console(people: Cast, ask: AskFor) -> None:
    Column.objects.filter(name="email").update(data_class="card", classification="restricted")
    wanted = {"tables": ("sales.customers",), "unmask": (EMAIL,)}

    assert submit(actor=people.alice, ask=ask(**wanted)).status == "denied"
    assert submit(actor=people.alice, ask=ask(**wanted, database="shop-staging")).status == "denied"
    assert submit(actor=people.alice, ask=ask(**wanted, connection="console")).status == "pending"


@pytest.mark.parametrize(
    "unmask", ["sales.customers.id", "sales.orders.id", "hr.employees.salary", "sales.customers.nothing"]
)
def test_submit_names_the_field_when_a_column_is_not_masked_in_what_is_asked_for(
    people: Cast, ask: AskFor, unmask: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        submit(actor=people.alice, ask=ask(tables=("sales.*",), unmask=(unmask,)))
    assert refusal.value.field == "unmask"


def test_submit_refuses_change_when_rows_are_limited(people: Cast, ask: AskFor) -> None:
    limit(table(people, "levels"), "count", "3")

    with pytest.raises(Refused, match=r"stock.levels is limited to rows with count = '3'") as refusal:
        submit(actor=people.alice, ask=ask(tables=("stock.*",), level="change"))
    assert refusal.value.field == "level"
    read = submit(actor=people.alice, ask=ask(tables=("stock.*",)))
    assert set(views(read)) == {"levels"}


def test_submit_refuses_when_the_column_that_limits_rows_is_gone(people: Cast, ask: AskFor) -> None:
    levels = table(people, "levels")
    limit(levels, "count", "3")
    levels.columns.filter(name="count").update(gone_at=clock.now())

    with pytest.raises(Refused, match=r"it has no column count any more, .* administrator changes that limit"):
        submit(actor=people.alice, ask=ask(tables=("stock.*",)))


@pytest.mark.parametrize(
    "case",
    [
        ("orders", {"row_security": True}, {}, "row security"),
        ("orders", {"kind": "foreign table"}, {}, "another server"),
        ("orders", {"kind": "partition"}, {"tables": ("sales.orders",)}, "only reached through its parent"),
        ("orders", {"kind": "view"}, {"level": "change"}, "can only be read"),
        ("orders", {"kind": "materialized view"}, {"level": "change"}, "can only be read"),
        ("customers", {"ties": [Tie(TieKind.INDEX, "by_region", ("email", "region"))]}, {}, "no primary key"),
        ("customers", {"ties": [Tie(TieKind.PARTITION_KEY, "by_email", ("email",))]}, {}, "divided by a masked column"),
        (
            "orders",
            {"ties": [Tie(TieKind.FOREIGN_KEY, "of", ("id",), (("sales", "customers", "email"),))]},
            {},
            "refers to the masked",
        ),
        (
            "customers",
            {"ties": [Tie(TieKind.GENERATED, "region", ("email", "region"))]},
            {},
            "computed from the masked",
        ),
    ],
)
def test_submit_refuses_when_it_could_not_be_shown_masked(
    people: Cast, ask: AskFor, case: tuple[str, dict[str, Any], dict[str, Any], str]
) -> None:
    name, changes, parts, because = case
    if "ties" in changes:
        changes = {"ties": [tie_to_json(tie) for tie in changes["ties"]]}
    row = table(people, name, **changes)

    with pytest.raises(Refused, match=because) as refusal:
        submit(actor=people.alice, ask=ask(**({"tables": ("sales.*",)} | parts)))
    assert f"sales.{row.name}" in refusal.value.sentence
    for other in ({"tables": ("stock.*",)}, {"database": "shop-staging", "tables": ("sales.*",)}):
        assert submit(actor=people.alice, ask=ask(**{**parts, **other})).status in {"pending", "approved"}


def test_submit_takes_the_same_table_when_nothing_hinders_it(people: Cast, ask: AskFor) -> None:
    tie = tie_to_json(Tie(TieKind.INDEX, "by_region", ("email", "region")))
    table(people, "customers", ties=[tie])
    whole = submit(actor=people.alice, ask=ask(tables=("sales.customers",), unmask=(EMAIL,)))
    table(people, "customers", primary_key=["id"])
    masked = submit(actor=people.alice, ask=ask(tables=("sales.customers",)))
    table(people, "levels", row_security=True)  # given directly: the server keeps to it
    direct = submit(actor=people.alice, ask=ask(tables=("stock.levels",)))

    assert [row.status for row in (whole, masked, direct)] == ["pending"] * 3


def test_submit_refuses_a_credential_when_functions_notify(people: Cast, ask: AskFor) -> None:
    seen = {"kind": "notifies", "sentence": "s", "count": 1, "objects": ["sales.tell()"], "fix": ""}
    Database.objects.update(exposure=[seen])

    with pytest.raises(Refused, match=r"sales.tell\(\)") as refusal:
        submit(actor=people.alice, ask=ask(tables=("stock.levels",)))
    assert refusal.value.field == "connection"
    assert "accept them" in refusal.value.sentence
    assert submit(actor=people.alice, ask=ask(connection="console")).status == "pending"
    Database.objects.update(notifying_accepted=["sales.tell()"])
    assert submit(actor=people.alice, ask=ask()).status == "pending"


def test_submit_takes_a_credential_when_functions_notify_and_nothing_is_masked(people: Cast, ask: AskFor) -> None:
    seen = {"kind": "notifies", "sentence": "s", "count": 1, "objects": ["sales.tell()"], "fix": ""}
    Database.objects.update(exposure=[seen])
    Column.objects.update(classification="internal")

    assert submit(actor=people.alice, ask=ask()).status == "pending"


def test_submit_refuses_when_too_many_columns_are_masked(
    people: Cast, ask: AskFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.requests.masked.MAX_VIEWED_COLUMNS", 8)

    with pytest.raises(Refused, match="At most 8 columns"):
        submit(actor=people.alice, ask=ask(tables=("sales.*",)))
    assert submit(actor=people.alice, ask=ask(tables=("stock.*",))).status == "pending"


def test_submit_records_masks_as_facts_and_limits_aside(people: Cast, ask: AskFor) -> None:
    limit(table(people, "customers"), "region", "Mallorca")

    request = submit(actor=people.alice, ask=ask(tables=("sales.customers", "hr.employees"), unmask=(EMAIL,)))

    entry = audit.entries(limit=10, where=audit.Filter(subjects=(request.audit_id,)))[0]
    assert entry.facts["unmask"] == [EMAIL]
    assert entry.facts["masked"] == ["hr.employees.salary: hidden"]
    counts = [entry.facts[name] for name in ("view_count", "masked_count", "unmask_count", "filter_count")]
    assert counts == [2, 1, 1, 1]
    assert entry.disclosed["filters"] == "sales.customers: region = 'Mallorca'"
    assert b"Mallorca" not in entry.body


def test_preview_tells_what_stays_masked_and_what_is_shown(people: Cast, ask: AskFor) -> None:
    seen = preview(actor=people.alice, ask=ask(tables=("sales.*", "hr.*"), unmask=(EMAIL,)))

    assert seen.masked == [
        {
            "name": "hr.employees.salary",
            "table": "hr.employees",
            "column": "salary",
            "mask": "hidden",
            "level": "restricted",
            "data_class": "salary",
        }
    ]
    assert [(column["name"], column["mask"]) for column in seen.about.unmasked] == [(EMAIL, "email")]
    assert seen.read_only == []
    assert not [factor for factor in seen.verdict.risk.factors if factor.name == "unmask" and factor.weight < 20]


def test_preview_tells_what_cannot_be_written_and_why_when_rows_are_to_be_changed(people: Cast, ask: AskFor) -> None:
    ties = [
        Tie(TieKind.CHECK, "known_region", ("email", "region")),
        Tie(TieKind.TRIGGER, "audit", ("*",), events=("DELETE",)),
    ]
    table(people, "customers", ties=[tie_to_json(tie) for tie in ties], primary_key=["id"])
    refers = Tie(TieKind.REFERENCE, "of_customer", ("customer_id",), (("sales", "customers", "email"),))
    moves = Tie(TieKind.CASCADE, "moved", ("id",), (("sales", "customers", "region"),), ("UPDATE",))
    table(people, "orders", ties=[tie_to_json(refers), tie_to_json(moves)])
    wanted = ask(tables=("sales.*",), level="change")

    seen = preview(actor=people.alice, ask=wanted)
    request = submit(actor=people.alice, ask=wanted)

    assert {column["name"]: column["why"] for column in seen.read_only} == {
        EMAIL: "is masked",
        "sales.customers.region": "is tied to the masked email by the check constraint known_region",
        "sales.orders.customer_id": "is tied to a masked column by the reference of_customer",
        "sales.orders.id": "can be inserted and not updated: that would change rows with masked columns by the "
        "cascading foreign key moved",
    }
    refused = [(line["table"], line["statement"]) for line in seen.about.refused_writes]
    assert refused == [("sales.customers", "DELETE"), ("sales.orders", "DELETE")]
    assert shown_by(request) == seen.about


def test_preview_lets_write_what_is_tied_to_a_column_when_that_is_unmasked(people: Cast, ask: AskFor) -> None:
    table(people, "customers", ties=[tie_to_json(Tie(TieKind.CHECK, "known", ("email", "region")))])

    seen = preview(actor=people.alice, ask=ask(tables=("sales.*",), level="change", unmask=(EMAIL,)))

    assert seen.read_only == []


def test_preview_tells_the_limits_to_rows(people: Cast, ask: AskFor) -> None:
    limit(table(people, "customers"), "region", "EU")

    (line,) = preview(actor=people.alice, ask=ask(tables=("sales.*",))).filters

    assert line == {
        "table": "sales.customers",
        "column": "region",
        "operator": "=",
        "values": ["EU"],
        "text": "region = 'EU'",
    }
