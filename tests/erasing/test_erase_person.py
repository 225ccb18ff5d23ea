"""Whoever has left is erased everywhere but in the chain, which still verifies."""

from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from apps.accounts.models import User
from apps.accounts.services import deactivate, reactivate
from apps.approvals.services import approve, deny
from apps.audit import services as audit
from apps.audit.trail import trail_csv
from apps.console import services as console
from apps.core.errors import Conflict, Invalid, NotFound
from apps.erasing.services import erase_person
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.grants.unentitled import end_unentitled
from apps.notifications.services import fold
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from tests.console.scene import live
from tests.factories import Cast, fresh
from tests.grants.stage import now_in
from tests.support.portal import PortalDatabase

# What must not be found anywhere afterwards: who they are, and what they and others wrote about their access.
WRITTEN = ("Alice", "alice", "Order 4711 of Mrs Miller", "OPS-4711", "Please be quick, Al", "4711.0815", "192.0.2.77")
WHY = "Asked for under article 17."

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@pytest.fixture
def start(transactional_db: None) -> int:
    """The record only grows: what other tests have told is not looked at."""
    return audit.head().size


def a_life(people: Cast) -> Grant:
    """Asked for, approved with a comment, used, given back, and gone; then they leave."""
    ask = Ask(
        database="shop",
        level="query",
        tables=("sales.orders",),
        connection="console",
        minutes=30,
        reason="Order 4711 of Mrs Miller is charged twice.",
        ticket="OPS-4711",
    )
    request = submit(actor=fresh(people.alice), ask=ask)
    for person in (people.bob, people.dana):
        request.refresh_from_db()
        if request.status == "pending":
            approve(actor=fresh(person), request_id=request.pk, comment="Please be quick, Al.")
    grants.open_approved()
    grant = Grant.objects.get(request=request)
    grants.issue(grant_id=grant.pk)
    list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 4711.0815", address="192.0.2.77"))
    grants.release(actor=people.alice, grant_id=grant.pk, reason="Done with Order 4711 of Mrs Miller.")
    grants.end_due(server_id=grant.server_id)
    refused = submit(actor=fresh(people.alice), ask=ask)
    deny(actor=fresh(people.bob), request_id=refused.pk, comment="Please be quick, Al.")
    fold()
    return now_in(grant, "ended")


def leave(people: Cast) -> None:
    deactivate(actor=people.dana, user=people.alice, reason="Alice has left.")
    end_unentitled()


def found(portal: PortalDatabase, start: int) -> list[str]:
    """Rows of the whole database, as text, in which something is still said."""
    left = []
    with portal.superuser() as superuser:
        tables = superuser.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'audit')"
        ).fetchall()
        for schema, table in tables:
            for (row,) in superuser.execute(_whole(schema, table, start)).fetchall():
                left += [f"{schema}.{table}: {row}" for word in WRITTEN if word in row]
    return left


def _whole(schema: str, table: str, start: int) -> psycopg.sql.Composed:
    name = psycopg.sql.Identifier(schema, table)
    if (schema, table) == ("audit", "entry"):
        text = (
            "SELECT convert_from(e.body, 'UTF8') FROM {} e JOIN audit.seal s ON s.entry_id = e.id WHERE s.index >= {}"
        )
    elif (schema, table) == ("audit", "disclosure"):
        text = "SELECT d.value FROM {} d JOIN audit.seal s USING (entry_id) WHERE s.index >= {}"
    elif (schema, table) == ("audit", "seal"):
        text = "SELECT t::text FROM {} t WHERE index >= {}"
    else:
        text = "SELECT t::text FROM {} t WHERE {} >= 0"
    return psycopg.sql.SQL(text).format(name, start)


def test_erase_person_when_they_have_left(people: Cast, portal_database: PortalDatabase, start: int) -> None:
    grant = a_life(people)
    leave(people)
    assert found(portal_database, start)

    done = erase_person(username="alice", reason=WHY, confirmed=True)

    assert found(portal_database, start) == []
    seen = audit.verify(from_index=start)
    assert (seen.problems, seen.erased) == ((), done.texts)
    (entry,) = audit.entries(after=start - 1, limit=1000, where=audit.Filter(action="person.erased"))
    assert (entry.actor, entry.subject, entry.recorded_by) == ("operator", people.alice.audit_id, "jitportal_owner")
    assert (entry.facts, entry.disclosed) == ({"texts": done.texts, "entries": done.entries}, {"reason": WHY})
    # What was done, when, and by whom it was allowed is still there.
    told = [line.action for line in audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,)))]
    assert {"grant.issued", "grant.released", "grant.ended", "statement.started"} <= set(told)
    others = audit.entries(after=start - 1, limit=1000, where=audit.Filter(actor=people.bob.audit_id))
    assert {line.disclosed["person"] for line in others} == {people.bob.name}
    lines = audit.entries(after=start - 1, limit=1000, where=audit.Filter(actor=people.alice.audit_id))
    assert any(line.erased for line in lines)
    assert not any(line.disclosed for line in lines)
    assert "[erased]" in "".join(trail_csv(lines))


def test_erase_person_when_their_pages_are_opened(people: Cast, client: Any) -> None:
    grant = a_life(people)
    leave(people)
    erase_person(username="alice", reason=WHY, confirmed=True)
    client.force_login(people.dana)
    for path in (f"/requests/{grant.request_id}/", "/inbox/", "/requests/"):
        page = client.get(path, follow=True)
        assert page.status_code == 200, path
        assert "Alice" not in page.content.decode()
    assert AccessRequest.objects.get(pk=grant.request_id).reason == "[erased]"


def test_erase_person_when_not_confirmed(people: Cast, portal_database: PortalDatabase, start: int) -> None:
    a_life(people)
    leave(people)
    before, size = found(portal_database, start), audit.head().size

    assert erase_person(username="alice", reason=WHY).texts > 10

    assert found(portal_database, start) == before
    assert audit.head().size == size
    assert User.objects.filter(username="alice").exists()


def test_erase_person_when_they_are_still_here(people: Cast) -> None:
    with pytest.raises(Conflict, match="alice is active: deactivate"):
        erase_person(username="alice", reason=WHY, confirmed=True)
    with pytest.raises(NotFound, match="nobody called ‘nobody’"):
        erase_person(username="nobody", reason=WHY, confirmed=True)
    for reason in ("", "Alice asked for it.", "as alice wanted"):
        with pytest.raises(Invalid):
            erase_person(username="alice", reason=reason, confirmed=True)


def test_erase_person_when_their_access_is_not_proven_gone(people: Cast) -> None:
    live(people)
    deactivate(actor=people.dana, user=people.alice, reason="Left.")
    with pytest.raises(Conflict, match="has not ended yet"):
        erase_person(username="alice", reason=WHY, confirmed=True)


def test_erase_person_when_it_was_done_before(people: Cast, start: int) -> None:
    a_life(people)
    leave(people)
    done = erase_person(username="alice", reason=WHY, confirmed=True)
    again = erase_person(username=done.name, reason="To be sure.", confirmed=True)
    assert again.texts == 0
    told = audit.entries(after=start - 1, limit=1000, where=audit.Filter(action="person.erased"))
    assert [line.disclosed["reason"] for line in told] == [WHY, "To be sure."]
    assert audit.verify(from_index=start).ok


@pytest.mark.usefixtures("seconded")
def test_sign_in_when_they_come_back(people: Cast) -> None:
    """Nothing is left to know them by: whoever lets the row in again lets in nobody."""
    a_life(people)
    leave(people)
    done = erase_person(username="alice", reason=WHY, confirmed=True)
    row = User.objects.get(username=done.name)
    reactivate(actor=people.dana, user=row, reason="By mistake.")
    row.refresh_from_db()
    assert (row.subject, row.has_usable_password(), row.groups.count()) == ("", False, 0)


@pytest.mark.parametrize("role", ["jitportal_web", "jitportal_worker", "jitportal_owner"])
def test_erase_when_it_is_done_past_the_command(people: Cast, portal_database: PortalDatabase, role: str) -> None:
    """Not even the owner deletes a text by accident, or without an entry that tells of it."""
    a_life(people)
    (entry,) = audit.latest(limit=1)
    with portal_database.connect(role) as connection:
        for statement in (
            "DELETE FROM audit.disclosure",
            "UPDATE audit.disclosure SET value = 'x'",
            "TRUNCATE audit.disclosure",
            f"SELECT audit.erase(entry_id, ARRAY[1::bigint], ARRAY['x']) FROM audit.seal WHERE index = {entry.index}",
            "SELECT audit.erase(0, ARRAY[1::bigint], ARRAY['x'])",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_erase_person_by_command(people: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    a_life(people)
    leave(people)
    call_command("erase_person", "alice", "--reason", WHY)
    assert "Nothing is done yet. It would erase" in capsys.readouterr().out
    call_command("erase_person", "alice", "--reason", WHY, "--yes")
    assert "From now on they are erased-" in capsys.readouterr().out
    with pytest.raises(CommandError, match="nobody called"):
        call_command("erase_person", "alice", "--reason", WHY, "--yes")


def test_erase_person_by_command_when_nobody_owns_the_tables(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.erasing.services.OWNER_ALIAS", "nobody")
    assert "nobody" not in connections
    with pytest.raises(CommandError, match="DATABASE_OWNER_URL"):
        call_command("erase_person", "alice", "--reason", WHY, "--yes")
