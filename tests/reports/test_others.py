"""Emergencies, changes, drift, statements, the record itself and its readers."""

from datetime import timedelta

from apps.audit.chain import ZERO, leaf, link, micros
from apps.audit.trail import Line
from tests.reports.lines import ALICE, BOB, DANA, SAM, SHOP, START, Story, all_of_it, erase, folded

_PROVED = "2026-11-01T00:05:00.000000Z"


def broken_glass(story: Story) -> None:
    story.ask(break_glass=True)
    story.tell("request.approved", "policy", "request:r1", {"digest": "d1"})
    story.tell("review.opened", ALICE, "request:r1", {"database": SHOP, "stepped_up_at": _PROVED}, reason="Fire")
    story.issue()
    story.end()


def test_glass_when_reviewed_tells_the_whole_of_it() -> None:
    story = Story()
    broken_glass(story)
    story.tell("review.closed", SAM, "request:r1", {"verdict": "justified"}, comment="Parcels left late.")
    (row,) = folded("break-glass", story)
    assert (row["person"], row["review"], row["reviewed_by"]) == ("Alice Ahrens", "justified", "Sam Sato")
    assert (row["comment"], row["proved_at"], row["exceptions"]) == ("Parcels left late.", _PROVED, "")
    assert row["seconds_to_review"] == "60.000"


def test_glass_when_nobody_has_reviewed_it_stands_open() -> None:
    story = Story()
    broken_glass(story)
    (row,) = folded("break-glass", story)
    assert (row["review"], row["reviewed_at"]) == ("open", "")


def test_glass_when_the_policy_denied_it_says_so() -> None:
    story = Story()
    story.ask(break_glass=True)
    story.tell("request.denied", "policy", "request:r1", {"reasons": ["Not on this database."]})
    (row,) = folded("break-glass", story)
    assert (row["review"], row["comment"]) == ("denied", "Not on this database.")


def test_glass_when_its_holder_closed_the_review_is_an_exception() -> None:
    story = Story()
    broken_glass(story)
    story.tell("review.closed", ALICE, "request:r1", {"verdict": "justified"}, comment="Fine")
    assert folded("break-glass", story)[0]["exceptions"] == "reviewed by its own holder"


def test_glass_when_people_were_erased_says_so() -> None:
    story = Story()
    broken_glass(story)
    (row,) = folded("break-glass", erase(story.lines))
    assert row["person"] == row["reason"] == "[erased]"


def test_glass_when_no_glass_was_broken_is_empty() -> None:
    story = Story()
    story.whole_life()
    assert folded("break-glass", story) == []


def test_changes_when_configuration_changed_tell_before_and_after() -> None:
    story = Story()
    since = story.now
    story.tell("policy.changed", DANA, "policy:4", {"change": "removed", "policy": [{"name": "x"}], "rules": 3})
    story.tell("database.changed", DANA, f"database:{SHOP}", {"changed": ["slug"]}, slug="shop → store")
    story.tell("account.deactivated", "operator", BOB, {"tokens": 1}, username="bob", reason="Left")
    rows = folded("changes", story, all_of_it(since=since + timedelta(seconds=1)))
    assert [(row["action"], row["person"], row["about"]) for row in rows] == [
        ("policy.changed", "Dana Doe", "4"),
        ("database.changed", "Dana Doe", "store"),
        ("account.deactivated", "an operator on the server", "bob"),
    ]
    assert rows[0]["details"] == '{"change": "removed", "rules": 3}'
    assert rows[1]["texts"] == "slug: shop → store"
    assert rows[2]["texts"] == "reason: Left\nusername: bob"


def test_changes_when_a_text_was_erased_say_so() -> None:
    story = Story()
    story.tell("server.added", DANA, "server:s", {"port": 5432}, erased=("host",), name="main", host="db.example")
    (row,) = folded("changes", story, all_of_it(person="dana"))
    assert row["texts"] == "host: [erased]\nname: main"


def test_drift_when_it_ended_access_tells_when_that_was_gone() -> None:
    story = Story()
    story.tell("server.added", DANA, "server:srv", name="main", host="h")
    story.ask()
    story.issue()
    found = story.grant("drift.found", opened="It may read sales.cards.", ends=True)
    story.grant("drift.found", ends=False)
    story.end(cause="drifted")
    kept, ended = folded("drift", story)
    assert (kept["ends_access"], kept["gone_at"]) == ("no", "")
    assert (ended["server"], ended["database"], ended["person"]) == ("main", "shop", "Alice Ahrens")
    assert (ended["found"], ended["ends_access"]) == ("It may read sales.cards.", "yes")
    assert ended["seconds_to_gone"] == "180.000"
    assert ended["entries"] == f"{found.index} {story.lines[-1].index}"


def test_drift_when_the_end_was_forged_stands_last_without_it() -> None:
    story = Story()
    story.grant("drift.found", opened="It may read sales.cards.", ends=True)
    story.end(cause="drifted", problem="it does not count")
    (row,) = folded("drift", story)
    assert (row["ends_access"], row["gone_at"]) == ("yes", "")


def test_drift_when_a_server_is_in_order_leaves_it_out() -> None:
    story = Story()
    story.tell("server.preflighted", "worker", "server:srv", {"errors": 0, "warnings": 2}, findings="x")
    story.tell("server.preflighted", "worker", "server:srv", {"errors": 1}, findings="PUBLIC may connect.")
    story.tell("login.stray", "worker", "server:srv", {"disabled": True, "grant": "g7"}, login="jit_x")
    stranger = {"member_of": "jitscope_1", "removed": False}
    story.tell("login.stray", "worker", "server:srv", stranger, login="strange", why="It is no login of the portal's.")
    rows = folded("drift", story)
    assert [(row["what"], row["found"]) for row in rows] == [
        ("server not in order", "PUBLIC may connect."),
        ("unknown login", "jit_x"),
        ("unknown login", "strange\nIt is no login of the portal's."),
    ]
    assert rows[1]["grant"] == "g7"


def statement(story: Story, name: str, **facts: object) -> None:
    about = {"request": "r1", "holder": ALICE, "database": SHOP, "statement": name, "kind": "query"}
    sql = {"statement": "SELECT 1", "address": "192.0.2.1"}
    story.tell("statement.started", ALICE, "grant:g1", about | {"literals_kept": True} | facts, **sql)


def finished(story: Story, name: str, **facts: object) -> None:
    about = {"statement": name, "kind": "query", "outcome": "done", "rows": 3, "milliseconds": 12}
    story.tell("statement.finished", ALICE, "grant:g1", about | facts)


def test_statements_when_finished_tell_what_came_of_them() -> None:
    story = Story()
    statement(story, "s1")
    finished(story, "s1", bytes=7, sha256="ab")
    (row,) = folded("statements", story)
    assert (row["statement"], row["values_kept"], row["outcome"], row["rows"]) == ("SELECT 1", "yes", "done", 3)
    assert (row["sha256"], row["address"], row["transaction"], row["entries"]) == ("ab", "192.0.2.1", "", "5 6")


def test_statements_when_they_belong_to_a_transaction_tell_its_outcome() -> None:
    story = Story()
    for name in ("s1", "s2"):
        statement(story, name, kind="change", change="c1")
        finished(story, name, kind="change", affected=2)
    assert [row["transaction"] for row in folded("statements", story)] == ["open", "open"]
    story.tell("change.ended", ALICE, "grant:g1", {"change": "c1", "outcome": "rolled_back"})
    assert [row["transaction"] for row in folded("statements", story)] == ["rolled_back", "rolled_back"]


def test_statements_when_one_was_started_before_the_period_leave_it_out() -> None:
    story = Story()
    statement(story, "s1")
    since = story.wait(minutes=1)
    finished(story, "s1")
    statement(story, "s2")
    (row,) = folded("statements", story, all_of_it(since=since))
    assert row["outcome"] == "not ended"


def test_statements_when_the_text_was_erased_say_so() -> None:
    story = Story()
    statement(story, "s1")
    (row,) = folded("statements", erase(story.lines))
    assert row["statement"] == row["person"] == row["address"] == "[erased]"


def chained(lines: list[Line]) -> list[Line]:
    head, made = ZERO, []
    for line in lines:
        own = leaf(index=line.index, recorded_at=micros(line.recorded_at), recorded_by=line.recorded_by, body=line.body)
        head = link(head, own)
        made.append(line._replace(hash=head))
    return made


def two_days() -> list[Line]:
    story = Story()
    story.wait(days=1)
    story.whole_life()
    return chained(story.lines)


def test_integrity_when_the_record_is_whole_has_a_row_a_day() -> None:
    lines = two_days()
    first, second = folded("log-integrity", lines)
    assert (first["day"], first["first"], first["last"], first["entry_count"]) == ("2026-11-01", 0, 4, 5)
    assert (second["entries"], second["findings"], second["problems"]) == ("5-11", 0, "")
    assert second["last_hash"] == lines[-1].hash.hex()
    assert second["recorded_by"] == "jitportal_web: 5; jitportal_worker: 2"


def test_integrity_when_something_was_changed_or_is_missing_finds_it() -> None:
    lines = two_days()
    changed = [*lines[:6], lines[6]._replace(body=b"other"), *lines[7:]]
    first, second = folded("log-integrity", changed)
    assert (first["findings"], second["findings"]) == (0, 1)
    assert second["entries"] == "5-11 6"
    gone = [*lines[:6], *lines[7:]]
    assert "something is missing" in str(folded("log-integrity", gone)[1]["problems"])


def test_integrity_when_the_period_begins_later_trusts_the_hash_in_front_of_it() -> None:
    lines = two_days()
    asked = all_of_it(since=START + timedelta(days=1))
    (row,) = folded("log-integrity", lines[4:], asked)
    assert (row["first"], row["findings"]) == (5, 0)
    (row,) = folded("log-integrity", [lines[4]._replace(hash=bytes(32)), *lines[5:]], asked)
    assert (row["findings"], row["entries"]) == (1, "5-11 5")


def test_integrity_when_texts_were_erased_counts_them() -> None:
    lines = erase(two_days())
    assert sum(int(str(row["erased_texts"])) for row in folded("log-integrity", lines)) > 5


def test_readers_when_somebody_read_or_took_a_copy_tell_who_and_which() -> None:
    story = Story()
    story.tell("record.read", SAM, "record", {"hour": "2026-11-01T00:00:00.000000Z"})
    story.tell("record.exported", SAM, "record", {"since": None}, subjects="request:r1")
    story.tell("record.exported", SAM, "record", {"report": "approvals", "as": "csv", "size": 6})
    rows = folded("record-readers", story)
    assert [(row["what"], row["report"]) for row in rows] == [("read", ""), ("copy", ""), ("report", "approvals")]
    assert {row["person"] for row in rows} == {"Sam Sato"}
    assert rows[1]["looked_for"] == "subjects: request:r1"
