"""Masked columns on the pages: seen in the picker, asked for one by one, decided one by one, shown as evidence."""

import re

import pytest
from django.test import Client
from django.utils import timezone
from guardian.shortcuts import assign_perm

from apps.catalog import masking
from apps.catalog.models import Column, StandingFilter, Table
from apps.engines.ties import Tie, TieKind
from apps.grants.models import Grant
from apps.portal import words
from apps.portal.masked import MOST_COLUMNS
from apps.portal.reach import reached
from apps.requests.models import AccessRequest
from tests.factories import Cast, TableFactory
from tests.support.pages import approve, ask, fields, live
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "sales.customers.email"
MASKED = {"tables": "sales.customers\nsales.orders"}


@pytest.fixture
def alice(people: Cast) -> Client:
    assign_perm("own_data", people.security, people.shop)
    return signed_in(people.alice)


@pytest.fixture
def row(people: Cast, alice: Client) -> AccessRequest:
    return ask(people.alice, tables=("sales.customers", "hr.employees"), unmask=(EMAIL, "hr.employees.salary"))


def table_of(people: Cast, schema: str, name: str) -> Table:
    return Table.objects.get(database=people.shop, schema=schema, name=name)


def ticks(page: str) -> dict[str, bool]:
    """Each tick that is offered, and whether it is set."""
    found = re.findall(r'name="unmask" value="([^"]+)" id="[^"]+"( checked)?', page)
    return {name: bool(checked) for name, checked in found}


def decide(who: Client, row: AccessRequest, **changes: object) -> int:
    sent = {
        "seen_digest": row.scope_digest,
        "table": ["hr.employees", "sales.customers"],
        "unmask": [EMAIL, "hr.employees.salary"],
        "minutes": "60",
        **changes,
    }
    return who.post(f"/requests/{row.pk}/approve/", sent).status_code


def page(client: Client, row: AccessRequest) -> str:
    return client.get(f"/requests/{row.pk}/").content.decode()


def test_tables_when_columns_are_masked_name_them(alice: Client) -> None:
    found = alice.get("/ask/tables/?database=shop").content.decode()
    assert "1 column masked: email" in found
    assert "1 of them with masked columns" in found
    assert "disabled" not in found


def test_tables_when_one_is_paused_say_why(people: Cast, alice: Client) -> None:
    Table.objects.filter(database=people.shop, name="orders").update(
        paused_at=timezone.now(), paused_by=people.dana, pause_reason="New column"
    )
    found = alice.get("/ask/tables/?database=shop").content.decode()
    assert re.search(r'value="sales.orders"[^>]* disabled', found)
    assert "Paused for a migration, and not given meanwhile: New column" in found


def test_check_when_columns_are_masked_lists_them(alice: Client) -> None:
    found = alice.post("/ask/", fields(do="check", **MASKED)).content.decode()
    assert ticks(found) == {EMAIL: False}
    assert "confidential, e-mail" in found
    assert "needs the yes of the data owner" in found
    assert "the data owner</h2>" not in found


def test_check_when_values_are_asked_for_keeps_the_tick(alice: Client) -> None:
    found = alice.post("/ask/", fields(do="check", reason="", unmask=[EMAIL], **MASKED)).content.decode()
    assert ticks(found) == {EMAIL: True}
    assert "reason is empty" in found


def test_check_when_something_else_is_wrong_keeps_the_tick(alice: Client) -> None:
    found = alice.post("/ask/", fields(do="check", minutes="soon", unmask=[EMAIL], **MASKED)).content.decode()
    assert f'name="unmask" value="{EMAIL}" checked' in found


def test_search_when_values_are_asked_for_keeps_the_tick(alice: Client) -> None:
    found = alice.post("/ask/", fields(do="search", q="orders", unmask=[EMAIL], **MASKED)).content.decode()
    assert f'name="unmask" value="{EMAIL}" checked' in found


def test_preview_when_values_are_asked_for(alice: Client) -> None:
    found = alice.post("/ask/preview/", fields(reason="", unmask=[EMAIL], **MASKED)).content.decode()
    assert 'id="masked" hx-swap-oob="true"' in found
    assert ticks(found) == {EMAIL: True}
    assert "the data owner" in found
    assert "Unmasked columns." in found


def test_preview_when_a_field_is_wrong_leaves_the_masked_columns_alone(alice: Client) -> None:
    found = alice.post("/ask/preview/", fields(minutes="soon", unmask=[EMAIL], **MASKED)).content.decode()
    assert 'id="masked"' not in found
    assert 'id="error-unmask" hx-swap-oob="true"' in found


def test_preview_when_nothing_is_chosen_any_more_empties_the_section(alice: Client) -> None:
    found = alice.post("/ask/preview/", fields(tables="", unmask=[EMAIL])).content.decode()
    assert 'id="masked" hx-swap-oob="true"' in found
    assert EMAIL not in found


def test_ask_when_values_are_asked_for(people: Cast, alice: Client) -> None:
    alice.post("/ask/", fields(unmask=[EMAIL], **MASKED))
    row = AccessRequest.objects.get()
    assert [(str(table), column) for table, column in row.effective.unmask] == [("sales.customers", "email")]
    again = alice.get(f"/ask/?again={row.pk}").content.decode()
    assert f'name="unmask" value="{EMAIL}" checked' in again


@pytest.mark.parametrize("tables", ["sales.orders", "sales.orders\nhr.employees"])
def test_ask_when_the_table_of_a_tick_is_gone_drops_the_tick(alice: Client, tables: str) -> None:
    alice.post("/ask/", fields(tables=tables, unmask=[EMAIL]))
    assert not AccessRequest.objects.get().effective.unmask


def test_ask_when_a_whole_schema_is_chosen_keeps_its_ticks(alice: Client) -> None:
    alice.post("/ask/", fields(tables="sales.*", unmask=[EMAIL]))
    assert AccessRequest.objects.get().effective.unmask


def test_ask_when_a_column_is_not_masked_says_so_beside_it(alice: Client) -> None:
    answer = alice.post("/ask/", fields(unmask=["sales.customers.region"], **MASKED))
    found = answer.content.decode()
    assert answer.status_code == 422
    assert "is no masked column" in found[found.index('id="error-unmask"') :][:300]


def test_check_when_rows_are_to_be_changed_says_what_cannot(people: Cast, alice: Client) -> None:
    ties = [
        Tie(TieKind.CHECK, "paid_by_title", ("salary", "title")),
        Tie(TieKind.TRIGGER, "audit_pay", ("*",), events=("DELETE",)),
    ]
    Table.objects.filter(database=people.shop, name="employees").update(
        primary_key=["id"], ties=[masking.tie_to_json(tie) for tie in ties]
    )
    found = alice.post("/ask/", fields(do="check", level="change", tables="hr.employees")).content.decode()
    assert "hr.employees.title is tied to the masked salary by the check constraint paid_by_title." in found
    assert "hr.employees: no DELETE, because it fires the trigger audit_pay" in found
    assert "hr.employees.salary is masked" not in found


def limit(people: Cast) -> None:
    StandingFilter.objects.create(
        table=table_of(people, "sales", "customers"),
        column="region",
        operator="=",
        values=["EU"],
        added_at=timezone.now(),
    )


def test_check_when_rows_are_limited_says_which(people: Cast, alice: Client) -> None:
    limit(people)
    found = alice.post("/ask/", fields(do="check", **MASKED)).content.decode()
    assert "sales.customers: only rows where region = &#x27;EU&#x27;" in found


def test_check_when_hundreds_are_masked_shows_some_and_every_tick(people: Cast, alice: Client) -> None:
    for n in range(30):
        columns = [{"name": f"note_{n}", "classification": "restricted"} for n in range(9)]
        TableFactory(database=people.shop, schema="wide", name=f"t{n:02}", columns=columns)
    last = "wide.t29.note_8"
    found = alice.post("/ask/", fields(do="check", tables="wide.*", unmask=[last])).content.decode()
    assert len(ticks(found)) == MOST_COLUMNS
    assert [name for name, checked in ticks(found).items() if checked] == [last]
    assert f"and {270 - MOST_COLUMNS} more masked columns" in found


def test_show_request_when_values_are_asked_for(people: Cast, row: AccessRequest) -> None:
    found = page(signed_in(people.bob), row)
    assert "To be shown unmasked" in found
    assert "(confidential, e-mail; otherwise " in found
    assert "The data owner" in found
    assert f'name="unmask" value="{EMAIL}" checked' in found


def test_approve_when_a_column_stays_masked(people: Cast, row: AccessRequest) -> None:
    assert decide(signed_in(people.bob), row, unmask=[EMAIL]) == 302
    row.refresh_from_db()
    assert [column for _, column in row.effective.unmask] == ["email"]
    found = page(signed_in(people.dana), row)
    assert '<s class="mono">hr.employees.salary</s>' in found
    assert "1 column stays masked" in found
    assert 'name="unmask" value="hr.employees.salary"' not in found


def test_approve_when_all_columns_stay_masked(people: Cast, row: AccessRequest) -> None:
    assert decide(signed_in(people.bob), row, unmask=[]) == 302
    row.refresh_from_db()
    assert not row.effective.unmask


def test_approve_when_rows_are_limited(people: Cast, row: AccessRequest) -> None:
    limits = {
        "limit_column": ["sales.customers.region", "", "hr.employees.title", "sales.customers.id"],
        "limit_operator": ["in", "=", "is not null", "="],
        "limit_value": ['EU, "a, b"', "x", "ignored", "7"],
    }
    assert decide(signed_in(people.bob), row, **limits) == 302
    found = page(signed_in(people.dana), row)
    assert "region in (&#x27;EU&#x27;, &#x27;a, b&#x27;)" in found
    assert "title is not null" in found
    assert "(added)" in found


def test_approve_when_a_limit_cannot_be_meant_keeps_what_was_typed(people: Cast, row: AccessRequest) -> None:
    client = signed_in(people.bob)
    limits = {"limit_column": ["sales.customers.nothing"], "limit_operator": ["="], "limit_value": ["<EU>"]}
    sent = {"seen_digest": row.scope_digest, "table": ["hr.employees", "sales.customers"], "unmask": [EMAIL], **limits}
    answer = client.post(f"/requests/{row.pk}/approve/", sent)
    found = answer.content.decode()
    assert answer.status_code == 422
    assert "&lt;EU&gt;" in found
    assert f'name="unmask" value="{EMAIL}" checked' in found
    assert 'name="unmask" value="hr.employees.salary">' in found
    row.refresh_from_db()
    assert row.scope == row.asked_scope


def test_inbox_when_values_are_asked_for(people: Cast, row: AccessRequest) -> None:
    inbox = signed_in(people.bob).get("/inbox/").content.decode()
    assert "<strong>2 columns unmasked</strong>" in inbox


def test_show_request_when_a_standing_limit_holds(people: Cast, alice: Client) -> None:
    limit(people)
    found = page(signed_in(people.bob), ask(people.alice, tables=("sales.customers",)))
    assert "region = &#x27;EU&#x27;" in found
    assert "(added)" not in found


def test_show_request_when_it_could_not_be_given_any_more(people: Cast, alice: Client) -> None:
    """Nobody should be asked for a yes in vain."""
    row = ask(people.alice, tables=("sales.customers",))
    said = "As it stands, this will not be given"
    assert said not in page(signed_in(people.bob), row)
    limit(people)
    for person in (people.bob, people.alice):
        found = page(signed_in(person), row)
        assert said in found
        assert "rows of sales.customers are limited to region = &#x27;EU&#x27;" in found


def test_show_request_when_rows_may_be_changed_offers_no_limit(people: Cast, alice: Client) -> None:
    found = page(signed_in(people.bob), ask(people.alice, level="change"))
    assert "Rows cannot be limited here" in found
    assert 'name="limit_column"' not in found


def test_show_request_when_it_has_many_tables_lets_type_the_column(people: Cast, alice: Client) -> None:
    for n in range(60):
        TableFactory(database=people.shop, schema="wide", name=f"t{n:02}")
    found = page(signed_in(people.bob), ask(people.alice, tables=("wide.*",)))
    assert 'placeholder="schema.table.column"' in found


EVIDENCE = {
    "checked_at": "2026-01-01T00:00:00+00:00",
    "reach": [
        {"object": "schema jit_ab_sales", "privileges": ["USAGE"], "via": "jit_scope"},
        {"object": "view jit_ab_sales.customers", "privileges": ["SELECT"], "via": "jit_scope"},
        {"object": "column jit_ab_sales.customers.region", "privileges": ["UPDATE"], "via": "jit_scope"},
        {"object": "table stock.levels", "privileges": ["SELECT"], "via": "jit_scope"},
        {"object": "table public.spatial", "privileges": ["SELECT"], "via": "PUBLIC"},
    ],
    "findings": ["PUBLIC may create temporary tables in this database."],
    "views": [
        {
            "view": "jit_ab_sales.customers",
            "table": "sales.customers",
            "columns": [
                {"name": "id", "mask": None, "writable": [], "why_read_only": "is tied to the masked email"},
                {"name": "email", "mask": "email", "writable": [], "why_read_only": "is masked"},
                {"name": "region", "mask": None, "writable": ["INSERT", "UPDATE"], "why_read_only": ""},
            ],
            "filters": ["region = 'EU'"],
            "ordered": True,
        }
    ],
}


def test_reached_when_there_are_views_groups_them() -> None:
    found = reached(EVIDENCE)
    assert found is not None
    assert [one.object for one in found.direct] == ["schema jit_ab_sales", "table stock.levels"]
    assert [one.object for one in found.everybody] == ["table public.spatial"]
    assert found.schemas == (("sales", "jit_ab_sales"),)
    assert [(column.shows, column.may) for column in found.views[0].columns] == [
        ("its values", "no: it is tied to the masked email"),
        ("first letter and domain", "no: it is masked"),
        ("its values", "insert, update"),
    ]


def test_reached_when_statements_are_refused_says_which() -> None:
    why = "INSERT fires the trigger t, which sees masked columns; UPDATE fires the trigger t, which sees masked columns"
    columns = [{"name": "id", "mask": None, "writable": [], "why_read_only": why}]
    view = {"view": "jit_ab_sales.customers", "table": "sales.customers", "columns": columns}
    found = reached({**EVIDENCE, "views": [view]})
    assert found is not None
    assert found.views[0].columns[0].may == f"no: {why}"


@pytest.mark.parametrize(("rights", "said"), [(["SELECT"], "may not be"), (["DELETE", "SELECT"], "may be")])
def test_show_grant_when_rows_may_be_changed_says_whether_deleted(
    alice: Client, grant: Grant, rights: list[str], said: str
) -> None:
    view = {"object": "view jit_ab_sales.customers", "privileges": rights, "via": "jit_scope"}
    grant.evidence = {**EVIDENCE, "reach": [view]}
    grant.save()
    assert f"Rows {said} deleted." in page(alice, grant.request)


def test_reached_when_a_column_is_unmasked_says_so() -> None:
    found = reached(EVIDENCE, {"sales.customers.region", EMAIL})
    assert found is not None
    assert [column.name for column in found.views[0].columns if column.unmasked] == ["region"]


def test_reached_when_names_are_odd() -> None:
    view = {"view": '"jit_ab_Odd.""x"."T"', "table": '"Odd.""x"."T"', "columns": []}
    found = reached({"reach": EVIDENCE["reach"], "views": [view]})
    assert found is not None
    assert found.schemas == (('"Odd.""x"', '"jit_ab_Odd.""x"'),)


def test_reached_when_two_schemas_have_a_name_says_so() -> None:
    reach = [*EVIDENCE["reach"], {"object": "table crm.customers", "privileges": ["SELECT"], "via": "jit_scope"}]
    found = reached({**EVIDENCE, "reach": reach})
    assert found is not None
    assert found.ambiguous == ("customers",)
    first = reached(EVIDENCE)
    assert first is not None
    assert first.ambiguous == ()


@pytest.mark.parametrize("evidence", [None, {}, {"reach": [], "views": []}])
def test_reached_when_there_is_no_evidence(evidence: dict[str, object] | None) -> None:
    assert reached(evidence) is None


@pytest.fixture
def grant(people: Cast, alice: Client) -> Grant:
    row = ask(people.alice, tables=("sales.customers", "stock.levels"))
    approve(people, row)
    grant = live(people, row)
    grant.evidence = EVIDENCE
    grant.save()
    return grant


def test_show_grant_when_two_schemas_have_a_name(alice: Client, grant: Grant) -> None:
    other = {"object": "table crm.customers", "privileges": ["SELECT"], "via": "jit_scope"}
    grant.evidence = {**EVIDENCE, "reach": [*EVIDENCE["reach"], other]}
    grant.save()
    said = 'But several schemas have <span class="mono">customers</span>: write the schema there'
    assert said in page(alice, grant.request)


def test_show_grant_when_it_sees_through_views(people: Cast, alice: Client, grant: Grant) -> None:
    found = page(alice, grant.request)
    for said in (
        '<span class="mono">sales</span> is <span class="mono">jit_ab_sales</span> here',
        "3 columns, 1 masked, only some rows",
        "insert, update",
        "Rows come by primary key",
        "1 object through PUBLIC",
        "PUBLIC may create temporary tables",
    ):
        assert said in found


def test_credential_when_it_sees_through_views_says_how(alice: Client, grant: Grant) -> None:
    found = alice.post(f"/grants/{grant.pk}/credential/").content.decode()
    assert "Some tables are masked views" in found
    assert "jit_ab_sales" in found


def test_show_grant_when_the_target_has_drifted(alice: Client, grant: Grant) -> None:
    assert "has changed since" not in page(alice, grant.request)
    Grant.objects.update(drift="A column was <added>.\nAnother one too.")
    found = page(alice, grant.request)
    assert "The target has changed since this access was checked" in found
    assert "A column was &lt;added&gt;." in found


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("drifted", "the target had changed under it"),
        ("masked", "is masked by now"),
        ("revoked", "revoked"),
        ("expired", ""),
    ],
)
def test_show_home_when_access_ended_before_its_time(alice: Client, grant: Grant, cause: str, said: str) -> None:
    now = timezone.now()
    Grant.objects.update(status="ending", end_cause=cause, ending_since=now, end_reason="See <why>.")
    Grant.objects.update(status="ended", ended_at=now, password=None)
    found = alice.get("/").content.decode()
    assert ("ended before its time" in found) is bool(said)
    assert said in found
    assert ("See &lt;why&gt;." in found) is bool(said)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("hidden", "hidden"),
        ("null", "always empty (null)"),
        ("email", "first letter and domain"),
        ("partial(1,4)", "first character and last 4 characters"),
        ("partial(0,4)", "last 4 characters"),
        ("partial(2,0)", "first 2 characters"),
        ("bucket(1000)", "rounded down to a multiple of 1,000"),
        ("date(year)", "year only"),
        ("date(month)", "year and month only"),
        ("of tomorrow", "of tomorrow"),
    ],
)
def test_mask_in_words(mask: str, said: str) -> None:
    assert words.mask(mask) == said


def test_columns_that_nobody_has_classified_are_said_to_be_so(people: Cast, alice: Client) -> None:
    people.shop.hides_unclassified = True
    people.shop.save()
    Column.objects.filter(table__database=people.shop, name="region").update(classification="public")
    found = alice.post("/ask/", fields(do="check", tables="sales.customers")).content.decode()
    assert set(ticks(found)) == {"sales.customers.id", EMAIL}
    assert "not classified" in found
