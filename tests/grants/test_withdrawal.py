"""What a grant shows is what the catalog allows, also while it lives. The target is a dictionary."""

from typing import Any

import pytest

from apps.approvals.services import approve
from apps.audit import services as audit
from apps.catalog.classification import classify_many, save_data_class
from apps.catalog.models import Column, Database, StandingFilter, Table
from apps.catalog.pausing import pause_table, resume_table
from apps.catalog.row_filters import add_filter
from apps.core import clock
from apps.grants import services, withdrawal
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Task
from apps.grants.withdrawal import Watch
from apps.requests.models import AccessRequest
from tests.factories import Cast, fresh
from tests.grants.machinery import asked_for
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active as put_live
from tests.grants.stage import approved as policy_approved
from tests.grants.stage import approved_by_people, now_in, told
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = ("sales.customers", "sales.orders")


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def approved(people: Cast, **parts: Any) -> AccessRequest:
    request = approved_by_people(people, **{"tables": BOTH, **parts})
    if request.status == "pending":  # the data owner's step
        request = approve(actor=fresh(people.sam), request_id=request.pk)
    assert request.status == "approved"
    return request


def live(people: Cast, **parts: Any) -> Grant:
    request = approved(people, **parts)
    services.open_approved()
    grant = Grant.objects.get(request=request)
    services.issue(grant_id=grant.pk)
    return now_in(grant, GrantStatus.ACTIVE)


def classify(people: Cast, table: str, *columns: str, **parts: Any) -> None:
    found = Column.objects.filter(table__database=people.shop, table__name=table, name__in=columns)
    usual = {"classification": "confidential", "mask": ""}
    classify_many(actor=fresh(people.dana), column_ids=[column.pk for column in found], **{**usual, **parts})


def table(people: Cast, name: str) -> int:
    return Table.objects.get(database=people.shop, name=name).pk


def pause(people: Cast, name: str = "orders") -> None:
    pause_table(actor=fresh(people.dana), table_id=table(people, name), reason="ids become bigint")


def test_issue_hands_the_masks_over_when_a_table_holds_masked_columns(people: Cast, shelf: Shelf) -> None:
    grant = live(people)

    spec = shelf.specs[grant.login]
    assert {str(view.table): dict(view.masks) for view in spec.scope.views}.keys() == set(BOTH)
    (customers, orders) = spec.scope.views
    assert [(column, str(mask)) for column, mask in customers.masks] == [("email", "email")]
    assert orders.masks == ()
    assert spec.known == frozenset()
    assert {f"{table}.{column}" for table, column in spec.classified} == {
        "sales.customers.email",
        "hr.employees.salary",
    }


def test_issue_shows_a_column_when_it_was_approved_unmasked(people: Cast, shelf: Shelf) -> None:
    grant = live(people, unmask=("sales.customers.email",))

    assert [view.masks for view in shelf.specs[grant.login].scope.views] == [(), ()]
    (issued,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.issued"))
    assert issued.facts["unmasked"] == ["sales.customers.email"]


def test_look_ends_what_shows_a_column_when_it_is_classified_by_now(people: Cast, shelf: Shelf) -> None:
    grant, other = live(people), live(people, tables=("stock.products",))
    watch = Watch()
    assert watch.look() == 0

    classify(people, "customers", "region", "id")

    assert watch.look() == 1
    now_in(grant, GrantStatus.ENDING)
    assert grant.end_cause == "masked"
    assert grant.end_reason == (
        "This shows more than is allowed by now: sales.customers.id is masked; sales.customers.region is masked. "
        "Ask again."
    )
    now_in(other, GrantStatus.ACTIVE)
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert told(grant)[-3:] == ["grant.withdrawn", "grant.ending", "grant.ended"]
    (withdrawn,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.withdrawn"))
    assert withdrawn.disclosed["reason"] == grant.end_reason
    assert withdrawn.facts["cause"] == "masked"
    assert "region" not in withdrawn.body.decode()


def test_look_ends_a_direct_table_when_its_schema_is_guarded_by_now(people: Cast, shelf: Shelf) -> None:
    grant = live(people, tables=("stock.levels",))
    assert shelf.specs[grant.login].scope.views == ()

    classify(people, "products", "price")
    Watch().look()

    assert now_in(grant, GrantStatus.ENDING).end_cause == "masked"
    assert "stock.levels lies beside masked columns" in grant.end_reason


def test_look_ends_a_direct_table_when_a_column_of_it_is_masked_by_now(people: Cast, shelf: Shelf) -> None:
    grant = live(people, tables=("stock.levels",))
    classify(people, "levels", "count")
    Watch().look()
    assert "stock.levels.count is masked" in now_in(grant, GrantStatus.ENDING).end_reason


def test_look_ends_what_shows_more_when_a_mask_is_stricter_by_now(people: Cast, shelf: Shelf) -> None:
    grant = live(people)
    save_data_class(actor=fresh(people.dana), name="email", mask="hidden")
    Watch().look()
    assert "sales.customers.email has the mask hidden, not email" in now_in(grant, GrantStatus.ENDING).end_reason


@pytest.mark.usefixtures("seconded")
def test_look_leaves_it_when_the_mask_shows_more_by_now(people: Cast, shelf: Shelf) -> None:
    save_data_class(actor=fresh(people.dana), name="email", mask="hidden")
    grant = live(people)
    save_data_class(actor=fresh(people.dana), name="email", mask="email")
    assert Watch().look() == 0
    now_in(grant, GrantStatus.ACTIVE)


def test_look_leaves_it_when_what_is_masked_by_now_was_approved_to_be_shown(people: Cast, shelf: Shelf) -> None:
    grant = live(people, unmask=("sales.customers.email",))
    save_data_class(actor=fresh(people.dana), name="email", mask="hidden")
    assert Watch().look() == 0
    now_in(grant, GrantStatus.ACTIVE)


@pytest.mark.usefixtures("seconded")
def test_look_leaves_it_when_a_column_is_declassified(people: Cast, shelf: Shelf) -> None:
    grant = live(people)
    classify(people, "customers", "email", classification="internal")
    assert Watch().look() == 0
    now_in(grant, GrantStatus.ACTIVE)


def test_look_ends_what_shows_all_rows_when_they_are_limited_by_now(people: Cast, shelf: Shelf) -> None:
    grants = [live(people), live(people, tables=("stock.products",))]
    for name, column in (("customers", "region"), ("products", "title")):
        add_filter(actor=fresh(people.dana), table_id=table(people, name), column=column, operator="=", values=["EU"])
    Watch().look()
    assert "rows of sales.customers are limited to region = 'EU'" in now_in(grants[0], GrantStatus.ENDING).end_reason
    assert "rows of stock.products are limited to title = 'EU'" in now_in(grants[1], GrantStatus.ENDING).end_reason


def test_look_ends_what_shows_unclassified_columns_when_they_are_hidden_by_now(people: Cast, shelf: Shelf) -> None:
    grant = live(people)
    Database.objects.filter(pk=people.shop.pk).update(hides_unclassified=True)
    Watch().look()
    assert now_in(grant, GrantStatus.ENDING).end_cause == "masked"


def test_look_ends_what_sees_a_table_when_it_is_paused(people: Cast, shelf: Shelf) -> None:
    grant, other = live(people), live(people, tables=("sales.customers",))
    watch = Watch()
    watch.look()

    pause(people)
    assert watch.look() == 1

    assert now_in(grant, GrantStatus.ENDING).end_cause == "paused"
    assert grant.end_reason == (
        "sales.orders is paused for a migration by Dana (ids become bigint). Ask again when that is over."
    )
    now_in(other, GrantStatus.ACTIVE)


@pytest.mark.parametrize("what", ["classified", "paused", "mask"])
def test_open_approved_refuses_with_a_sentence_when_the_catalog_allows_less_than_was_approved(
    people: Cast, shelf: Shelf, what: str
) -> None:
    request = approved(people)
    if what == "classified":
        classify(people, "customers", "region")
    elif what == "paused":
        pause(people)
    else:
        save_data_class(actor=fresh(people.dana), name="email", mask="hidden")

    assert services.open_approved() == []

    request.refresh_from_db()
    assert request.status == "denied"
    sentence = {"classified": "region is masked", "paused": "paused for a migration by Dana", "mask": "has the mask"}
    assert sentence[what] in request.closed_reason


def test_issue_fails_with_a_sentence_when_a_column_is_classified_after_it_was_queued(
    people: Cast, shelf: Shelf
) -> None:
    request = approved(people)
    (grant,) = services.open_approved()
    classify(people, "customers", "region")

    services.issue(grant_id=grant.pk)

    assert "sales.customers.region is masked" in now_in(grant, GrantStatus.FAILED).end_reason
    assert shelf.logins == {}
    assert grant.request == request


def test_look_ends_what_is_being_made_when_a_column_is_classified_meanwhile(people: Cast, shelf: Shelf) -> None:
    """Between the last look at the catalog and the login, by a worker who finds out when it comes to record."""
    approved(people)
    (grant,) = services.open_approved()
    before = shelf.open_login

    def classified_meanwhile(*arguments: Any) -> Any:
        opened = before(*arguments)
        classify(people, "customers", "region")
        assert Watch().look() == 1
        return opened

    shelf.open_login = classified_meanwhile  # type: ignore[method-assign]
    services.issue(grant_id=grant.pk)

    assert shelf.logins == {}
    services.end_due(server_id=grant.server_id)
    assert now_in(grant, GrantStatus.ENDED).end_cause == "masked"
    assert "grant.issued" not in told(grant)


def test_look_ends_each_once_when_two_clocks_look_at_once(people: Cast, shelf: Shelf) -> None:
    grants = [live(people) for _ in range(3)]
    classify(people, "customers", "region")

    results = at_once(Watch().look, Watch().look)

    assert sum(results) == 3
    for grant in grants:
        assert told(grant).count("grant.withdrawn") == 1


def test_look_goes_on_at_the_next_look_when_there_are_many(
    people: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawal, "_BATCH", 2)
    for _ in range(3):
        live(people)
    watch = Watch()
    pause(people)

    assert [watch.look() for _ in range(3)] == [2, 1, 0]


def test_look_finds_it_when_nobody_told_of_the_change(
    people: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(people)
    watch = Watch()
    watch.look()
    Column.objects.filter(table__database=people.shop, name="region").update(classification="restricted")
    assert watch.look() == 0

    monkeypatch.setattr(withdrawal, "_EVERY", 0.0)

    assert watch.look() == 1


def test_look_goes_on_with_others_when_the_rows_of_a_database_cannot_be_read(people: Cast, shelf: Shelf) -> None:
    """Whoever has taken over the web can write any row of the catalog; that must keep no other grant alive."""
    poisoned = [put_live(people.alice) for _ in range(2)]
    grants = [live(people), *poisoned]
    staging = Table.objects.get(database=people.staging, name="orders")
    StandingFilter.objects.create(table=staging, column="id", operator="~~", values=["1"], added_at=clock.now())
    for name in ("shop", "staging"):
        row = Table.objects.get(database=getattr(people, name), name="orders")
        pause_table(actor=fresh(people.dana), table_id=row.pk, reason="ids become bigint")

    assert Watch().look() == 1

    now_in(grants[0], GrantStatus.ENDING)
    StandingFilter.objects.all().delete()
    assert Watch().look() == 2


def test_open_approved_refuses_a_credential_when_functions_notify_by_now(people: Cast, shelf: Shelf) -> None:
    request = approved(people)
    seen = {"kind": "notifies", "sentence": "s", "count": 1, "objects": ["sales.tell()"], "fix": ""}
    Database.objects.filter(pk=people.shop.pk).update(exposure=[seen])

    assert services.open_approved() == []

    request.refresh_from_db()
    assert "sales.tell()" in request.closed_reason


def test_open_approved_goes_on_with_others_when_one_cannot_be_read(people: Cast, shelf: Shelf) -> None:
    policy_approved(people.alice)
    staging = Table.objects.get(database=people.staging, name="orders")
    StandingFilter.objects.create(table=staging, column="id", operator="~~", values=["1"], added_at=clock.now())
    request = approved(people)

    (grant,) = services.open_approved()

    assert grant.request == request


def test_look_asks_nothing_but_what_has_changed_when_nothing_has(
    people: Cast, shelf: Shelf, django_assert_num_queries: Any
) -> None:
    live(people)
    watch = Watch()
    watch.look()
    with django_assert_num_queries(1):
        watch.look()


def test_rounds_ask_for_the_end_at_once_when_a_table_is_paused(people: Cast, shelf: Shelf) -> None:
    grant = live(people)
    ticking = Rounds()
    ticking.look()

    pause(people)
    ticking.look()

    assert asked_for(Task.END) == [(grant.server_id,)]


def test_open_approved_goes_on_when_the_table_is_resumed(people: Cast, shelf: Shelf) -> None:
    request = approved(people)
    pause(people)
    resume_table(actor=fresh(people.dana), table_id=table(people, "orders"))

    (grant,) = services.open_approved()

    assert grant.request == request
