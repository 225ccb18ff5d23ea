"""A session waits for the next statement of the same access, and nothing of the last one waits with it."""

from typing import Any

import pytest
from psycopg import sql

from apps.catalog.models import Server
from apps.console import kept
from apps.console import services as console
from apps.console.errors import Unavailable
from apps.console.models import Statement
from apps.core.errors import Conflict
from apps.grants import services as grants
from apps.grants.models import Grant
from tests.console.scene import live, rows
from tests.console.test_cancel import Reading, sleepers, sleeping
from tests.factories import Cast
from tests.grants.stage import now_in
from tests.support.targets import TargetServer
from tests.support.threads import waiting_for


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take a while between two statements."""
    monkeypatch.setattr(kept, "IDLE_SECONDS", 60.0)


def ran(people: Cast, grant: Grant, sql: str = "SELECT 1") -> list[tuple[str | None, ...]]:
    return rows(console.run(actor=people.alice, grant_id=grant.pk, sql=sql))


def where() -> list[tuple[int, str]]:
    return list(Statement.objects.order_by("started_at").values_list("backend_pid", "backend_name"))


def sessions(target: TargetServer, grant: Grant) -> list[tuple[Any, ...]]:
    with target.admin() as admin:
        said = "SELECT pid, state FROM pg_stat_activity WHERE usename = %s AND backend_type = 'client backend'"
        return admin.execute(said, [grant.login]).fetchall()


def test_run_when_a_session_waits(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    ran(people, grant)
    (waiting,) = sessions(target, grant)
    assert ran(people, grant, "SELECT pg_backend_pid(), current_setting('application_name')") == [
        (str(waiting[0]), where()[1][1])
    ]
    first, second = where()
    assert first[0] == second[0] == waiting[0]
    assert first[1] != second[1]  # a word to cancel the first does not meet the second
    assert sessions(target, grant) == [(waiting[0], "idle")]


@pytest.mark.parametrize(
    ("leave", "look", "clean"),
    [
        ("SET work_mem = '77MB'", "SELECT current_setting('work_mem') = '77MB'", "f"),
        ("SET my.secret = 'kept'", "SELECT coalesce(current_setting('my.secret', true), '')", ""),
        ("SELECT pg_advisory_lock(4711)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'c'", "0"),
        ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", "0"),
        ("SET idle_session_timeout = 0", "SELECT current_setting('idle_session_timeout')", "20s"),
        ("SET search_path = pg_catalog", "SELECT current_setting('search_path') = 'pg_catalog'", "f"),
        ("SELECT 1/0", "SELECT 1", "1"),
    ],
)
def test_run_when_the_last_one_left_something(
    people: Cast, target: TargetServer, leave: str, look: str, clean: str
) -> None:
    grant = live(people)
    list(console.run(actor=people.alice, grant_id=grant.pk, sql=leave))
    assert ran(people, grant, look) == [(clean,)]
    first, second = where()
    assert first[0] == second[0]


def test_run_when_the_waiting_session_is_gone(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    ran(people, grant)
    with target.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [grant.login])
    assert ran(people, grant) == [("1",)]


def test_run_when_the_access_has_ended_meanwhile(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    ran(people, grant)
    assert len(sessions(target, grant)) == 1
    grants.release(actor=people.alice, grant_id=grant.pk)
    with pytest.raises(Conflict, match="Your access has ended"):
        ran(people, grant)
    grants.end_due(server_id=grant.server_id)
    now_in(grant, "ended")
    assert sessions(target, grant) == []


def test_run_when_the_server_is_reached_in_another_way(people: Cast, target: TargetServer) -> None:
    """A changed address, certificate or password means another session."""
    grant = live(people)
    ran(people, grant)
    Server.objects.filter(pk=grant.server_id).update(maintenance_database="template1")
    ran(people, grant)
    first, second = where()
    assert first[0] != second[0]


def test_cancel_when_a_session_could_wait(people: Cast, target: TargetServer) -> None:
    """The word to the server may come late: it must not meet the next statement."""
    grant = live(people)
    reading = sleeping(people, grant)
    waiting_for(lambda: sleepers(target, grant))
    console.cancel(actor=people.alice, statement_id=Statement.objects.get().pk)
    reading.over()
    waiting_for(lambda: sessions(target, grant) == [])


def test_run_when_its_rows_were_cut(people: Cast, target: TargetServer) -> None:
    """Cut means cancelled, and that word may come late as well."""
    grant = live(people)
    assert ran(people, grant, "SELECT * FROM generate_series(1, 1000000)")
    waiting_for(lambda: sessions(target, grant) == [])


def test_run_when_another_one_runs(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    reading = Reading(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT pg_sleep(0.5)"))
    waiting_for(lambda: sleepers(target, grant))
    assert ran(people, grant) == [("1",)]
    reading.over()
    waiting_for(lambda: len(sessions(target, grant)) == 1)
    first, second = where()
    assert first[0] != second[0]


def test_close_when_the_reader_goes_away(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    stream = console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1; SELECT pg_sleep(100)")
    next(stream)
    stream.close()
    waiting_for(lambda: sessions(target, grant) == [])


def test_keep_when_there_are_too_many(people: Cast, target: TargetServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AT_MOST", 1)
    one, other = live(people), live(people, tables=("sales.orders",))
    ran(people, one)
    ran(people, other)
    waiting_for(lambda: sessions(target, one) == [])
    assert len(sessions(target, other)) == 1


def test_run_when_the_sign_in_was_long_ago(people: Cast, target: TargetServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the target is asked again, now and then, whether the login may still come in."""
    monkeypatch.setattr(kept, "AGE_SECONDS", 0.0)
    grant = live(people)
    ran(people, grant)
    ran(people, grant)
    first, second = where()
    assert first[0] != second[0]


def test_keep_when_nobody_comes_back(people: Cast, target: TargetServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "IDLE_SECONDS", 0.1)
    grant = live(people)
    ran(people, grant)
    waiting_for(lambda: sessions(target, grant) == [])
    assert ran(people, grant) == [("1",)]


def test_run_when_the_last_one_chose_what_is_random(people: Cast) -> None:
    grant = live(people)
    numbers = set()
    for _ in range(3):
        ran(people, grant, "SELECT setseed(0.25)")
        numbers |= set(ran(people, grant, "SELECT random()"))
    assert len(numbers) == 3


def test_run_when_the_login_may_have_no_more_sessions(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    with target.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(grant.login)))
    with pytest.raises(Unavailable, match="All sessions that your login may have") as refusal:
        ran(people, grant)
    assert not refusal.value.offers_reset


def test_change_when_it_is_over(people: Cast, target: TargetServer) -> None:
    """What could change something leaves no session."""
    grant = live(people, level="change", tables=("sales.order_lines",))
    list(console.change(actor=people.alice, grant_id=grant.pk, sql="SELECT 1", commit=True))
    waiting_for(lambda: sessions(target, grant) == [])
