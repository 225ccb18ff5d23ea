"""A superuser lets somebody in past the portal, or hides a login from it: found within a minute, told, taken away.

`strange` is made a member of a scope role by hand. `kept_by_hand` was bob's login: renamed, without its mark, for ever.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from apps.audit import services as audit
from apps.catalog.models import Server
from apps.catalog.targets import target_for
from apps.core import clock
from apps.engines.base import Expelled, TargetUnavailable
from apps.engines.postgresql import PostgresEngine
from apps.grants import continuity, services
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from apps.notifications import services as notifications
from apps.notifications.models import Cursor, Notification
from tests.factories import Cast
from tests.grants.odd_engine import OddEngine, put_in
from tests.grants.stage import active, connected, now_in, told
from tests.support.people import signed_in
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

ROLES = ("strange", "kept_by_hand")


@pytest.fixture(autouse=True)
def clean(target: TargetServer) -> Iterator[None]:
    continuity.memory.forget()
    yield
    continuity.memory.forget()
    for role in ROLES:
        by_hand(target, f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def server(people: Cast) -> Server:
    server = Server.objects.get(pk=people.shop.server_id)
    services.reconcile(server_id=server.pk)
    ServerState.objects.all().delete()
    Cursor.objects.create(pk=1, next_index=audit.head().size)
    return server


def by_hand(target: TargetServer, *statements: str) -> None:
    """As a superuser with psql."""
    with target.admin() as admin:
        for statement in statements:
            admin.execute(statement)


def let_in(target: TargetServer, grant: Grant, by: str = "") -> None:
    granting = f"GRANT {grant.scope_role} TO strange" + (f" GRANTED BY {by}" if by else "")
    by_hand(target, "CREATE ROLE strange LOGIN PASSWORD 'x'", granting)


def hide(target: TargetServer, grant: Grant) -> None:
    by_hand(
        target,
        f"COMMENT ON ROLE {grant.login} IS NULL",
        f"ALTER ROLE {grant.login} RENAME TO kept_by_hand",
        "ALTER ROLE kept_by_hand VALID UNTIL 'infinity'",
    )


def has_rights(target: TargetServer, role: str) -> bool:
    """Of any scope: it holds none itself."""
    with target.admin() as admin:
        row = admin.execute(
            "SELECT bool_or(pg_has_role(%s, oid, 'USAGE')) FROM pg_roles WHERE starts_with(rolname, 'jitscope_')",
            [role],
        ).fetchone()
    return bool(row and row[0])


def entries(server: Server) -> list[tuple[Any, ...]]:
    """Of strays since the test began: what it is about, whether it is gone, and what is said."""
    since = Cursor.objects.get().next_index
    where = audit.Filter(subjects=(server.audit_id,), action="login.stray")
    found = [line for line in audit.entries(limit=1000, where=where) if line.index >= since]
    return [
        (line.disclosed["login"], line.facts["member_of"], line.facts["removed"], line.disclosed.get("why", ""))
        for line in found
    ]


def listed(server: Server) -> list[tuple[str, bool, bool]]:
    strays = ServerState.objects.get(server=server).strays
    return [(stray["role"], stray["told"], stray["gone"]) for stray in strays]


def told_to(username: str) -> list[str]:
    before = Cursor.objects.get().next_index
    notifications.fold()
    Cursor.objects.update(next_index=before)
    rows = Notification.objects.filter(user__username=username, kind="stray").order_by("pk")
    return list(rows.values_list("text", flat=True))


def test_reconcile_takes_rights_away_when_a_login_was_hidden(
    people: Cast, server: Server, target: TargetServer
) -> None:
    hidden, lives = active(people.bob), active(people.alice)
    for _ in range(2):
        services.reconcile(server_id=server.pk)
    hide(target, hidden)
    assert has_rights(target, "kept_by_hand")

    for _ in range(3):
        services.reconcile(server_id=server.pk)

    assert not has_rights(target, "kept_by_hand")
    (found, gone) = entries(server)
    assert found[:3] == ("kept_by_hand", hidden.scope_role, False)
    assert "It may be one of its logins, renamed and with its comment removed" in found[3]
    assert gone == ("kept_by_hand", hidden.scope_role, True, "")
    assert listed(server) == [("kept_by_hand", True, True)]
    (text,) = told_to("dana")
    assert "“kept_by_hand” has the rights of" in text
    assert told_to("alice") == []
    assert now_in(hidden, GrantStatus.ENDING).end_cause == "vanished"
    services.end_due(server_id=server.pk)
    now_in(hidden, GrantStatus.ENDED)
    with connected(lives) as session:
        session.execute("SELECT FROM orders")


def test_end_waits_when_a_login_was_hidden_before_it(people: Cast, server: Server, target: TargetServer) -> None:
    hidden, lives = active(people.bob), active(people.alice)
    hide(target, hidden)
    services.release(actor=people.bob, grant_id=hidden.pk)
    services.end_due(server_id=server.pk)

    assert "“kept_by_hand” may be it" in now_in(hidden, GrantStatus.ENDING).problem
    assert "grant.ended" not in told(hidden)

    services.reconcile(server_id=server.pk)
    with clock.shifted(timedelta(seconds=20)):
        services.end_due(server_id=server.pk)
    assert now_in(hidden, GrantStatus.ENDED).end_cause == "released"
    assert not has_rights(target, "kept_by_hand")
    with connected(lives):
        pass


def test_reconcile_says_so_when_rights_were_given_by_a_superuser(
    people: Cast, server: Server, target: TargetServer
) -> None:
    """From PostgreSQL 16 on nobody but a superuser can take them away: told once, until that has happened."""
    grant = active(people.bob)
    services.reconcile(server_id=server.pk)
    let_in(target, grant)

    for _ in range(3):
        services.reconcile(server_id=server.pk)

    (found, still) = entries(server)
    assert found[:3] == still[:3] == ("strange", grant.scope_role, False)
    assert "“strange” is no login of the portal's" in found[3]
    fix = still[3].partition("take them away: ")[2]
    assert fix.startswith(f'REVOKE "{grant.scope_role}" FROM "strange" GRANTED BY')
    assert listed(server) == [("strange", True, False)]
    (first, second) = told_to("dana")
    assert "“strange” is no login" in first
    assert "REVOKE" in second
    page = signed_in(people.dana).get(f"/admin/catalog/server/{server.pk}/change/").content.decode()
    assert "REVOKE &quot;jitscope_" in page
    assert "REVOKE &quot;jitscope_" in signed_in(people.dana).get("/admin/").content.decode()
    now_in(grant, GrantStatus.ACTIVE)

    by_hand(target, fix)
    for _ in range(2):
        services.reconcile(server_id=server.pk)
    assert entries(server)[2:] == [("strange", grant.scope_role, True, "")]
    assert listed(server) == [("strange", True, True)]


def test_reconcile_tells_again_when_a_stranger_comes_back(people: Cast, server: Server, target: TargetServer) -> None:
    grant = active(people.bob)
    let_in(target, grant, by="jitportal")
    services.reconcile(server_id=server.pk)
    assert not has_rights(target, "strange")
    by_hand(target, f"GRANT {grant.scope_role} TO strange GRANTED BY jitportal")
    services.reconcile(server_id=server.pk)
    assert [removed for _, _, removed, _ in entries(server)] == [False, True] * 2
    assert listed(server) == [("strange", True, True)]


def test_reconcile_tells_what_is_in_the_way_when_the_server_is_lost_meanwhile(
    people: Cast, server: Server, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = active(people.bob)
    let_in(target, grant, by="jitportal")

    class Lost(OddEngine):
        def expel(self, target: Any, members: Any) -> list[Expelled]:
            raise TargetUnavailable("The connection was lost.")

    with monkeypatch.context() as patched:
        put_in(patched, Lost())
        services.reconcile(server_id=server.pk)
    assert "could not be taken away: The connection was lost." in entries(server)[-1][3]
    services.reconcile(server_id=server.pk)
    assert entries(server)[-1][2] is True


def test_reconcile_only_lists_a_stranger_when_the_portal_only_looks(
    people: Cast, server: Server, target: TargetServer
) -> None:
    grant = active(people.bob)
    let_in(target, grant, by="jitportal")
    PostgresEngine().remember(target_for(server), f"record={audit.head().size + 1000}:0123456789abcdef")
    continuity.memory.forget()
    try:
        for _ in range(2):
            services.reconcile(server_id=server.pk)
        assert listed(server) == [("strange", False, False)]
        assert has_rights(target, "strange")
        assert entries(server) == []
    finally:
        target.forget_the_record()
