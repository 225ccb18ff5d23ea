import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.db import transaction

from apps.core import clock
from apps.engines.base import Closed
from apps.grants import services
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.conftest import LeftBehind
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, after, connected, now_in, queued, told
from tests.support.targets import TargetServer
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

A_MOMENT = timedelta(seconds=20)


def test_end_due_does_nothing_when_the_end_has_not_come(people: Cast) -> None:
    grant = active(people.alice, minutes=1)
    assert grant.expires_at is not None

    with connected(grant) as client:
        with clock.shifted(grant.expires_at - clock.now() - timedelta(seconds=5)):
            services.end_due(server_id=grant.server_id)
        assert client.execute("SELECT 1").fetchone() == (1,)

    now_in(grant, GrantStatus.ACTIVE)


def test_end_due_cuts_the_session_and_refuses_another_when_the_time_is_up(
    people: Cast, left_behind: LeftBehind
) -> None:
    grant = active(people.alice, minutes=1)
    credential = services.credential(actor=people.alice, grant_id=grant.pk)

    with connected(grant) as client:
        with clock.shifted(after(grant)):
            services.end_due(server_id=grant.server_id)
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(credential.url, connect_timeout=10)
    now_in(grant, GrantStatus.ENDED)
    assert left_behind.roles(grant.login) == []
    assert (grant.end_cause, grant.ended_by, grant.password) == ("expired", None, None)
    assert grant.ending_since == grant.expires_at
    assert grant.proof is not None
    assert (grant.proof["dropped"], grant.proof["sessions_ended"]) == (True, 1)
    assert grant.sessions_seen == 1
    assert told(grant)[-3:] == ["credential.shown", "grant.ending", "grant.ended"]


@pytest.mark.parametrize("how", ["released", "revoked"])
def test_end_due_ends_at_once_when_it_was_given_back_or_revoked(
    people: Cast, left_behind: LeftBehind, how: str
) -> None:
    grant = active(people.alice)
    if how == "released":
        services.release(actor=people.alice, grant_id=grant.pk, reason="done")
    else:
        services.revoke(actor=people.sam, grant_id=grant.pk, reason="incident")

    services.end_due(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ENDED).end_cause == how
    assert left_behind.roles(grant.login) == []
    assert told(grant)[-3:] == [f"grant.{how}", "grant.ending", "grant.ended"]


def test_end_due_proves_absence_when_the_login_was_never_made(people: Cast) -> None:
    grant = queued(people.alice)
    services.release(actor=people.alice, grant_id=grant.pk)

    services.end_due(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ENDED).proof is not None
    assert not services.issue(grant_id=grant.pk)


def test_end_due_says_so_and_never_gives_up_when_nobody_answers(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    engine = OddEngine(before_close=fails(LOST), again=True)
    put_in(monkeypatch, engine)

    for tries in range(4):
        with clock.shifted(after(grant) + tries * A_MOMENT):
            services.end_due(server_id=grant.server_id)
            now_in(grant, GrantStatus.ENDING)
            assert grant.problem == LOST.sentence
            assert grant.next_try_at is not None
            assert grant.next_try_at > clock.now()
            assert Grant.objects.late(clock.now() + A_MOMENT).get() == grant

    assert told(grant)[-2:] == ["grant.ending", "grant.end_failed"]
    engine.before_close = lambda: None
    with clock.shifted(after(grant) + 5 * A_MOMENT):
        services.end_due(server_id=grant.server_id)
    assert now_in(grant, GrantStatus.ENDED).problem == ""
    assert told(grant)[-1] == "grant.ended"


def test_end_due_finds_it_done_when_the_answer_was_lost(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    put_in(monkeypatch, OddEngine(after_close=fails(LOST)))

    for moment in (after(grant), after(grant) + A_MOMENT):
        with clock.shifted(moment):
            services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    assert told(grant).count("grant.ended") == 1


def test_end_due_ends_the_others_when_one_login_may_not_be_touched(
    people: Cast, target: TargetServer, left_behind: LeftBehind
) -> None:
    foreign, ours = active(people.alice, minutes=1), active(people.bob, minutes=1)
    with target.admin() as admin:
        admin.execute(f"COMMENT ON ROLE {foreign.login} IS 'jitportal portal=another request=x'")

    with clock.shifted(after(ours)):
        services.end_due(server_id=ours.server_id)

    now_in(ours, GrantStatus.ENDED)
    assert now_in(foreign, GrantStatus.ENDING).problem
    assert left_behind.roles(foreign.login) == [foreign.login]
    with target.admin() as admin:  # nobody else would: it keeps its scope role for those who look at this server next
        admin.execute(f"DROP ROLE {foreign.login}")


def test_end_due_stays_at_it_when_the_role_cannot_be_dropped(
    people: Cast, target: TargetServer, left_behind: LeftBehind
) -> None:
    """Access is zero at once; what somebody has given the login by hand is for a person to clear."""
    grant = active(people.alice, minutes=1)
    with target.admin(grant.database.datname) as admin:
        admin.execute(f"GRANT SELECT ON hr.employees TO {grant.login}")
        try:
            with clock.shifted(after(grant)):
                services.end_due(server_id=grant.server_id)
            now_in(grant, GrantStatus.ENDING)
            assert grant.problem.startswith("Nobody can use this login any more")
            assert grant.proof is not None
            clean_at = grant.proof["clean_at"]
        finally:
            admin.execute(f"REVOKE SELECT ON hr.employees FROM {grant.login}")

    with clock.shifted(after(grant) + A_MOMENT):
        services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert grant.proof["clean_at"] == clean_at
    assert left_behind.roles(grant.login) == []


def test_end_due_buries_what_others_need_when_the_login_owned_it(
    people: Cast, target: TargetServer, left_behind: LeftBehind
) -> None:
    grant = active(people.alice, minutes=1)
    with target.admin(grant.database.datname) as admin:
        admin.execute(f"CREATE TABLE public.mine (id int); ALTER TABLE public.mine OWNER TO {grant.login}")
        admin.execute("CREATE VIEW public.others AS SELECT id FROM public.mine")
        try:
            with clock.shifted(after(grant)):
                services.end_due(server_id=grant.server_id)
        finally:
            admin.execute("DROP TABLE public.mine CASCADE")

    now_in(grant, GrantStatus.ENDED)
    assert left_behind.roles(grant.login) == []
    (left,) = ServerState.objects.get(server=grant.server_id).graveyard
    assert (left["login"], left["object"]) == (grant.login, "table public.mine")
    assert left["database"] == grant.database.datname
    assert sorted(told(grant)[-2:]) == ["grant.ended", "objects.left"]
    services.end_due(server_id=grant.server_id)
    assert told(grant).count("objects.left") == 1


def test_end_due_is_not_over_when_sessions_are_not_proven_gone(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    engine = OddEngine()
    monkeypatch.setattr(engine, "close_logins", _leaves_out())
    put_in(monkeypatch, engine)

    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)

    assert "not yet shown" in now_in(grant, GrantStatus.ENDING).problem


def _leaves_out() -> Callable[..., list[Closed]]:
    return lambda target, logins, proven: []


def test_end_due_ends_many_at_once_when_they_are_due_together(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.grants.ending.BATCH", 2)
    grants = [active(person, minutes=1) for person in (people.alice, people.bob, people.carol)]

    with clock.shifted(after(grants[0]) + A_MOMENT):
        services.end_due(server_id=grants[0].server_id)

    for grant in grants:
        now_in(grant, GrantStatus.ENDED)


def test_end_due_leaves_it_alone_when_another_worker_has_it(people: Cast) -> None:
    grant = active(people.alice, minutes=1)
    with clock.shifted(after(grant)):
        Grant.objects.filter(pk=grant.pk).update(claimed_by="other", claimed_until=clock.now() + A_MOMENT)
        services.end_due(server_id=grant.server_id)
        now_in(grant, GrantStatus.ACTIVE)

    with clock.shifted(after(grant) + 2 * A_MOMENT):
        services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)


def test_drop_unused_scopes_when_the_last_grant_is_over(people: Cast, left_behind: LeftBehind) -> None:
    alone = {"tables": ("stock.levels",)}  # logins of other tests are still there, and members of their scopes
    first, second = active(people.alice, **alone), active(people.bob, **alone)
    assert first.scope_role == second.scope_role
    for grant, still_there in ((first, [first.scope_role]), (second, [])):
        services.release(actor=grant.holder, grant_id=grant.pk)
        services.end_due(server_id=grant.server_id)

        services.drop_unused_scopes(server_id=grant.server_id)

        assert left_behind.roles(first.scope_role) == still_there
    assert now_in(first, GrantStatus.ENDED).scope_gone_at is not None
    again = active(people.carol, **alone)
    assert (again.scope_role, again.scope_gone_at) == (first.scope_role, None)


def test_end_due_ends_access_when_somebody_holds_its_row(people: Cast) -> None:
    """Whoever asks for their credential again and again would otherwise keep their own access from ending."""
    grant, is_held = active(people.alice, minutes=1), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Grant.objects.select_for_update(no_key=True).get(pk=grant.pk)
            is_held.set()
            time.sleep(0.5)

    def end() -> None:
        assert is_held.wait(timeout=10)
        services.end_due(server_id=grant.server_id)

    with clock.shifted(after(grant)):
        assert at_once(hold, end) == [None, None]
    now_in(grant, GrantStatus.ENDED)
    assert told(grant).count("grant.ending") == 1
