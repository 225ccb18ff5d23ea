"""Who had access: folds over lines made by hand."""

from datetime import timedelta

from tests.reports.lines import ALICE, BOB, DANA, START, Story, all_of_it, erase, folded


def test_grants_when_a_life_is_over_tell_all_of_it() -> None:
    story = Story()
    story.whole_life()
    (row,) = folded("access-grants", story)
    assert row["person"] == "Alice Ahrens"
    assert row["database"] == "shop"
    assert row["tables"] == "sales.orders"
    assert row["reason"] == "Two reports differ"
    assert row["approved_by"] == "Bob Becker (peer)"
    assert row["rule"] == "3: production"
    assert (row["end_cause"], row["status"], row["problems"]) == ("expired", "ended", "")
    assert row["seconds_open"] == "1980.000"  # 30 minutes, and what entries take
    acts = [story.lines[int(index)].action for index in str(row["entries"]).split()]
    assert acts == [
        "request.submitted",
        "decision.approved",
        "request.approved",
        "grant.queued",
        "grant.issued",
        "grant.ending",
        "grant.ended",
    ]


def test_grants_when_the_policy_said_yes_name_it() -> None:
    story = Story()
    story.ask(risk="low", rule="small and harmless")
    story.tell("request.approved", "policy", "request:r1", {"digest": "d1"})
    story.issue()
    (row,) = folded("access-grants", story)
    assert row["approved_by"] == "the policy"
    assert (row["status"], row["ended_at"], row["seconds_open"]) == ("open", "", "")


def test_grants_when_nothing_came_of_the_request_leave_it_out() -> None:
    story = Story()
    for request, action in (("r1", "denied"), ("r2", "cancelled"), ("r3", "lapsed")):
        story.ask(request)
        story.tell(f"request.{action}", "clock", f"request:{request}")
    story.ask("r4")
    assert folded("access-grants", story) == []


def test_grants_when_access_was_open_before_the_period_begin_tell_it() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    since = story.wait(days=1)
    until = story.wait(days=1)
    story.end()
    (row,) = folded("access-grants", story, all_of_it(since=since, until=until))
    assert row["status"] == "ended"  # its end is told, although it came later
    assert folded("access-grants", story, all_of_it(since=until + timedelta(days=1))) == []
    assert folded("access-grants", story, all_of_it(until=START)) == []


def test_grants_when_nothing_is_open_after_the_period_read_no_further() -> None:
    story = Story()
    story.whole_life()
    until = story.wait(minutes=1)
    story.ask("r2")
    story.whole_life("r3")
    read = []

    def lines() -> object:
        for line in story.lines:
            read.append(line)
            yield line

    from apps.reports.listing import REPORTS

    rows = list(REPORTS["access-grants"].fold(lines(), all_of_it(until=until)))  # type: ignore[arg-type]
    assert len(rows) == 1
    assert read[-1].subject == "request:r2"


def test_grants_when_access_was_asked_for_after_the_period_leave_it_out() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    until = story.wait(minutes=1)
    story.whole_life("r2", BOB)
    story.end("r1")
    (row,) = folded("access-grants", story, all_of_it(until=until))
    assert row["request"] == "r1"


def test_grants_when_the_opening_was_not_recorded_by_the_worker_do_not_believe_it() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    forged = story.issue(problem="Entry 8 says grant.issued, but jitportal_web recorded it: it does not count.")
    (row,) = folded("access-grants", story)
    assert row["status"] == "not proven to have opened"
    assert "it does not count" in str(row["problems"])
    assert str(forged.index) in str(row["entries"]).split()


def test_grants_when_the_end_was_not_recorded_by_the_worker_stay_open() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.end(problem="it does not count")
    (row,) = folded("access-grants", story)
    assert (row["status"], row["ended_at"]) == ("ending", "")
    assert row["problems"] == "it does not count"


def test_grants_when_an_end_was_forged_of_access_that_nobody_knows_show_it() -> None:
    story = Story()
    story.end("r9", problem="it does not count")
    (row,) = folded("access-grants", story)
    assert (row["grant"], row["status"]) == ("g-r9", "not proven to have opened")


def test_grants_when_narrowed_tell_what_was_left() -> None:
    story = Story()
    story.ask(tables=["sales.orders", "sales.customers"], table_count=2)
    left = {"database": "dbshop", "level": "query", "connection": "direct", "tables": ["sales.orders"]}
    story.tell("decision.narrowed", BOB, "request:r1", {**left, "table_count": 1, "from": "d1"})
    story.approve(last=True, narrowed_from="d1", digest="d2")
    story.issue()
    assert folded("access-grants", story)[0]["tables"] == "sales.orders"


def test_grants_when_made_longer_cite_the_request_for_more_time() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    more = story.ask("r2", extends="r1")
    story.approve("r2", DANA, last=True, kind="owner")
    story.grant("grant.extended", extension="r2", expires_at="2026-11-02T00:00:00.000000Z", minutes=120)
    story.end()
    (row,) = folded("access-grants", story)
    assert row["expires_at"] == "2026-11-02T00:00:00.000000Z"
    assert row["approved_by"] == "Bob Becker (peer); Dana Doe (owner)"
    assert str(more.index) in str(row["entries"]).split()


def test_grants_when_more_time_failed_forget_that_request() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.ask("r2", extends="r1")
    story.approve("r2", DANA, last=True)
    story.grant("grant.extend_failed", extension="r2", is_last=True, tries=1)
    story.end()
    assert [row["request"] for row in folded("access-grants", story)] == ["r1"]


def test_grants_when_people_were_erased_say_so() -> None:
    story = Story()
    story.whole_life()
    (row,) = folded("access-grants", erase(story.lines))
    assert row["person"] == row["reason"] == row["ticket"] == row["database"] == "[erased]"
    assert row["person_id"] == ALICE
    assert row["approved_by"] == "[erased] (peer)"


def test_grants_when_limited_to_a_person_or_a_database_leave_others_out() -> None:
    story = Story()
    story.whole_life("r1", ALICE)
    story.whole_life("r2", BOB)
    for name in ("bob", "Bob Becker", BOB):
        assert [row["request"] for row in folded("access-grants", story, all_of_it(person=name))] == ["r2"]
    assert folded("access-grants", story, all_of_it(person="nobody")) == []
    assert len(folded("access-grants", story, all_of_it(database="shop"))) == 2
    assert len(folded("access-grants", story, all_of_it(database="dbshop"))) == 2
    assert folded("access-grants", story, all_of_it(database="other")) == []


def test_active_access_when_asked_for_a_moment_tells_what_was_open_then() -> None:
    story = Story()
    story.whole_life("r1")
    story.ask("r2", BOB)
    story.approve("r2", ALICE, last=True)
    story.issue("r2")
    moment = story.wait(minutes=1)
    story.end("r2")
    (row,) = folded("active-access", story, all_of_it(until=moment))
    assert (row["request"], row["status"], row["overdue"], row["login"]) == ("r2", "open", "no", "jit_alice")
    assert folded("active-access", story) == []


def test_active_access_when_its_time_is_up_and_the_end_is_not_proven_says_overdue() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.wait(minutes=90)
    story.grant("grant.ending", cause="expired")
    story.grant("grant.end_failed", cause="expired", tries=1)
    (row,) = folded("active-access", story)
    assert (row["status"], row["overdue"]) == ("ending", "yes")


def test_sensitive_access_when_columns_are_shown_names_who_agreed_and_what_was_done() -> None:
    story = Story()
    story.ask(
        unmask=["sales.customers.email"], unmask_count=1, masked=["sales.customers.phone: hidden"], masked_count=1
    )
    story.approve()
    story.approve(who=DANA, kind="data_owner", last=True)
    story.issue()
    story.grant("credential.shown", ALICE)
    story.grant("statement.started", ALICE, statement="s1", kind="export")
    story.grant("statement.finished", ALICE, statement="s1", kind="export", rows=40, bytes=900)
    story.end()
    (row,) = folded("sensitive-access", story)
    assert row["unmasked"] == "sales.customers.email"
    assert row["masked"] == "sales.customers.phone: hidden"
    assert row["data_owners"] == "Dana Doe"
    assert [row[name] for name in ("credential_shown", "statements", "exports", "exported_rows")] == [1, 1, 1, 40]


def test_sensitive_access_when_nothing_is_classified_leaves_it_out() -> None:
    story = Story()
    story.whole_life()
    assert folded("sensitive-access", story) == []


def test_timeliness_when_proven_tells_how_long_it_took() -> None:
    story = Story()
    story.whole_life()
    (row,) = folded("revocation-timeliness", story)
    assert (row["seconds_to_clean"], row["seconds_to_proof"]) == ("2.000", "120.000")
    assert (row["in_time"], row["sessions_ended"], row["status"]) == ("no", 1, "ended")


def test_timeliness_when_revoked_names_who_and_why() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.grant("grant.revoked", DANA, reason="Wrong table")
    story.end(cause="revoked", since="2026-11-01T00:16:00.000000Z")
    (row,) = folded("revocation-timeliness", story)
    assert (row["end_cause"], row["ended_by"], row["why"]) == ("revoked", "Dana Doe", "Wrong table")


def test_timeliness_when_it_never_ended_says_so_loudly() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.wait(minutes=61)
    story.grant("grant.late", "clock", seconds=60, cause="expired")
    (row,) = folded("revocation-timeliness", story)
    assert (row["in_time"], row["alarms"], row["proven_at"], row["status"]) == ("no", 1, "", "open")


def test_timeliness_when_a_server_is_no_more_does_not_call_it_proven() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    story.end(proof={"unproven": True, "said_by": DANA})
    (row,) = folded("revocation-timeliness", story)
    assert (row["in_time"], row["status"]) == ("not known", "ended without proof")


def test_timeliness_when_access_is_live_and_not_due_leaves_it_out() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    story.issue()
    assert folded("revocation-timeliness", story, all_of_it(until=story.now + timedelta(minutes=1))) == []
