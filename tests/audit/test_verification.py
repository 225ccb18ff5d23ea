"""Every way to tamper with the tables, as the one who can: the owner, inside a transaction that is rolled back."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from apps.audit import following, reader, spans, verification
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.chain import Head
from apps.audit.following import Followed
from apps.core.errors import NotFound
from tests.audit.tampering import run, tampering
from tests.support import record

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@pytest.fixture(autouse=True)
def start() -> int:
    """Five entries are added by the worker; this is the index of the first. What is before is other tests'."""
    size = audit.head().size
    for number in range(5):
        with transaction.atomic():
            audit.record(
                Action.REQUEST_SUBMITTED,
                actor="user:alice",
                subject=f"request:r{number}",
                disclosed={"reason": f"Ticket OPS-{number}"},
            )
    return size


def found(start: int, **arguments: object) -> str:
    result = audit.verify(from_index=start, using="owner", **arguments)  # type: ignore[arg-type]
    assert result.ok == (result.problem_count == 0) == (not result.problems)
    return "\n".join(result.problems)


def entry_id(index: int) -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT entry_id FROM audit.seal WHERE index = %s", [index])
        return int(cursor.fetchone()[0])


def flip(column: str, length: int) -> Callable[[int], None]:
    def tamper(index: int) -> None:
        table, key = ("entry", entry_id(index)) if column == "body" else ("seal", index)
        name = "id" if table == "entry" else "index"
        for at in (0, length // 2, length - 1):
            run(
                f"UPDATE audit.{table} SET {column} = set_byte({column}, %s, get_byte({column}, %s) # 1)"
                f" WHERE {name} = %s",
                at,
                at,
                key,
            )

    return tamper


def test_verify_when_nothing_was_changed_follows_all_entries() -> None:
    result = audit.verify()
    assert result.problems == ()
    assert result.count == result.size == audit.head().size
    assert result.hash == audit.head().hash.hex()


def test_verify_when_batches_are_small_reports_progress(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    monkeypatch.setattr(reader, "AT_ONCE", 2)
    steps: list[tuple[int, int]] = []
    result = audit.verify(from_index=start, progress=lambda done, size: steps.append((done, size)))
    assert result.ok
    assert result.count == 5
    assert steps == [(start + done, start + 5) for done in (2, 4, 5)]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "UPDATE audit.seal SET recorded_at = recorded_at + interval '1 microsecond' WHERE index = %s",
            "hash does not",
        ),
        ("UPDATE audit.seal SET recorded_by = 'jitportal_web' WHERE index = %s", "hash does not"),
        ("UPDATE audit.seal SET hash = sha256(hash) WHERE index = %s", "hash does not"),
        ("UPDATE audit.seal SET recorded_at = '2020-01-01' WHERE index = %s", "its time was changed"),
        ("UPDATE audit.seal SET action = 'request.denied' WHERE index = %s", "listed under another"),
        ("UPDATE audit.seal SET actor = 'user:bob' WHERE index = %s", "listed under another"),
        ("UPDATE audit.seal SET subject = 'request:x' WHERE index = %s", "listed under another"),
        ("DELETE FROM audit.seal WHERE index = %s", "missing or doubled"),
        ("UPDATE audit.seal SET index = index + 1000000 WHERE index = %s", "missing or doubled"),
    ],
)
def test_verify_when_a_seal_was_changed_says_so(start: int, statement: str, sentence: str) -> None:
    with tampering():
        run(statement, start + 2)
        assert sentence in found(start)


@pytest.mark.parametrize("tamper", [flip("body", 60), flip("hash", 32)], ids=["body", "hash"])
def test_verify_when_bytes_were_flipped_says_so(start: int, tamper: Callable[[int], None]) -> None:
    with tampering():
        tamper(start + 2)
        assert f"Entry {start + 2}" in found(start)


def test_verify_when_an_entry_was_deleted_says_so(start: int) -> None:
    with tampering():
        entry = entry_id(start + 2)
        run("DELETE FROM audit.disclosure WHERE entry_id = %s", entry)
        run("DELETE FROM audit.entry WHERE id = %s", entry)
        assert f"Entry {start + 2} is gone" in found(start)


def test_verify_when_two_bodies_changed_places_says_so(start: int) -> None:
    with tampering():
        first, second = entry_id(start + 1), entry_id(start + 2)
        run(
            "UPDATE audit.entry e SET body = o.body FROM audit.entry o"
            " WHERE e.id IN (%s, %s) AND o.id IN (%s, %s) AND e.id <> o.id",
            *(first, second, first, second),
        )
        problems = found(start)
        assert f"Entry {start + 1}:" in problems
        assert f"Entry {start + 2}:" in problems


def test_verify_when_the_tail_was_cut_off_says_so(start: int) -> None:
    taken = audit.checkpoint()
    known = (int(taken["size"] or 0), str(taken["hash"]))
    with tampering():
        run("DELETE FROM audit.seal WHERE index >= %s", start + 3)
        assert "its head says" in found(start)
        run(
            "DELETE FROM audit.disclosure d USING audit.entry e WHERE d.entry_id = e.id AND e.id > %s",
            entry_id(start + 2),
        )
        run("DELETE FROM audit.entry WHERE id > %s", entry_id(start + 2))
        run(
            "UPDATE audit.head SET size = s.index + 1, hash = s.hash, recorded_at = s.recorded_at"
            " FROM audit.seal s WHERE s.index = %s",
            start + 2,
        )
        assert found(start) == ""  # whole in itself: only a checkpoint from elsewhere tells
        assert "cut short" in found(start, against=known)


def test_verify_when_only_the_head_was_set_back_says_so(start: int) -> None:
    with tampering():
        run("UPDATE audit.head SET size = s.index + 1, hash = s.hash FROM audit.seal s WHERE s.index = %s", start + 2)
        assert "it was set back" in found(start)


def test_verify_when_the_record_was_rewritten_in_the_same_size_is_told_by_the_checkpoint(start: int) -> None:
    size = start + 3
    (line,) = audit.entries(after=size - 2, limit=1)
    assert found(start, against=(size, line.hash.hex())) == ""
    assert "rewritten" in found(start, against=(size, "00" * 32))
    assert "begin at or before" in found(start, against=(start - 1, "00" * 32)) if start else True


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
@pytest.mark.parametrize("table", ["seal", "head"])
def test_verify_when_a_time_is_none_that_a_clock_tells_says_so(start: int, table: str, moment: str) -> None:
    with tampering():
        where = f"WHERE index = {start + 4}" if table == "seal" else ""
        run(f"UPDATE audit.{table} SET recorded_at = %s {where}", moment)
        assert "its hash does not" in found(start) or "tells another time" in found(start)


def test_verify_when_several_processes_read_finds_the_same(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    monkeypatch.setattr(spans, "_WIDTH", 2)
    steps: list[tuple[int, int]] = []
    taken = audit.checkpoint()
    known = (int(taken["size"] or 0), str(taken["hash"]))
    result = audit.verify(
        from_index=start, against=known, progress=lambda done, size: steps.append((done, size)), processes=2
    )
    assert result == audit.verify(from_index=start, against=known)
    assert (result.ok, result.count) == (True, 5)
    assert steps == [(start + done, start + 5) for done in (2, 4, 5)]
    wrong = audit.verify(from_index=start, against=(start + 3, "00" * 32), processes=2)
    assert "".join(wrong.problems).count("rewritten") == wrong.problem_count == 1


def test_verify_when_a_span_begins_with_another_hash_than_the_one_before_ended_in_says_so(
    monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """A database that tells each process another story."""
    follow_apart = verification.follow_apart

    def lying(*arguments: object) -> Iterator[Followed]:
        for number, followed in enumerate(follow_apart(*arguments)):  # type: ignore[arg-type]
            yield replace(followed, begin=Head(followed.begin.size, bytes(32))) if number == 1 else followed

    monkeypatch.setattr(spans, "_WIDTH", 3)
    monkeypatch.setattr(verification, "follow_apart", lying)
    result = audit.verify(from_index=start, processes=2)
    assert [f"in front of entry {start + 3} was read twice" in problem for problem in result.problems] == [True]


def test_verify_when_somebody_made_a_gap_of_any_width_comes_to_an_end(start: int) -> None:
    with tampering():
        run("UPDATE audit.seal SET index = 1000000000000000 WHERE index = %s", start + 4)
        run("UPDATE audit.head SET size = 1000000000000001")
        assert f"Entry 1000000000000000 stands where entry {start + 4} should" in found(start)


def test_verify_when_an_entry_is_there_twice_says_so(start: int) -> None:
    with tampering():
        run("ALTER TABLE audit.entry DROP CONSTRAINT entry_pkey CASCADE")
        run(
            "INSERT INTO audit.entry (id, body) OVERRIDING SYSTEM VALUE SELECT id, body FROM audit.entry WHERE id = %s",
            entry_id(start + 2),
        )
        assert f"Entry {start + 2} stands where entry {start + 3} should" in found(start)


def test_verify_when_something_is_large_reads_it_by_itself(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    for size in (60, 1):  # bodies too; texts alone
        monkeypatch.setattr(reader, "_LARGE", size)
        assert found(start) == ""
    with tampering():
        run("UPDATE audit.disclosure SET value = value || ' ' WHERE entry_id = %s", entry_id(start + 2))
        assert f"Entry {start + 2}: the text of reason" in found(start)


@pytest.mark.parametrize("ids", ["- 1000000 * s.index", "+ 1000000 * s.index"])
def test_verify_when_entries_were_numbered_in_any_order_follows_them(start: int, ids: str) -> None:
    with tampering():
        for table, column in (("disclosure", "entry_id"), ("entry", "id"), ("seal", "entry_id")):
            run("ALTER TABLE audit.disclosure DROP CONSTRAINT IF EXISTS disclosure_entry_id_fkey")
            run("ALTER TABLE audit.entry ALTER id DROP IDENTITY IF EXISTS")
            run(
                f"UPDATE audit.{table} t SET {column} = s.entry_id {ids} FROM audit.seal s"
                f" WHERE s.index >= %s AND t.{column} = s.entry_id",
                start,
            )
        assert found(start) == ""


def test_verify_when_the_head_tells_another_time_says_so(start: int) -> None:
    """Everything after it would be sealed with a time of the future."""
    with tampering():
        run("UPDATE audit.head SET recorded_at = recorded_at + interval '1 year'")
        assert "tells another time" in found(start)


def test_verify_when_the_head_is_gone_says_so(start: int) -> None:
    with tampering():
        run("DELETE FROM audit.head")
        assert "The head of the record is gone" in found(start)


def test_verify_when_an_entry_was_slipped_in_before_the_first_says_so(start: int) -> None:
    with tampering():
        run("INSERT INTO audit.entry (body) SELECT body FROM audit.entry WHERE id = %s", entry_id(start))
        run(
            "INSERT INTO audit.seal SELECT -5, (SELECT max(id) FROM audit.entry), recorded_at, recorded_by, hash,"
            " action, actor, subject FROM audit.seal WHERE index = %s",
            start,
        )
        assert "slipped in" in found(start)


def test_verify_when_an_entry_was_slipped_in_without_a_seal_says_so(start: int) -> None:
    with tampering():
        run("INSERT INTO audit.entry (body) VALUES ('{}')")
        assert "1 entries have no seal" in found(start)


def test_verify_when_a_text_was_exchanged_says_so_and_when_erased_does_not(start: int) -> None:
    with tampering():
        run("DELETE FROM audit.disclosure WHERE entry_id = %s", entry_id(start + 1))
        assert found(start) == ""
        assert audit.verify(from_index=start, using="owner").erased == 1
        run("UPDATE audit.disclosure SET value = 'forged' WHERE entry_id = %s", entry_id(start + 2))
        assert f"Entry {start + 2}: the text of reason" in found(start)


@pytest.mark.parametrize("action", [Action.GRANT_ISSUED, Action.GRANT_ENDED])
def test_verify_when_another_than_the_worker_says_what_happened_on_a_target(start: int, action: Action) -> None:
    """A web process that was taken over can write the words, but not the worker's name beside them."""
    with transaction.atomic():
        audit.record(action, actor="worker", subject="grant:g1")
    assert found(start) == ""
    with transaction.atomic(using="owner"):
        run("INSERT INTO audit.entry (body) VALUES (%s)", record.body(action=action, subject="grant:g1"))
        run("SET CONSTRAINTS ALL IMMEDIATE")
        assert "jitportal_owner recorded it and not jitportal_worker" in found(start)
        transaction.set_rollback(True, using="owner")


def test_verify_when_a_body_is_not_the_portals_says_so(start: int) -> None:
    with transaction.atomic(using="owner"):
        run("INSERT INTO audit.entry (body) VALUES (%s)", b'{"subject":"s","actor":"a","action":"b"}')
        run("SET CONSTRAINTS ALL IMMEDIATE")
        assert "not in its canonical form" in found(start)
        transaction.set_rollback(True, using="owner")


def test_verify_when_everything_is_wrong_counts_what_it_does_not_spell_out(
    monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    monkeypatch.setattr(following, "SHOWN", 2)
    with tampering():
        run("UPDATE audit.seal SET hash = sha256(hash) WHERE index >= %s", start)
        result = audit.verify(from_index=start, using="owner")
    assert len(result.problems) == 2
    assert result.problem_count > 5


def test_verify_when_begun_past_the_end_is_not_found() -> None:
    with pytest.raises(NotFound):
        audit.verify(from_index=audit.head().size + 1)


def test_audit_verify_when_whole_says_so_with_the_head(capsys: pytest.CaptureFixture[str], start: int) -> None:
    taken = audit.checkpoint()
    call_command("audit_verify", f"--from-index={start}", f"--checkpoint={taken['size']}:{taken['hash']}")
    said = capsys.readouterr().out
    assert re.search(rf"The record is whole: 5 entries verified, head {taken['size']}:{taken['hash']}", said)


def test_audit_verify_when_tampered_with_fails_and_names_the_entry(
    capsys: pytest.CaptureFixture[str], start: int
) -> None:
    with tampering():
        run("UPDATE audit.seal SET hash = sha256(hash) WHERE index = %s", start + 4)
        with pytest.raises(CommandError, match="NOT whole"):
            call_command("audit_verify", f"--from-index={start}", "--database=owner")
    assert f"Entry {start + 4}:" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--checkpoint", "5"], ["--checkpoint", "x:y"], ["--from-index", "-1"]])
def test_audit_verify_when_asked_in_the_wrong_words_says_how(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="give"):
        call_command("audit_verify", *arguments)
