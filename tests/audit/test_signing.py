"""Checkpoints are signed when there is something to sign, and never over another history than anchors have seen."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import transaction

from apps.audit import services as audit
from apps.audit import signing, trail
from apps.audit.actions import Action
from apps.audit.anchors import PORTION, AnchorError, FileAnchor, anchor_at
from apps.audit.chain import ZERO, Sealed, micros
from apps.audit.models import AnchorState, Checkpoint, Disclosure, RecordBreak, SigningKey
from apps.audit.notes import Signer, new_signer, read_key
from apps.audit.offline import verify as offline
from apps.audit.signing import sign_due
from apps.core import clock
from apps.core.errors import Conflict, Invalid
from jitportal.portal_database import WEB, WORKER
from tests.audit.bundles import Evidence, Text, same_signer
from tests.audit.signers import (
    ORIGIN,
    cut_off,
    happened,
    holds,
    listening,
    of_another_history,
    signing_by,
    witness_of,
)
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return tmp_path / "anchor.jsonl"


@pytest.fixture(autouse=True)
def signer(settings: Any, tmp_path: Path, anchor: Path) -> Signer:
    happened()
    return signing_by(settings, tmp_path, f"file:{anchor}")


def notes_in(anchor: Path) -> list[str]:
    return [json.loads(line)["note"] for line in anchor.read_text(encoding="utf-8").splitlines()]


def put_into(anchor: Path, *notes: str) -> None:
    with anchor.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"note": note}) + "\n" for note in notes)


# Whoever verifies -----------------------------------------------------------------------------------------------------


def test_audit_verify_when_all_is_there_says_who_has_seen_it(anchor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = sign_due()
    assert made is not None
    call_command("audit_verify", "--processes=1")
    said = capsys.readouterr().out
    assert f"It goes on from what was seen: {made.size} entries by {signing.OURSELVES}." in said
    assert f"It goes on from what was seen: {made.size} entries by file:{anchor}." in said
    assert "The record is whole" in said


def test_audit_verify_when_the_tail_is_gone_and_the_head_agrees_says_who_has_seen_more(
    portal_database: PortalDatabase, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    happened(5)
    made = sign_due()
    assert made is not None
    cut_off(portal_database, 3)
    with pytest.raises(CommandError, match="NOT whole: 2 problems"):
        call_command("audit_verify", "--processes=1")
    said = capsys.readouterr().out
    for name in (signing.OURSELVES, f"file:{anchor}"):
        assert f"The record here is shorter: {name} has seen {made.size} entries with another end than theirs." in said
    assert not RecordBreak.objects.exists()  # whoever only looks writes nothing


def test_audit_verify_when_two_people_have_agreed_to_a_loss_says_nothing_of_it(
    portal_database: PortalDatabase, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    happened(5)
    sign_due()
    cut_off(portal_database, 3)
    sign_due()
    RecordBreak.objects.update(confirmed_at=clock.now(), confirmed_by="user:a user:b")
    call_command("audit_verify", "--processes=1")
    said = capsys.readouterr().out
    assert "The record is whole" in said
    assert f"file:{anchor} has seen" in said
    assert "two people have agreed to go on without them" in said
    assert "was seen" not in said


def forget_what_was_signed(portal: PortalDatabase) -> None:
    with portal.superuser() as superuser:
        superuser.execute("DELETE FROM audit_checkpoint")
        superuser.execute("DELETE FROM audit_signingkey")


def test_audit_verify_when_the_keys_were_taken_away_believes_no_silence(
    portal_database: PortalDatabase, anchor: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever puts another record in the place of this one takes its checkpoints and keys away as well."""
    sign_due()
    settings.SIGNING_KEY_FILE = ""
    forget_what_was_signed(portal_database)
    with pytest.raises(CommandError, match="NOT whole: 1 problems"):
        call_command("audit_verify", "--processes=1")
    assert f"file:{anchor}: What it holds is not ours." in capsys.readouterr().out


def test_audit_verify_when_a_restored_database_does_not_know_the_key_finds_what_is_lost(
    portal_database: PortalDatabase, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    happened(5)
    sign_due()
    forget_what_was_signed(portal_database)
    cut_off(portal_database, 3)
    with pytest.raises(CommandError, match="NOT whole: 1 problems"):
        call_command("audit_verify", "--processes=1")
    assert f"The record here is shorter: file:{anchor} has seen" in capsys.readouterr().out


def test_audit_verify_when_an_anchor_cannot_be_meant_says_what_it_has_found_all_the_same(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ANCHORS = ["ftp://nowhere"]
    with pytest.raises(CommandError, match=r"could not be compared .* names 'ftp://nowhere'"):
        call_command("audit_verify", "--processes=1")


def test_anchor_when_it_holds_what_no_reader_can_read_holds_no_note(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * 200_000 + "\n", encoding="ascii")
    with pytest.raises(AnchorError, match="holds no note"):
        anchor_at(f"file:{path}").last(is_new=False)


def test_audit_verify_when_an_anchor_holds_another_history_says_so(
    signer: Signer, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_due()
    happened(9)
    put_into(anchor, of_another_history(signer))
    with pytest.raises(CommandError, match="NOT whole: 1 problems"):
        call_command("audit_verify", "--processes=1")
    assert f"The record here is another one: file:{anchor} has seen" in capsys.readouterr().out


def test_audit_verify_when_an_anchor_is_gone_says_that_it_could_not_be_asked(
    anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_due()
    anchor.unlink()
    call_command("audit_verify", "--processes=1")
    said = capsys.readouterr().out
    assert f"file:{anchor} could not be asked: {anchor} is not there any more" in said
    assert "The record is whole" in said


# When it signs --------------------------------------------------------------------------------------------------------


def test_sign_when_something_happened_signs_the_head_and_tells_the_anchor(signer: Signer, anchor: Path) -> None:
    made = sign_due()
    assert made is not None
    size = audit.head().size - 1  # the key's own entry came after it was looked for
    assert made.size in {size, size + 1}
    assert holds(made.note, signer) == made.size
    assert notes_in(anchor) == [made.note]
    state = AnchorState.objects.get()
    assert (state.size, state.error, state.failed_at) == (made.size, "", None)


def test_sign_when_nothing_happened_signs_again_after_an_hour() -> None:
    first = sign_due()
    assert first is not None
    assert sign_due() is None
    with clock.shifted(timedelta(minutes=59)):
        assert sign_due() is None
    with clock.shifted(timedelta(minutes=61)):
        again = sign_due()
        assert again is not None
        assert again.size == first.size
    happened()
    more = sign_due()
    assert more is not None
    assert more.size == first.size + 1


def test_sign_when_done_tells_nothing_in_the_record() -> None:
    sign_due()
    size = audit.head().size
    with clock.shifted(timedelta(hours=2)):
        sign_due()
    assert audit.head().size == size


def test_sign_when_the_process_has_no_key_does_nothing(settings: Any) -> None:
    settings.SIGNING_KEY_FILE = ""
    assert sign_due() is None
    assert not SigningKey.objects.exists()


def test_sign_when_the_key_is_of_another_record_refuses(settings: Any) -> None:
    settings.AUDIT_ORIGIN = "else.example.org"
    with pytest.raises(Invalid, match="named after"):
        sign_due()
    assert not Checkpoint.objects.exists()


def test_checkpoint_when_signed_agrees_with_its_size_and_hash(signer: Signer) -> None:
    assert trail.signed_checkpoint()["note"] is None
    made = sign_due()
    happened(3)
    said = trail.signed_checkpoint()
    assert made is not None
    assert said == {"origin": ORIGIN, "size": made.size, "hash": bytes(made.hash).hex(), "note": made.note}
    assert holds(str(said["note"]), signer) == said["size"]


# Keys -----------------------------------------------------------------------------------------------------------------


def test_read_signing_key_when_others_may_read_it_refuses(settings: Any) -> None:
    path = Path(settings.SIGNING_KEY_FILE)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(Invalid, match="Others may read"):
            signing.read_signing_key()


@pytest.mark.parametrize("held", [b"", b"nonsense", b"\xff"])
def test_read_signing_key_when_it_is_none_refuses(settings: Any, held: bytes) -> None:
    Path(settings.SIGNING_KEY_FILE).write_bytes(held)
    with pytest.raises(Invalid):
        sign_due()
    settings.SIGNING_KEY_FILE += ".gone"
    with pytest.raises(Invalid, match="cannot be read"):
        sign_due()


def test_new_signing_key_when_run_makes_a_file_that_only_its_owner_reads(
    tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.key"
    before = os.umask(0)
    try:
        call_command("new_signing_key", str(file))
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    settings.SIGNING_KEY_FILE = str(file)
    made = signing.read_signing_key()
    assert made is not None
    assert read_key(capsys.readouterr().out.strip()) == made.key
    with pytest.raises(CommandError, match="name a new file"):
        call_command("new_signing_key", str(file))
    assert signing.read_signing_key() is not None


def test_rotate_when_run_lets_the_old_key_keep_its_old_sizes(
    tmp_path: Path, settings: Any, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    old = sign_due()
    happened(2)
    file = tmp_path / "new.key"
    call_command("new_signing_key", str(file))
    size = audit.head().size
    call_command("rotate_signing_key", str(file))
    newer = capsys.readouterr().out.split()[-1]
    assert old is not None
    assert signing.key_ranges() == [(str(signer.key), 0, size), (newer, size, None)]
    (entry,) = audit.latest(limit=1)
    assert (entry.action, entry.recorded_by) == (Action.SIGNING_KEY_ADDED, WORKER)
    assert entry.facts == {"key": newer, "from_size": size}

    assert sign_due() is None  # this worker still has the old one
    settings.SIGNING_KEY_FILE = str(file)
    made = sign_due()
    assert made is not None
    assert made.key.key == newer
    with pytest.raises(CommandError, match="known already"):
        call_command("rotate_signing_key", str(file))


def test_key_ranges_when_one_signed_as_the_next_came_covers_what_it_signed(signer: Signer) -> None:
    sign_due()
    size = audit.head().size
    signing.add_key(new_signer(ORIGIN).key, actor="operator")
    late = Checkpoint.objects.get()
    Checkpoint.objects.create(size=size + 1, hash=b"x", note="late", at=late.at, key=late.key)
    (old, newer) = signing.key_ranges()
    assert (old.to_size, newer.from_size) == (size + 1, size)


def test_add_key_when_it_was_replaced_does_not_let_it_come_back(signer: Signer) -> None:
    sign_due()
    signing.add_key(new_signer(ORIGIN).key, actor="operator")
    with pytest.raises(Conflict, match="does not come back"):
        signing.add_key(signer.key, actor="operator")


@pytest.mark.parametrize("held", [b"nonsense", b"\xff", str(same_signer("else.example.org")).encode()])
def test_rotate_when_it_is_no_key_of_this_record_refuses(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "odd.key").write_bytes(held)
    for file in ("odd.key", "none.key"):
        with pytest.raises(CommandError):
            call_command("rotate_signing_key", str(tmp_path / file))
    assert not SigningKey.objects.exists()


@pytest.mark.parametrize("table", ["audit_checkpoint", "audit_signingkey", "audit_anchorstate", "audit_recordbreak"])
def test_rows_when_the_web_writes_them_are_refused(portal_database: PortalDatabase, table: str) -> None:
    with portal_database.connect(WEB) as web:
        web.execute(f"SELECT * FROM {table}".encode())
        for attack in ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                web.execute(attack.format(table).encode())


@pytest.mark.parametrize("table", ["audit_checkpoint", "audit_signingkey"])
def test_rows_when_even_a_worker_changes_them_are_refused(portal_database: PortalDatabase, table: str) -> None:
    with portal_database.connect(WORKER) as worker:
        for attack in (f"DELETE FROM {table}", f"UPDATE {table} SET id = id"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(attack.encode())


# Breaks ---------------------------------------------------------------------------------------------------------------


def broken() -> RecordBreak:
    """Signing has stopped, and the record says so once."""
    assert sign_due() is None
    (found,) = RecordBreak.objects.filter(confirmed_at=None)
    (entry,) = audit.entries(where=audit.Filter(subjects=(f"record_break:{found.pk}",)))
    assert (entry.action, entry.recorded_by) == (Action.RECORD_BROKEN, WORKER)
    assert entry.facts == signing.facts_of(found)
    signed = Checkpoint.objects.count()
    happened()
    assert sign_due() is None
    assert Checkpoint.objects.count() == signed
    assert RecordBreak.objects.count() == 1
    return found


@pytest.mark.parametrize("more", [0, 1, 1_000])
def test_sign_when_an_anchor_has_seen_another_history_stops_and_says_so(
    signer: Signer, anchor: Path, more: int
) -> None:
    put_into(anchor, of_another_history(signer, more=more))
    size = audit.head().size + more
    found = broken()
    assert (found.size_there, found.hash_there) == (size, "07" * 32)
    assert found.anchor == f"file:{anchor}"


def test_sign_when_the_record_was_cut_by_a_superuser_stops(
    signer: Signer, anchor: Path, portal_database: PortalDatabase
) -> None:
    """The tail is gone, the portal's own memory too: only the anchor knows."""
    sign_due()
    happened(3)
    made = sign_due()
    assert made is not None
    cut_off(portal_database, 2)
    with portal_database.superuser() as superuser:
        superuser.execute("DELETE FROM audit_checkpoint WHERE size = %s", [made.size])
    found = broken()
    assert (found.anchor, found.size_there) == (f"file:{anchor}", made.size)
    assert found.size_here < found.size_there
    assert audit.verify(from_index=found.size_here - 1).ok  # whole in itself


def test_sign_when_only_its_own_checkpoints_tell_stops(settings: Any, portal_database: PortalDatabase) -> None:
    settings.ANCHORS = []
    happened(3)
    sign_due()
    cut_off(portal_database, 1)
    assert broken().anchor == signing.OURSELVES


def test_sign_when_a_break_was_confirmed_goes_on(signer: Signer, anchor: Path) -> None:
    put_into(anchor, of_another_history(signer, more=5))
    broken()
    RecordBreak.objects.update(confirmed_at=clock.now())
    made = sign_due()
    assert made is not None
    assert notes_in(anchor)[-1] == made.note
    put_into(anchor, of_another_history(signer, more=6))  # which is another one
    assert sign_due() is None
    assert RecordBreak.objects.filter(confirmed_at=None).count() == 1


def test_sign_when_a_key_is_newer_than_the_restored_database_believes_its_anchor(signer: Signer, anchor: Path) -> None:
    """The row of the key was lost with the rest; the worker still has the key."""
    put_into(anchor, of_another_history(signer, more=5))
    assert not SigningKey.objects.exists()
    broken()


# Anchors that fail ----------------------------------------------------------------------------------------------------


def behind() -> str:
    """Signing went on; why the anchor is behind."""
    assert sign_due() is not None
    assert not RecordBreak.objects.exists()
    state = AnchorState.objects.get()
    assert state.failed_at is not None
    return state.error


@pytest.mark.parametrize(
    "held",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"note": 7}\n',
        b'{"note": "x"}\n',
        b'{"other": "x"}\n',
    ],
)
def test_sign_when_an_anchor_holds_nonsense_goes_on(anchor: Path, held: bytes) -> None:
    anchor.write_bytes(held)
    assert sign_due() is not None
    assert not RecordBreak.objects.exists()


def test_sign_when_an_anchor_holds_what_others_signed_goes_on(anchor: Path) -> None:
    """Whoever may write to an anchor must not be able to stop signing by it."""
    put_into(anchor, of_another_history(new_signer(ORIGIN)))
    assert sign_due() is not None
    assert not RecordBreak.objects.exists()


def test_sign_when_an_anchor_file_is_gone_goes_on_and_does_not_make_it_anew(anchor: Path) -> None:
    """Its storage may not be mounted: a new one there would be believed from then on."""
    sign_due()
    anchor.unlink()
    happened()
    sign_due()
    state = AnchorState.objects.get()
    assert "not there any more" in state.error
    assert not anchor.exists()
    anchor.touch()
    happened()
    made = sign_due()
    assert made is not None
    assert notes_in(anchor) == [made.note]
    assert AnchorState.objects.get().error == ""


def test_sign_when_an_anchor_is_a_folder_goes_on(anchor: Path) -> None:
    anchor.mkdir()
    assert "directory" in behind()


def test_put_when_the_disk_is_full_says_so_and_begins_a_new_line_when_it_is_not(anchor: Path) -> None:
    held = FileAnchor("file", anchor)
    held.put("first", 1, lambda *_: b"")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 5):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (anchor.stat().st_size + room, hard))
            with pytest.raises(AnchorError, match=r"full|large"):
                held.put("second", 2, lambda *_: b"")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert held.last(is_new=False) == "first"
    held.put("third", 3, lambda *_: b"")
    assert held.last(is_new=False) == "third"


def test_sign_when_an_anchor_is_a_device_goes_on(settings: Any) -> None:
    """One that never ends, and one that takes everything and keeps nothing."""
    settings.ANCHORS = ["file:/dev/zero", "file:/dev/null"]
    assert sign_due() is not None
    assert AnchorState.objects.get(pk="file:/dev/zero").error


def test_put_when_the_last_line_was_written_in_part_begins_a_new_one(anchor: Path, signer: Signer) -> None:
    sign_due()
    (first,) = notes_in(anchor)
    with anchor.open("a") as file:
        file.write('{"note": "half of i')
    happened()
    made = sign_due()
    assert made is not None
    held = FileAnchor("file", anchor)
    assert held.last(is_new=False) == made.note
    with anchor.open("a") as file:
        file.write('{"note": "half of i')
    assert held.last(is_new=False) == made.note
    assert first in anchor.read_text().replace("\\n", "\n").replace("\\u2014", "—")


def test_put_when_there_are_many_reads_the_last(anchor: Path, signer: Signer) -> None:
    held = FileAnchor("file", anchor)
    for number in range(2_000):
        held.put(f"{'x' * 200} {number}", number, lambda *_: b"")
    assert held.last(is_new=False) == f"{'x' * 200} 1999"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "anchor.jsonl",
        "file:anchor.jsonl",
        "file://host/anchor",
        "ftp://host/x",
        "https://",
        "https://u:p@host/",
        "https://host/?x=1",
    ],
)
def test_anchor_at_when_the_address_is_none_refuses(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="JITPORTAL_ANCHORS"):
        anchor_at(address)


# A witness ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def witness(signer: Signer, tmp_path: Path, settings: Any) -> Iterator[Any]:
    made = witness_of(signer, tmp_path / "witness.json")
    with listening(made) as url:
        settings.ANCHORS = [f"{url}/portal"]
        yield made


def test_sign_when_there_is_a_witness_lets_it_follow(witness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.audit import anchors

    monkeypatch.setattr(anchors, "PORTION", 7)
    monkeypatch.setattr(anchors, "_MOST_PORTIONS", 10**6)
    for _ in range(3):
        happened(10)
        made = sign_due()
        assert made is not None
        assert witness.state() == {"note": made.note, "reached": made.size}
    assert AnchorState.objects.get().error == ""


def test_sign_when_a_witness_is_far_behind_lets_it_catch_up_in_turns(
    witness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.audit import anchors

    monkeypatch.setattr(anchors, "PORTION", 1 + audit.head().size // 4)
    monkeypatch.setattr(anchors, "_MOST_PORTIONS", 2)
    sign_due()
    assert "goes on in a minute" in AnchorState.objects.get().error
    reached = witness.state()["reached"]
    assert 0 < reached < audit.head().size
    for _ in range(3):
        sign_due()
    assert AnchorState.objects.get().error == ""
    assert witness.kept()["size"] == Checkpoint.objects.last().size  # type: ignore[union-attr]


def test_sign_when_the_witness_has_seen_another_history_stops(witness: Any, signer: Signer) -> None:
    from tests.audit.test_witness import OTHER, leaves

    sign_due()
    size = witness.kept()["size"]
    witness.follow(size, leaves(OTHER, 0, 3))
    from apps.audit.notes import Checkpoint as Signed
    from apps.audit.notes import signed

    witness.take(signed(Signed(ORIGIN, size + 3, witness._tip), signer))
    found = broken()
    assert found.size_there == size + 3


def test_leaves_when_read_from_rows_lead_to_the_head() -> None:
    from apps.audit.chain import ZERO, link

    head, tip = audit.head(), ZERO
    for first in range(0, head.size, PORTION):
        held = signing._leaves(first, min(head.size, first + PORTION))
        for place in range(0, len(held), 32):
            tip = link(tip, held[place : place + 32])
    assert tip == head.hash


# With what auditors are given -----------------------------------------------------------------------------------------


def test_bundle_when_made_of_the_real_record_is_proved_by_the_program(signer: Signer, tmp_path: Path) -> None:
    """Whatever other tests have recorded, sealed by the database and signed here."""
    sign_due()
    with transaction.atomic(durable=True):
        disclosed = {"person": "Zoë", "reason": "Ticket OPS-1"}
        audit.record(Action.RECORD_READ, actor="user:a", subject="record", facts={"é": [1, None]}, disclosed=disclosed)
    happened(3)
    made = sign_due()
    assert made is not None
    lines = list(audit.iterate())[-5:]
    salts = {(text.entry.seal.index, text.field): bytes(text.salt) for text in Disclosure.objects.all()}
    first = lines[0].index
    evidence = Evidence(
        entries=tuple(Sealed(e.index, micros(e.recorded_at), e.recorded_by, e.body, e.hash) for e in lines),
        texts=tuple(
            Text(e.index, name, value, salts[e.index, name])
            for e in lines
            for name, value in sorted(e.disclosed.items())
        ),
        notes=tuple(row.note for row in Checkpoint.objects.order_by("size") if row.size >= first),
        keys=[held._asdict() for held in signing.key_ranges()],
        before=audit.hash_at(first - 1) or ZERO,
        since=lines[1].recorded_at,
        until=lines[-1].recorded_at,
        first=first,
        last=lines[-1].index,
        origin=ORIGIN,
    )
    bundle = str(evidence.write(tmp_path / "bundle.zip"))
    kept = [str(trail.signed_checkpoint()["note"])]
    assert offline.verify(bundle, [offline.Pin(offline.read_key(str(signer.key)))], kept).problems == []
    command = [sys.executable, "-I", "-S", offline.__file__, bundle, "--key", str(signer.key)]
    done = subprocess.run(command, capture_output=True, text=True, env={}, cwd="/", check=False)
    assert done.returncode == 0, done.stdout
    assert "2 texts about people are those" in done.stdout
