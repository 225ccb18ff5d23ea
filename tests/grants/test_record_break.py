"""Going on after a break of the record takes two people, and a process that nobody took over."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.models import AnchorState, RecordBreak
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.grants import record_break
from apps.grants.due import _everywhere
from apps.grants.tasks import Task
from apps.notifications import services as notifications
from apps.notifications.models import Cursor, Notification
from tests.api.test_api import Caller
from tests.audit.signers import cut_off, of_another_history, signing_by
from tests.factories import Cast, UserFactory, cast, leave
from tests.support.people import signed_in
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)

ANCHOR = "file:/mnt/worm/anchor.jsonl"
REASON = "The backup of 3 a.m. was restored."


@pytest.fixture
def people() -> Cast:
    """No server is needed here."""
    return cast()


@pytest.fixture
def found(people: Cast) -> RecordBreak:
    """A break that a worker has found."""
    Cursor.objects.create(pk=1, next_index=audit.head().size)
    made = RecordBreak.objects.create(
        found_at=clock.now(),
        anchor=ANCHOR,
        size_there=500,
        hash_there="aa" * 32,
        size_here=400,
        hash_here="bb" * 32,
        why="The record here is shorter.",
    )
    with transaction.atomic():
        audit.record(Action.RECORD_BROKEN, actor="worker", subject=f"record_break:{made.pk}")
    return made


def propose(person: User | str, **more: str) -> None:
    name = person if isinstance(person, str) else person.username
    call_command("confirm_record", **{"anchor": ANCHOR, "person": name, "reason": REASON, **more})


def is_open(found: RecordBreak) -> bool:
    record_break.settle()
    return now(found).confirmed_at is None


def now(found: RecordBreak) -> RecordBreak:
    return RecordBreak.objects.get(pk=found.pk)


def entry_of(found: RecordBreak, action: Action) -> audit.Line:
    (line,) = audit.entries(where=audit.Filter(action=action, subjects=(f"record_break:{found.pk}",)))
    return line


def test_confirm_when_two_have_agreed_lets_signing_go_on_and_names_what_is_lost(
    people: Cast, found: RecordBreak
) -> None:
    assert is_open(found)
    propose(people.dana)
    assert is_open(found)
    record_break.confirm(actor=people.sam, break_id=found.pk, reason="I looked at the backup.")
    assert not is_open(found)
    assert now(found).confirmed_by == f"{people.dana.audit_id} {people.sam.audit_id}"
    first, second = (
        entry_of(found, action) for action in (Action.RECORD_BREAK_PROPOSED, Action.RECORD_BREAK_CONFIRMED)
    )
    assert (first.actor, first.facts["by"]) == ("operator", people.dana.audit_id)
    assert (second.actor, second.facts["by"]) == (people.sam.audit_id, people.sam.audit_id)
    for line in (first, second):
        assert (line.facts["size_there"], line.facts["hash_there"]) == (500, "aa" * 32)
        assert (line.facts["size_here"], line.facts["hash_here"]) == (400, "bb" * 32)
    assert first.disclosed["reason"] == REASON


def test_confirm_when_nobody_has_proposed_it_refuses(people: Cast, found: RecordBreak) -> None:
    with pytest.raises(Conflict, match="confirm_record"):
        record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)


def test_confirm_when_it_is_the_same_person_refuses(people: Cast, found: RecordBreak) -> None:
    propose(people.sam)
    with pytest.raises(NotAllowed, match="another person"):
        record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)
    assert is_open(found)


@pytest.mark.parametrize("name", ["alice", "audrey"])
def test_confirm_when_it_is_not_ones_duty_refuses(people: Cast, found: RecordBreak, name: str) -> None:
    person = getattr(people, name)
    with pytest.raises(CommandError, match="Only a database administrator or security"):
        propose(person)
    propose(people.dana)
    with pytest.raises(NotAllowed):
        record_break.confirm(actor=person, break_id=found.pk, reason=REASON)
    assert is_open(found)


def test_confirm_when_it_is_gone_or_done_refuses(people: Cast, found: RecordBreak) -> None:
    propose(people.dana)
    record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)
    assert not is_open(found)
    for key in (found.pk, "none"):
        with pytest.raises(NotFound):
            record_break.confirm(actor=people.sam, break_id=key, reason=REASON)
    with pytest.raises(CommandError, match="waiting: none"):
        propose(people.dana)


@pytest.mark.parametrize("reason", ["", "x" * 2_001, "NUL \0"])
def test_confirm_when_the_reason_is_none_refuses(people: Cast, found: RecordBreak, reason: str) -> None:
    with pytest.raises(CommandError):
        propose(people.dana, reason=reason)
    propose(people.dana)
    with pytest.raises(Invalid):
        record_break.confirm(actor=people.sam, break_id=found.pk, reason=reason)


def test_propose_when_the_anchor_or_the_person_is_unknown_refuses(people: Cast, found: RecordBreak) -> None:
    with pytest.raises(CommandError, match=ANCHOR):
        propose(people.dana, anchor="file:/else")
    with pytest.raises(CommandError, match="user name"):
        propose("nobody")


def test_settle_when_the_web_has_written_both_entries_believes_neither(
    people: Cast, found: RecordBreak, portal_database: PortalDatabase
) -> None:
    """Whoever rules the web process can be one person there, and never both."""
    write_as_web(portal_database, found, people)
    try:
        assert is_open(found)
        with pytest.raises(Conflict):
            record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)
    finally:
        cut_off(portal_database, 2)  # the record that all tests share holds no lies


def write_as_web(portal_database: PortalDatabase, found: RecordBreak, people: Cast) -> None:
    from apps.audit.body import Body, write
    from jitportal.portal_database import WEB

    said = ((Action.RECORD_BREAK_PROPOSED, "operator", people.dana), (Action.RECORD_BREAK_CONFIRMED, "", people.sam))
    with portal_database.connect(WEB) as web:
        for action, actor, person in said:
            body = Body(
                action=action,
                actor=actor or person.audit_id,
                at="2026-11-22T12:00:00.000000Z",
                subject=f"record_break:{found.pk}",
                facts={"by": person.audit_id},
                commitments={},
            )
            web.execute("INSERT INTO audit.entry (body) VALUES (%s)", [write(body)])


def test_settle_when_the_second_has_no_duty_any_more_waits(people: Cast, found: RecordBreak) -> None:
    other = UserFactory(username="sue", groups=people.sam.groups.all())
    propose(people.dana)
    record_break.confirm(actor=other, break_id=found.pk, reason=REASON)
    other.groups.clear()
    assert is_open(found)


def test_tell_when_a_break_was_found_calls_those_who_answer_for_it(people: Cast, found: RecordBreak) -> None:
    notifications.fold()
    told = dict(Notification.objects.filter(kind="broken").values_list("user__username", "path"))
    assert told == dict.fromkeys(("dana", "sam", "audrey"), f"/record/breaks/{found.pk}/")


def test_pages_when_a_break_waits_show_it_and_confirm_it(people: Cast, found: RecordBreak) -> None:
    AnchorState.objects.create(address="https://witness.example.org", failed_at=clock.now(), error="It is full.")
    dana = signed_in(people.dana)
    page = dana.get("/admin/").content.decode()
    assert found.why in page
    assert "It is full." in page
    assert dana.get("/admin/audit/anchorstate/https_3A_2F_2Fwitness.example.org/change/").status_code == 200
    address = f"/admin/audit/recordbreak/{found.pk}/confirm/"
    assert "bb" * 32 in dana.get(f"/admin/audit/recordbreak/{found.pk}/change/").content.decode()
    assert "Nobody has proposed it yet" in dana.post(address, {"reason": REASON}).content.decode().replace(
        "&#x27;", "'"
    )
    propose(people.sam)
    assert dana.post(address, {"reason": REASON}).status_code == 302
    assert not is_open(found)


def test_page_when_security_is_the_second_lets_it_go_on(people: Cast, found: RecordBreak) -> None:
    address, sam = f"/record/breaks/{found.pk}/", signed_in(people.sam)
    before = sam.get(address).content.decode()
    assert "manage.py confirm_record --anchor" in before
    assert "when the operator has proposed it" in before
    assert f'href="{address}"' in sam.get("/").content.decode()
    early = sam.post(f"{address}confirm/", {"reason": REASON})
    assert (early.status_code, "Nobody has proposed it yet" in early.content.decode()) == (409, True)

    propose(people.dana)
    assert "You are the second person" in sam.get(address).content.decode()
    empty = sam.post(f"{address}confirm/", {"reason": " "})
    assert (empty.status_code, "Say why the record may go on" in empty.content.decode()) == (422, True)
    assert "You are the second person" not in signed_in(people.dana).get(address).content.decode()
    assert signed_in(people.dana).post(f"{address}confirm/", {"reason": REASON}).status_code == 403
    assert sam.post(f"{address}confirm/", {"reason": REASON}).status_code == 302

    assert "Confirmed: a worker signs again" in sam.get(address).content.decode()
    assert not is_open(found)
    after = sam.get(address).content.decode()
    assert "two people have agreed to go on" in after
    assert "Dana and Sam have agreed" in after
    assert "<form" not in after.partition("<h1")[2]


def test_page_when_the_second_has_no_duty_any_more_can_be_confirmed_by_another(
    people: Cast, found: RecordBreak
) -> None:
    propose(people.dana)
    other = UserFactory(username="other", groups=[people.security])
    record_break.confirm(actor=other, break_id=found.pk, reason=REASON)
    leave(other, people.security)
    assert is_open(found)
    sam = signed_in(people.sam)
    assert sam.post(f"/record/breaks/{found.pk}/confirm/", {"reason": REASON}).status_code == 302
    assert not is_open(found)


@pytest.mark.parametrize(
    ("name", "seen", "confirmed"), [("alice", 404, 404), ("carol", 404, 404), ("audrey", 200, 403)]
)
def test_page_when_it_is_not_ones_duty_confirms_nothing(
    people: Cast, found: RecordBreak, name: str, seen: int, confirmed: int
) -> None:
    propose(people.dana)
    client, address = signed_in(getattr(people, name)), f"/record/breaks/{found.pk}/"
    assert client.get(address).status_code == seen
    assert client.post(f"{address}confirm/", {"reason": REASON}).status_code == confirmed
    assert is_open(found)
    assert signed_in(people.sam).get("/record/breaks/nowhere/").status_code == 404
    assert Client().get(address).status_code == 302


def test_confirm_when_it_is_an_emergency_administrator_refuses(people: Cast, found: RecordBreak) -> None:
    """One operator could make a second person of themselves."""
    emergency, _ = accounts.create_emergency_admin(username="emergency", reason="Nobody else is there")
    propose(people.dana)
    with pytest.raises(NotAllowed, match="no other person"):
        record_break.confirm(actor=emergency, break_id=found.pk, reason=REASON)
    with pytest.raises(CommandError, match="no other person"):
        propose(emergency)
    assert is_open(found)


def test_page_when_it_is_settled_tells_who_agreed_whatever_became_of_them(people: Cast, found: RecordBreak) -> None:
    propose(people.dana)
    record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)
    assert not is_open(found)
    leave(people.sam, people.security)
    page = signed_in(people.audrey).get(f"/record/breaks/{found.pk}/").content.decode()
    assert "Dana and Sam have agreed to go on" in page
    assert "confirms it here" not in page
    assert "nothing of the record is signed" not in page


def test_api_when_security_confirms_lets_it_go_on(people: Cast, found: RecordBreak) -> None:
    sam = Caller(people.sam)
    status, page = sam.call("GET", "/audit/breaks")
    assert status == 200
    assert [(item["id"], item["proposed"]) for item in page["items"]] == [(found.pk, False)]
    assert Caller(people.alice).call("GET", "/audit/breaks")[0] == 403
    assert sam.call("POST", f"/audit/breaks/{found.pk}/confirm", {"reason": REASON})[0] == 409
    propose(people.dana)
    assert sam.call("POST", f"/audit/breaks/{found.pk}/confirm", {"reason": REASON})[0] == 200
    assert not is_open(found)


def test_healthz_when_a_break_waits_says_so(people: Cast, found: RecordBreak) -> None:
    detail = signed_in(people.sam).get("/healthz").json()["detail"]
    assert (detail["record_breaks"], detail["anchors_behind"]) == (1, 0)
    assert detail["checkpoint_seconds_ago"] is None


def test_clock_when_a_minute_has_passed_asks_for_a_signature() -> None:
    assert [work.task for work in _everywhere(clock.now())].count(Task.SIGN) == 1


def test_sign_when_the_task_runs_takes_up_a_confirmation(people: Cast, found: RecordBreak, settings: Any) -> None:
    from apps.grants import tasks

    settings.SIGNING_KEY_FILE = ""
    propose(people.dana)
    record_break.confirm(actor=people.sam, break_id=found.pk, reason=REASON)
    tasks.sign()
    assert now(found).confirmed_at is not None
    connections.close_all()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], bool]:
    """Start the workers of a cluster; whether they came to work."""
    from django_q.management.commands import qcluster as theirs

    from apps.grants.management.commands import qcluster

    def start(name: str) -> bool:
        worked: list[bool] = []
        monkeypatch.setattr(theirs.Command, "handle", lambda *_, **__: worked.append(True))
        monkeypatch.setattr(qcluster.Conf, "CLUSTER_NAME", name)
        monkeypatch.setattr(qcluster, "active_children", list)
        monkeypatch.setattr(qcluster.gc, "freeze", lambda: None)
        qcluster.Command().handle()
        return bool(worked)

    return start


def test_start_when_the_record_is_not_what_an_anchor_has_seen_says_so_and_works(
    started: Callable[[str], bool], settings: Any, tmp_path: Path
) -> None:
    """Access is given and taken away all the same."""
    anchor = tmp_path / "anchor.jsonl"
    signer = signing_by(settings, tmp_path, f"file:{anchor}")
    anchor.write_text(json.dumps({"note": of_another_history(signer, more=3)}) + "\n")
    assert started("access")
    assert not RecordBreak.objects.exists()
    assert started("bulk")
    assert RecordBreak.objects.get().anchor == f"file:{anchor}"


def test_start_when_the_key_or_an_anchor_cannot_be_meant_refuses(
    started: Callable[[str], bool], settings: Any, tmp_path: Path
) -> None:
    signing_by(settings, tmp_path, "nonsense")
    with pytest.raises(CommandError, match="JITPORTAL_ANCHORS"):
        started("bulk")
    Path(settings.SIGNING_KEY_FILE).chmod(0o644)
    with pytest.raises(CommandError, match="Others may read"):
        started("bulk")
    settings.SIGNING_KEY_FILE = ""
    assert started("bulk")


@pytest.mark.parametrize("process", ["web", "clock"])
def test_settings_when_a_process_must_not_see_the_signing_key_do_not_load(process: str) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "JITPORTAL_TESTING"},
        "JITPORTAL_PROCESS": process,
        "JITPORTAL_DATA": "/nonexistent",
        "JITPORTAL_MANAGER_PRIVATE_KEY": "",
        "DATABASE_OWNER_URL": "",
    }
    command = [sys.executable, "-c", "import jitportal.settings"]
    for path, status in (("", 0), ("/etc/jitportal/signing.key", 1)):
        said = environment | {"JITPORTAL_SIGNING_KEY_FILE": path}
        done = subprocess.run(command, env=said, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("must not see JITPORTAL_SIGNING_KEY_FILE" in done.stderr) == bool(status)


@pytest.mark.parametrize(("name", "told"), [("dana", True), ("sam", True), ("audrey", True), ("alice", False)])
def test_pages_when_a_break_waits_tell_whoever_answers_for_it(
    people: Cast, found: RecordBreak, name: str, told: bool
) -> None:
    page = signed_in(getattr(people, name)).get("/").content.decode()
    assert ("The record is not what it was." in page) is told
    RecordBreak.objects.update(confirmed_at=clock.now(), confirmed_by="user:a user:b")
    assert "The record is not what it was." not in signed_in(getattr(people, name)).get("/").content.decode()
