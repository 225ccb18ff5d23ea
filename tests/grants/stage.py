"""Ways to get to a grant in a given state, by the same verbs as in life."""

from datetime import timedelta
from typing import Any

import psycopg

from apps.accounts.models import User
from apps.approvals.services import approve
from apps.audit import services as audit
from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from tests.factories import Cast, fresh

_USUAL: dict[str, Any] = {
    "database": "shop-staging",
    "level": "query",
    "tables": ("sales.orders", "sales.order_lines"),
    "connection": "direct",
    "minutes": 60,
    "reason": "Order 4711 is charged twice.",
}


def approved(actor: User, **parts: Any) -> AccessRequest:
    """A request that the policy approves at once, unless `parts` say otherwise."""
    request = submit(actor=fresh(actor), ask=Ask(**{**_USUAL, **parts}))
    assert request.status == "approved"
    return request


def approved_by_people(people: Cast, **parts: Any) -> AccessRequest:
    """Production: bob as a peer, then dana as the owner."""
    request = submit(actor=fresh(people.alice), ask=Ask(**{**_USUAL, "database": "shop", **parts}))
    approve(actor=fresh(people.bob), request_id=request.pk)
    return approve(actor=fresh(people.dana), request_id=request.pk)


def queued(actor: User, **parts: Any) -> Grant:
    request = approved(actor, **parts)
    services.open_approved()
    return Grant.objects.get(request=request)


def active(actor: User, **parts: Any) -> Grant:
    grant = queued(actor, **parts)
    services.issue(grant_id=grant.pk)
    return now_in(grant, GrantStatus.ACTIVE)


def now_in(grant: Grant, *states: str) -> Grant:
    """The grant as it is now; says why where it is not in one of `states`."""
    grant.refresh_from_db()
    assert grant.status in states, f"{grant.status}: {grant.problem or grant.end_reason}"
    return grant


def connected(grant: Grant) -> psycopg.Connection[Any]:
    """The holder's own client, with the credential that the portal shows."""
    url = services.credential(actor=grant.holder, grant_id=grant.pk).url
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def until_next(width: timedelta) -> timedelta:
    """From now until a span of `width` begins: looks that follow are in one span, however slow they are."""
    return width - timedelta(seconds=clock.now().timestamp() % width.total_seconds())


def after(grant: Grant) -> timedelta:
    """From now until just after the grant's end."""
    return timedelta(minutes=grant.minutes, seconds=1)


def told(grant: Grant) -> list[str]:
    """The actions that the record has of this grant, oldest first."""
    return [line.action for line in audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,)))]
