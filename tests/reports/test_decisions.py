"""Decisions, and where duties were not apart."""

from tests.reports.lines import ALICE, BOB, DANA, SHOP, Story, all_of_it, erase, folded


def test_approvals_when_a_person_decides_tell_who_what_and_how_fast() -> None:
    story = Story()
    story.ask()
    story.approve(last=True)
    (row,) = folded("approvals", story)
    assert (row["decision"], row["decider"], row["asker"]) == ("approved", "Bob Becker", "Alice Ahrens")
    assert (row["step"], row["comment"], row["digest"], row["narrowed"]) == ("peer", "Fine", "d1", "no")
    assert row["seconds_to_decide"] == "60.000"
    assert (row["exceptions"], row["problems"]) == ("", "")
    assert row["entries"] == "5 6"


def test_approvals_when_the_policy_or_the_portal_decides_say_which() -> None:
    story = Story()
    story.ask("r1")
    story.tell("request.approved", "policy", "request:r1", {"digest": "d1"})
    story.ask("r2")
    story.tell("request.denied", "clock", "request:r2", {"left": True}, why="The account was closed.")
    rows = folded("approvals", story)
    assert [(row["decision"], row["decider"], row["step"]) for row in rows] == [
        ("approved", "the policy", "at once"),
        ("denied", "the portal", ""),
    ]
    assert rows[1]["comment"] == "The account was closed."


def test_approvals_when_denied_by_a_person_tell_it_once() -> None:
    story = Story()
    story.ask()
    for action in ("decision.denied", "request.denied"):
        story.tell(action, BOB, "request:r1", {"digest": "d1", "kind": "peer"}, comment="No")
    (row,) = folded("approvals", story)
    assert (row["decision"], row["comment"]) == ("denied", "No")


def test_approvals_when_narrowed_cite_both_entries() -> None:
    story = Story()
    asked = story.ask()
    narrowed = story.tell("decision.narrowed", BOB, "request:r1", {"from": "d1", "digest": "d2"})
    yes = story.approve(narrowed_from="d1", digest="d2")
    (row,) = folded("approvals", story)
    assert row["narrowed"] == "yes"
    assert row["entries"] == f"{asked.index} {narrowed.index} {yes.index}"


def test_approvals_when_two_people_approve_each_other_name_the_other_request() -> None:
    story = Story()
    story.ask("r1", ALICE)
    first = story.approve("r1", BOB, last=True)
    story.ask("r2", BOB)
    second = story.approve("r2", ALICE, last=True)
    before, after = folded("approvals", story)
    assert before["exceptions"] == ""
    assert after["exceptions"] == "reciprocal: the asker said yes to the decider's request r1"
    assert {str(first.index), str(second.index)} <= set(str(after["entries"]).split())


def test_approvals_when_the_other_yes_was_before_the_period_are_not_reciprocal() -> None:
    story = Story()
    story.ask("r1", ALICE)
    story.approve("r1", BOB, last=True)
    since = story.wait(days=1)
    story.ask("r2", BOB)
    story.approve("r2", ALICE, last=True)
    (row,) = folded("approvals", story, all_of_it(since=since))
    assert row["exceptions"] == ""


def test_approvals_when_the_asker_had_changed_a_rule_lately_name_the_change() -> None:
    story = Story()
    change = story.tell("policy.changed", ALICE, "policy:4", {"change": "changed"})
    story.wait(days=6)
    story.ask()
    story.approve()
    (row,) = folded("approvals", story)
    assert row["exceptions"] == "the asker made a change before asking: policy.changed"
    assert str(change.index) in str(row["entries"]).split()


def test_approvals_when_the_change_is_older_than_a_week_are_clean() -> None:
    story = Story()
    story.tell("policy.changed", ALICE, "policy:4")
    story.wait(days=7)
    story.ask()
    story.approve()
    assert folded("approvals", story)[0]["exceptions"] == ""


def test_approvals_when_the_decider_changed_a_group_after_the_request_name_the_change() -> None:
    story = Story()
    story.ask()
    story.tell("account.groups_changed", DANA, BOB, {"source": "manual", "added": [1]}, added="owners")
    story.tell("rights.changed", DANA, f"database:{SHOP}", {"present": True}, group="owners")
    story.approve(who=DANA)
    (row,) = folded("approvals", story)
    assert row["exceptions"] == (
        "the decider made a change before deciding: account.groups_changed; "
        "the decider made a change before deciding: rights.changed"
    )


def test_approvals_when_single_sign_on_changed_groups_are_clean() -> None:
    story = Story()
    story.tell("account.groups_changed", ALICE, ALICE, {"source": "sso", "added": [1]})
    story.ask()
    story.approve()
    assert folded("approvals", story)[0]["exceptions"] == ""


def test_approvals_when_somebody_decided_on_their_own_request_say_so() -> None:
    story = Story()
    story.ask()
    story.approve(who=ALICE)
    assert folded("approvals", story)[0]["exceptions"] == "own request: asker and decider are one person"


def test_approvals_when_people_were_erased_say_so() -> None:
    story = Story()
    story.ask()
    story.approve()
    (row,) = folded("approvals", erase(story.lines))
    assert row["decider"] == row["asker"] == row["comment"] == row["reason"] == "[erased]"


def test_approvals_when_an_entry_is_not_to_be_believed_show_its_problem() -> None:
    story = Story()
    story.ask()
    about = {"kind": "peer", "digest": "d1"}
    story.tell("decision.approved", BOB, "request:r1", about, problem="It is listed under another actor.")
    (row,) = folded("approvals", story)
    assert row["problems"] == "It is listed under another actor."


def test_denied_when_requests_and_attempts_were_refused_tell_whom_and_why() -> None:
    story = Story()
    story.ask()
    story.tell("request.denied", "policy", "request:r1", {"reasons": ["Cards stay masked."]})
    story.tell("decision.refused", BOB, "request:r2", {"status": 403}, why="Nobody decides their own.")
    story.tell("request.refused", ALICE, f"database:{SHOP}", {"field": "tables"}, why="There is no such table.")
    story.tell(
        "grant.refused", BOB, "grant:g1", {"tried": "credential", "status": 403}, why="A credential is personal."
    )
    story.tell("account.sign_in_refused", "sign-in:unknown", "user:mallory", why="wrong password")
    rows = folded("denied", story)
    assert [(row["what"], row["person"], row["database"], row["why"]) for row in rows] == [
        ("request denied", "Alice Ahrens", "shop", "Cards stay masked."),
        ("decision refused", "Bob Becker", "", "Nobody decides their own."),
        ("request not possible", "Alice Ahrens", "shop", "There is no such table."),
        ("use or end of access refused", "Bob Becker", "", "A credential is personal."),
        ("sign-in refused", "mallory", "", "wrong password"),
    ]
    assert rows[0]["decided_by"] == "the policy"
    assert rows[0]["entries"] == "5 6"
    assert (rows[3]["tried"], rows[3]["status"]) == ("credential", 403)


def test_denied_when_the_request_was_made_before_the_period_knows_who_asked() -> None:
    story = Story()
    story.ask()
    since = story.wait(hours=1)
    story.tell("request.denied", BOB, "request:r1", comment="No")
    (row,) = folded("denied", story, all_of_it(since=since))
    assert (row["person"], row["decided_by"], row["why"]) == ("Alice Ahrens", "Bob Becker", "No")
