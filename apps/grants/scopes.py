"""Scope roles are shared: one is dropped when the last grant that needed it is over."""

from typing import NamedTuple

from django.db.models import Count, Q

from apps.catalog.models import Server
from apps.core import clock
from apps.grants import circuit, leases
from apps.grants.models import Grant
from apps.grants.states import LIVE


class Unused(NamedTuple):
    """A scope role that no live grant needs."""

    server: str
    role: str
    datname: str


def unused() -> list[Unused]:
    """Of all servers."""
    rows = Grant.objects.exclude(scope_role="").filter(scope_gone_at=None).order_by()
    counted = rows.values_list("server", "scope_role", "database__datname").annotate(
        needed_by=Count("pk", filter=Q(status__in=LIVE))
    )
    return [Unused(server, role, datname) for server, role, datname, _ in counted.filter(needed_by=0)]


def drop_unused_scopes(*, server_id: str) -> None:
    """Under the server's lease, so that no grant is being made on top of a role that goes."""
    with leases.server_lease(server_id) as token:
        if token is None:
            return
        pairs = [(row.role, row.datname) for row in unused() if row.server == server_id]
        if not pairs:
            return
        with circuit.through(Server.objects.get(pk=server_id)) as (engine, target):
            gone = engine.drop_scopes(target, pairs)
        over = Grant.objects.filter(server=server_id, scope_role__in=gone).exclude(status__in=LIVE)
        over.update(scope_gone_at=clock.now())
