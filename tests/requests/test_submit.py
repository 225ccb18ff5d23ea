from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Database, Server, StandingFilter, Table
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.policies.models import PolicyVersion
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, Refused, preview, submit
from tests.factories import Cast, TableFactory, leave, let_own

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]


def recorded(subject: str) -> list[audit.Line]:
    return audit.entries(limit=1000, where=audit.Filter(subjects=(subject,)))


def test_submit_waits_for_people_when_production_is_asked_for(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    request.refresh_from_db()
    assert (request.status, request.requester, request.database) == ("pending", people.alice, people.shop)
    assert [step["kind"] for step in request.verdict["steps"]] == ["peer", "owner"]
    assert request.facts["eligible"]["peer"] == [people.bob.pk]
    assert request.scope == request.asked_scope
    assert request.scope_digest == request.effective.digest()
    assert request.policy_version == 1
    assert request.lapses_at - request.submitted_at == timedelta(hours=72)


def test_submit_is_recorded_with_texts_aside_when_it_waits(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    (entry,) = recorded(request.audit_id)
    assert (entry.action, entry.actor) == (Action.REQUEST_SUBMITTED, people.alice.audit_id)
    assert entry.facts["tables"] == ["sales.order_lines", "sales.orders"]
    assert entry.facts["digest"] == request.scope_digest
    assert (entry.facts["rule"], entry.facts["version"], entry.facts["outcome"]) == ("production: read", 1, "route")
    assert entry.disclosed == {"person": "Alice", "reason": "Order 4711 is charged twice.", "ticket": "OPS-1"}
    assert b"4711" not in entry.body
    assert b"Alice" not in entry.body


def test_submit_approves_at_once_when_staging_is_read(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(database="shop-staging", minutes=1))

    request.refresh_from_db()
    assert request.status == "approved"
    entries = recorded(request.audit_id)
    assert [(entry.action, entry.actor) for entry in entries] == [
        (Action.REQUEST_SUBMITTED, people.alice.audit_id),
        (Action.REQUEST_APPROVED, "policy"),
    ]
    assert entries[1].facts["digest"] == request.scope_digest


def test_submit_denies_with_the_cap_when_more_than_a_working_day_is_asked_for(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(minutes=481))

    request.refresh_from_db()
    assert request.status == "denied"
    assert "8 hours" in request.closed_reason
    assert request.closed_at is not None
    assert [entry.action for entry in recorded(request.audit_id)] == [Action.REQUEST_SUBMITTED, Action.REQUEST_DENIED]


def test_submit_asks_the_strictest_people_when_there_is_no_policy(people: Cast, ask: AskFor) -> None:
    PolicyVersion.objects.all().delete()

    request = submit(actor=people.alice, ask=ask(database="shop-staging"))

    assert request.status == "pending"
    assert [step["kind"] for step in request.verdict["steps"]] == ["peer", "owner", "group"]


def test_submit_goes_to_security_when_nobody_is_a_peer(people: Cast, ask: AskFor) -> None:
    """Field notes A6: it is said when it is submitted."""
    request = submit(actor=people.carol, ask=ask())

    assert [step["group"] for step in request.verdict["steps"]] == ["security", None]
    assert any("goes to security" in reason for reason in request.verdict["reasons"])


def test_submit_uses_the_rules_of_now_when_they_changed_after_the_preview(people: Cast, ask: AskFor) -> None:
    seen = preview(actor=people.alice, ask=ask(database="shop-staging"))
    newest = PolicyVersion.objects.get()
    PolicyVersion.objects.create(number=2, rules=[newest.rules[-1]], created_at=clock.now(), author="operator")

    request = submit(actor=people.alice, ask=ask(database="shop-staging"))

    assert seen.verdict.outcome == "approve"
    assert (request.status, request.policy_version) == ("pending", 2)


def test_submit_freezes_tables_when_a_wildcard_is_asked_for(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(tables=("stock.*", "sales.orders")))
    TableFactory(database=people.shop, schema="stock", name="added_later")

    request.refresh_from_db()
    assert request.scope["tables"] == [["sales", "orders"], ["stock", "levels"], ["stock", "products"]]
    assert request.facts["whole_schemas"] == ["stock"]


def test_submit_takes_names_exactly_when_they_are_odd(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(tables=('"Odd.Name"."T"',)))

    assert request.scope["tables"] == [["Odd.Name", "T"]]


def test_submit_counts_tables_in_the_record_when_they_are_many(people: Cast, ask: AskFor) -> None:
    Table.objects.bulk_create(
        Table(database=people.shop, schema="wide", name=f"{'é' * 30}{n}", kind="table", first_seen_at=clock.now())
        for n in range(1000)
    )

    request = submit(actor=people.alice, ask=ask(tables=("wide.*",)))

    facts = recorded(request.audit_id)[0].facts
    assert facts["table_count"] == 1000
    assert "tables" not in facts


def test_submit_keeps_the_start_when_it_is_scheduled(people: Cast, ask: AskFor) -> None:
    start = clock.now() + timedelta(days=2)

    request = submit(actor=people.alice, ask=ask(starts_at=start))

    request.refresh_from_db()
    assert request.starts_at == start
    assert request.scope["starts_at"].endswith("Z")


FRAGMENT = "x'; DROP TABLE accounts_user; --"


@pytest.mark.parametrize("parts", [{"reason": FRAGMENT, "ticket": FRAGMENT}, {"reason": "é" * 2000}])
def test_submit_keeps_text_as_it_is_when_it_looks_like_sql(people: Cast, ask: AskFor, parts: dict[str, Any]) -> None:
    request = submit(actor=people.alice, ask=ask(**parts))

    request.refresh_from_db()
    assert request.reason == parts["reason"]
    assert User.objects.filter(username="alice").exists()


def test_submit_refuses_a_start_when_it_is_later_than_a_month(people: Cast, ask: AskFor) -> None:
    with pytest.raises(Invalid) as refusal:
        submit(actor=people.alice, ask=ask(starts_at=clock.now() + timedelta(days=30, minutes=1)))
    assert refusal.value.field == "starts_at"


def test_submit_takes_a_start_when_it_is_seconds_ago(people: Cast, ask: AskFor) -> None:
    assert submit(actor=people.alice, ask=ask(starts_at=clock.now() - timedelta(seconds=30))).status == "pending"


@pytest.mark.parametrize("slug", ["no-such-database", "hidden", FRAGMENT])
def test_submit_is_not_found_when_the_database_is_not_there_or_not_visible(
    people: Cast, ask: AskFor, slug: str
) -> None:
    Database.objects.create(slug="hidden", server=people.shop.server, datname="h", environment="staging")

    with pytest.raises(NotFound) as refusal:
        submit(actor=people.alice, ask=ask(database=slug))
    assert refusal.value.sentence == "There is no such database, or you may not ask for access to it."


def test_submit_is_not_found_when_a_superuser_has_no_right(people: Cast, ask: AskFor) -> None:
    people.audrey.is_superuser = True
    people.audrey.save()

    with pytest.raises(NotFound):
        submit(actor=people.audrey, ask=ask())


def test_submit_is_refused_and_recorded_when_a_table_is_paused(people: Cast, ask: AskFor) -> None:
    paused = {"paused_at": clock.now(), "paused_by": people.dana, "pause_reason": "new column"}
    Table.objects.filter(database=people.shop, name="customers").update(**paused)

    with pytest.raises(Refused) as refusal:
        submit(actor=people.alice, ask=ask(tables=("sales.*",)))

    assert refusal.value.field == "tables"
    assert "sales.customers is not given at present: Dana paused it at 20" in refusal.value.sentence
    assert "(new column)" in refusal.value.sentence
    (entry,) = recorded(f"database:{people.shop.pk}")
    assert (entry.action, entry.actor) == (Action.REQUEST_REFUSED, people.alice.audit_id)
    assert entry.disclosed == {"person": "Alice", "why": refusal.value.sentence}
    assert not AccessRequest.objects.exists()


def test_preview_is_not_recorded_when_it_is_refused(people: Cast, ask: AskFor) -> None:
    Table.objects.filter(database=people.shop, name="customers").update(paused_at=clock.now())
    before = audit.head().size

    with pytest.raises(Refused):
        preview(actor=people.alice, ask=ask(tables=("sales.customers",)))
    assert audit.head().size == before


def test_submit_writes_no_record_when_it_is_a_slip(people: Cast, ask: AskFor) -> None:
    before = audit.head().size

    with pytest.raises(Invalid):
        submit(actor=people.alice, ask=ask(tables=("sales.ordres",)))
    assert audit.head().size == before


def test_submit_refuses_when_a_table_is_gone(people: Cast, ask: AskFor) -> None:
    Table.objects.filter(database=people.shop, name="orders").update(gone_at=clock.now())

    with pytest.raises(Invalid) as refusal:
        submit(actor=people.alice, ask=ask())
    assert "gone" in refusal.value.sentence


def test_submit_refuses_when_the_table_is_of_another_database(people: Cast, ask: AskFor) -> None:
    TableFactory(database=people.staging, schema="only", name="here")

    with pytest.raises(Invalid) as refusal:
        submit(actor=people.alice, ask=ask(tables=("only.here",)))
    assert refusal.value.field == "tables"


def test_submit_refuses_when_the_catalog_was_never_read(people: Cast, ask: AskFor) -> None:
    Database.objects.update(synced_at=None)

    with pytest.raises(Refused, match="have not been read yet"):
        submit(actor=people.alice, ask=ask())


def test_submit_refuses_when_the_server_has_an_error(people: Cast, ask: AskFor) -> None:
    findings = [
        {"severity": "warning", "sentence": "Old.", "fix": ""},
        {"severity": "error", "sentence": "The manager cannot create roles.", "fix": ""},
    ]
    Server.objects.update(findings=findings)

    with pytest.raises(Refused, match="The manager cannot create roles"):
        submit(actor=people.alice, ask=ask())


@pytest.mark.parametrize("what", ["database", "server"])
def test_submit_refuses_when_the_database_is_switched_off(people: Cast, ask: AskFor, what: str) -> None:
    let_own(people.shop, people.alice)
    (Database if what == "database" else Server).objects.update(is_active=False)

    with pytest.raises(Refused, match="switched off"):
        submit(actor=people.alice, ask=ask())


def test_submit_is_not_allowed_and_recorded_when_an_owner_may_not_ask(people: Cast, ask: AskFor) -> None:
    with pytest.raises(NotAllowed):
        submit(actor=people.dana, ask=ask())

    assert recorded(f"database:{people.shop.pk}")[0].action == Action.REQUEST_REFUSED


def test_submit_is_not_allowed_when_the_account_was_closed_meanwhile(people: Cast, ask: AskFor) -> None:
    """Field notes A5: the object in the session still says that they are active."""
    User.objects.filter(pk=people.alice.pk).update(is_active=False)

    with pytest.raises(NotAllowed):
        submit(actor=people.alice, ask=ask())
    assert not AccessRequest.objects.exists()


def test_submit_is_not_found_when_the_group_was_left_meanwhile(people: Cast, ask: AskFor) -> None:
    leave(people.alice, people.shop_team)

    with pytest.raises(NotFound):
        submit(actor=people.alice, ask=ask())


def test_submit_returns_the_first_request_when_the_key_is_sent_again(people: Cast, ask: AskFor) -> None:
    first = submit(actor=people.alice, ask=ask(), idempotency_key="k1")
    again = submit(actor=people.alice, ask=ask(), idempotency_key="k1")

    assert again == first
    assert len(recorded(first.audit_id)) == 1


def test_submit_conflicts_when_the_key_is_sent_with_another_body(people: Cast, ask: AskFor) -> None:
    submit(actor=people.alice, ask=ask(), idempotency_key="k1")

    with pytest.raises(Conflict, match="Idempotency-Key"):
        submit(actor=people.alice, ask=ask(minutes=61), idempotency_key="k1")


def test_submit_makes_two_requests_when_two_people_use_one_key(people: Cast, ask: AskFor) -> None:
    first = submit(actor=people.alice, ask=ask(), idempotency_key="k1")

    assert submit(actor=people.bob, ask=ask(), idempotency_key="k1") != first


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "nul\0", "\ud800"])
def test_submit_names_the_key_when_it_cannot_be_one(people: Cast, ask: AskFor, key: str) -> None:
    with pytest.raises(Invalid) as refusal:
        submit(actor=people.alice, ask=ask(), idempotency_key=key)
    assert refusal.value.field == "idempotency_key"


def test_preview_says_the_route_when_production_is_asked_for(people: Cast, ask: AskFor) -> None:
    seen = preview(actor=people.alice, ask=ask())

    assert seen.route == [
        {"kind": "peer", "group": None, "needed": 1, "eligible": 1},
        {"kind": "owner", "group": None, "needed": 1, "eligible": 1},
    ]
    assert seen.verdict.risk.level == "medium"
    assert not AccessRequest.objects.exists()


def test_preview_sees_what_submit_stores_when_nothing_changed(people: Cast, ask: AskFor) -> None:
    seen = preview(actor=people.alice, ask=ask())
    request = submit(actor=people.alice, ask=ask())
    request.refresh_from_db()

    assert request.effective == seen.scope
    assert request.verdict["reasons"] == list(seen.verdict.reasons)
    assert request.facts["tables"] == seen.facts.tables


def test_preview_needs_few_queries_when_the_catalog_is_large(
    people: Cast, ask: AskFor, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    Table.objects.bulk_create(
        Table(database=people.shop, schema="wide", name=f"t{n}", kind="table", first_seen_at=clock.now())
        for n in range(2000)
    )

    with django_assert_max_num_queries(20):
        preview(actor=people.alice, ask=ask(tables=("wide.*", "sales.orders")))
    # At its dearest: masked, unmasked, limited, to be changed.
    table = Table.objects.get(database=people.shop, schema="stock", name="levels")
    StandingFilter.objects.create(table=table, column="count", operator=">", values=["0"], added_at=clock.now())
    with django_assert_max_num_queries(22):
        everything = ("wide.*", "sales.*", "hr.*")
        preview(actor=people.alice, ask=ask(tables=everything, unmask=("sales.customers.email",), level="change"))


def test_submit_is_refused_when_too_many_requests_of_one_person_wait(
    people: Cast, ask: Callable[..., Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.requests.services.MAX_WAITING", 1)
    submit(actor=people.alice, ask=ask(database="shop"))
    with pytest.raises(Refused, match="waiting already"):
        submit(actor=people.alice, ask=ask(database="shop"))
