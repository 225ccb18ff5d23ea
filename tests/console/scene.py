"""Live grants for the console, and what is said about what ran."""

from collections.abc import Iterable
from typing import Any

from apps.accounts.models import User
from apps.approvals.services import approve
from apps.audit import services as audit
from apps.audit.trail import Line
from apps.console.events import Columns, Done, Event, Failed, Rows
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from tests.factories import Cast, fresh
from tests.grants.stage import now_in

_USUAL: dict[str, Any] = {
    "database": "shop",
    "level": "query",
    "tables": ("sales.orders", "sales.order_lines", "sales.customers"),
    "connection": "console",
    "minutes": 30,
    "reason": "Order 4711 is charged twice.",
}


def request(people: Cast, **parts: Any) -> AccessRequest:
    """Approved by everybody who is asked."""
    row = submit(actor=fresh(people.alice), ask=Ask(**{**_USUAL, **parts}))
    for person in (people.bob, people.dana, people.sam):
        row.refresh_from_db()
        if row.status == "pending":
            approve(actor=fresh(person), request_id=row.pk)
    row.refresh_from_db()
    assert row.status == "approved", row.closed_reason
    return row


def live(people: Cast, **parts: Any) -> Grant:
    row = request(people, **parts)
    grants.open_approved()
    grant = Grant.objects.get(request=row)
    grants.issue(grant_id=grant.pk)
    return now_in(grant, "active")


def rows(events: Iterable[Event]) -> list[tuple[str | None, ...]]:
    """All rows, of a run that went well."""
    found: list[tuple[str | None, ...]] = []
    for event in events:
        assert not isinstance(event, Failed), event
        if isinstance(event, Rows):
            found += event.rows
    return found


def names(events: Iterable[Event]) -> list[str]:
    return [event.event for event in events]


def failed(events: Iterable[Event]) -> Failed:
    (found,) = [event for event in events if isinstance(event, Failed)]
    return found


def done(events: Iterable[Event]) -> Done:
    return [event for event in events if isinstance(event, Done)][-1]


def columns(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [(column.name, column.type) for event in events if isinstance(event, Columns) for column in event.columns]


def entries(grant: Grant, prefix: str = "") -> list[Line]:
    where = audit.Filter(subjects=(grant.audit_id,), action=prefix)
    return list(audit.entries(limit=1000, where=where))


def address_of(user: User) -> str:
    return f"192.0.2.{len(user.username)}"
