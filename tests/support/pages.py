"""Requests and forms for the tests of pages; grants are rows here, their life on a target is tested elsewhere."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.accounts.models import User
from apps.approvals import services as approvals
from apps.catalog.models import Column, Database, Table
from apps.core import sealed
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from tests.factories import Cast, DatabaseFactory, let_ask, let_own

PASSWORD = "Correct-Horse_Battery.Staple"


def ask(user: User, **changes: Any) -> AccessRequest:
    """A request; for production unless said otherwise, so that it waits for a peer and an owner."""
    wanted: dict[str, Any] = {
        "database": "shop",
        "level": "query",
        "tables": ("sales.orders", "stock.products"),
        "connection": "direct",
        "minutes": 60,
        "reason": "Two reports differ",
        **changes,
    }
    return requests.submit(actor=user, ask=requests.Ask(**wanted))


def fields(**changes: Any) -> dict[str, Any]:
    """The form of the same request, as a browser sends it."""
    return {
        "do": "submit",
        "database": "shop",
        "level": "query",
        "tables": "sales.orders\nstock.products",
        "connection": "direct",
        "minutes": "60",
        "starts_at": "",
        "reason": "Two reports differ",
        "ticket": "",
        **changes,
    }


def approve(people: Cast, row: AccessRequest) -> None:
    """Both steps of production."""
    approvals.approve(actor=people.bob, request_id=row.pk)
    approvals.approve(actor=people.dana, request_id=row.pk)


def live(people: Cast, row: AccessRequest, minutes: int = 30) -> Grant:
    """The grant of an approved request, as a worker leaves it."""
    grants.open_approved()
    grant = Grant.objects.get(request=row)
    grant.status = "active"
    grant.starts_at, grant.expires_at = timezone.now(), timezone.now() + timedelta(minutes=minutes)
    grant.password = sealed.encrypt(
        PASSWORD, ring=settings.GRANT_PASSWORD_RING, bound_to=f"grant:{grant.pk}:{grant.login}"
    )
    grant.evidence = {
        "checked_at": timezone.now().isoformat(),
        "reach": [{"object": "table sales.orders", "privileges": ["SELECT"], "via": grant.scope_role}],
        "findings": [],
    }
    grant.save()
    return grant


def many_tables(people: Cast, number: int) -> Database:
    """A database with as many tables, three columns each, one table in nine classified."""
    database = DatabaseFactory(slug="warehouse", server=people.shop.server, environment="development")
    let_ask(database, people.shop_team)
    let_own(database, people.dba)
    now = timezone.now()
    tables = Table.objects.bulk_create(
        Table(database=database, schema=f"area_{n % 12:02}", name=f"history_{n:05}", kind="table", first_seen_at=now)
        for n in range(number)
    )
    Column.objects.bulk_create(
        Column(
            table=table,
            name=name,
            type="text",
            position=position,
            first_seen_at=now,
            classification="confidential" if name == "email" and number % 9 == 0 else "",
        )
        for number, table in enumerate(tables)
        for position, name in enumerate(("id", "email", "at"))
    )
    return database
