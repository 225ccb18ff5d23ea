"""The fast way through the record beside the slow one, which is written out here: whatever was tampered with, both
find the same.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.audit import canonical, following
from apps.audit.actions import WORKER_ROLE
from apps.audit.body import columns, read
from apps.audit.chain import Head, Sealed, leaf, link, verify_step
from apps.audit.checks import Lives, check_seal, check_texts, listed_wrongly
from apps.audit.following import Findings
from apps.audit.reader import FROM_2000, Stretch, micros
from apps.core.errors import Invalid
from tests.support import record

START = 850_000_000_000_000  # µs since 2000


class Tables:
    """What a stretch is read from: lists of rows that a test may change."""

    def __init__(self, count: int) -> None:
        self.seals: list[list[Any]] = []
        self.bodies: list[bytes | None] = []
        self.texts: dict[int, list[tuple[str, bytes, str | None]]] = {}
        head = Head()
        for index in range(count):
            action = ("request.submitted", "grant.issued", "record.read")[index % 3]
            subject = f"request:ä{index}" if index % 4 == 1 else f"request:{index}"
            told = {"person": f"Ünal {index}", "reason": f"Ticket {index}"} if index % 2 else {}
            database = "d1" if index % 3 == 0 else None
            facts = {
                **({"database": database} if database else {}),
                "n": index,
                "tables": ["a.b"],
                "proof": {"n": [1, {"at": None}]},
                "odd": "\x1f" * (index % 5 == 2),
            }
            body = record.body(action=action, subject=subject, facts=facts, **told)
            moment = START + index // 2
            sealing = leaf(index=index, recorded_at=moment + FROM_2000, recorded_by=WORKER_ROLE, body=body)
            head = Head(index + 1, link(head.hash, sealing), moment)
            self.seals.append(
                [index, moment, WORKER_ROLE, head.hash, action, "user:alice", subject, 100 + index, database]
            )
            self.bodies.append(body)
            if told:
                self.texts[100 + index] = [(name, record.SALT, value) for name, value in told.items()]

    def stretch(self) -> Stretch:
        return Stretch(None, [tuple(seal) for seal in self.seals], self.bodies, self.texts, False)  # type: ignore[arg-type, misc]

    def first(self, subject: str, before: int) -> str | None:
        """As the database answers."""
        found = [seal for seal in self.seals if seal[6] == subject and seal[0] < before]
        return min(found)[8] if found else None


def slowly(head: Head, stretch: Stretch, against: following.Against, lives: Lives) -> tuple[Head, Findings]:
    """Entry by entry, by the judges that have the sentences."""
    findings = Findings()
    for place, (index, recorded_at, recorded_by, digest, action, actor, subject, _, database) in enumerate(
        stretch.seals
    ):
        raw = stretch.body(place)
        head, problems = verify_step(head, Sealed(index, micros(recorded_at), recorded_by, raw or b"", digest))
        findings.add(problems)
        findings.add(following.check_passed(head, against))
        if raw is None:
            findings.add([f"Entry {index} is gone; only its seal is left."])
            continue
        try:
            canonical.judge(raw)
            body = read(raw)
        except Invalid as error:
            findings.add([f"Entry {index} was not written by the portal's code. {error.sentence}"])
            continue
        texts = stretch.texts_of(place)
        findings.add(
            [*check_seal(index, (action, actor, subject), recorded_by, body), *check_texts(index, texts, body)]
        )
        if not lives.is_listed_of_itself(index, database, body.subject, body.facts):
            findings.add([listed_wrongly(index)])
        findings.erased += len(body.commitments.keys() - {name for name, _, _ in texts})
    return head, findings


def both(tables: Tables, against: following.Against = None) -> Findings:
    """What the fast way finds, when the slow one finds the same."""
    stretch, fast = tables.stretch(), Findings()
    head = following._follow(Head(), stretch, against, Lives(tables.first), fast)
    expected, slow = slowly(Head(), stretch, against, Lives(tables.first))
    assert head == expected
    assert sorted(fast.problems) == sorted(slow.problems)
    assert (fast.problem_count, fast.erased) == (slow.problem_count, slow.erased)
    return fast


def test_follow_when_all_is_well_finds_nothing() -> None:
    tables = Tables(20)
    assert following._links(Head(), tables.stretch())
    assert set(following._odd(tables.stretch(), Lives(tables.first))) == {
        2,
        7,
        12,
        17,
    }  # control characters: only the slow judge reads them
    found = both(tables, (7, tables.seals[6][3].hex().upper()))
    assert (found.problem_count, found.erased) == (0, 0)


def test_follow_when_the_checkpoint_is_another_says_so_once() -> None:
    tables = Tables(20)
    assert both(tables, (7, "00" * 32)).problem_count == 1
    tables.seals[10][3] = bytes(32)
    assert sum("checkpoint" in problem for problem in both(tables, (7, "00" * 32)).problems) == 1


_changes: dict[str, Callable[[Tables, int, int], object]] = {
    "index": lambda t, n, m: t.seals[n].__setitem__(0, m),
    "time": lambda t, n, m: t.seals[n].__setitem__(1, START + 7 * m),
    "no time": lambda t, n, m: t.seals[n].__setitem__(1, (2**63 - 1, -(2**63), 10**18)[m % 3]),
    "role": lambda t, n, m: t.seals[n].__setitem__(2, "jitportal_web"),
    "hash": lambda t, n, m: t.seals[n].__setitem__(3, bytes([m]) * 32),
    "action": lambda t, n, m: t.seals[n].__setitem__(4, ("grant.issued", "x", "request.submitted")[m % 3]),
    "actor": lambda t, n, m: t.seals[n].__setitem__(5, "user:bob"),
    "database": lambda t, n, m: t.seals[n].__setitem__(8, ("d2", None, "d1")[m % 3]),
    "subject": lambda t, n, m: t.seals[n].__setitem__(6, f"request:{m}"),
    "body": lambda t, n, m: t.bodies.__setitem__(n, t.bodies[m]),
    "a byte": lambda t, n, m: t.bodies.__setitem__(n, (t.bodies[n] or b"").replace(b"1", b"2", 1 + m)),
    "another form": lambda t, n, m: t.bodies.__setitem__(n, (t.bodies[n] or b"") + b" "),
    "no keys": lambda t, n, m: t.bodies.__setitem__(n, b"{}"),
    "no JSON": lambda t, n, m: t.bodies.__setitem__(n, b"{"),
    "floating point": lambda t, n, m: t.bodies.__setitem__(n, (t.bodies[n] or b"").replace(b'"n":', b'"n":1.5,"o":')),
    "texts gone": lambda t, n, m: t.texts.pop(100 + n, None),
    "text": lambda t, n, m: t.texts.__setitem__(100 + n, [("person", record.SALT, "forged")]),
    "text more": lambda t, n, m: t.texts.setdefault(100 + n, []).append(("more", record.SALT, "forged")),
    "text doubled": lambda t, n, m: t.texts.setdefault(100 + n, []).insert(0, ("person", record.SALT, "forged")),
    "doubled": lambda t, n, m: (t.seals.insert(n, list(t.seals[n])), t.bodies.insert(n, t.bodies[n])),
    "gone": lambda t, n, m: (t.seals.pop(n), t.bodies.pop(n)),
    "swapped": lambda t, n, m: t.seals.__setitem__(slice(n, n + 2), t.seals[n : n + 2][::-1]),
}


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(sorted(_changes)), st.integers(0, 8), st.integers(0, 8)), max_size=4))
def test_follow_when_anything_was_changed_finds_what_the_slow_way_finds(changes: list[tuple[str, int, int]]) -> None:
    tables = Tables(20)
    for name, place, other in changes:
        _changes[name](tables, place, other)
    both(tables, (5, tables.seals[4][3].hex()))


@pytest.mark.parametrize("name", sorted(set(_changes) - {"texts gone"}))
def test_follow_when_one_thing_was_changed_finds_it(name: str) -> None:
    tables = Tables(20)
    _changes[name](tables, 3, 1)
    assert both(tables).problem_count


def test_follow_when_seals_were_resealed_after_the_body_was_changed_still_judges_the_body() -> None:
    """Hashes that follow say nothing of who wrote what they follow from."""
    tables, previous = Tables(20), bytes(32)
    tables.bodies[3] = b'{"a":1.5}'
    for seal, body in zip(tables.seals, tables.bodies, strict=True):
        sealing = leaf(index=seal[0], recorded_at=seal[1] + FROM_2000, recorded_by=seal[2], body=body or b"")
        previous = seal[3] = link(previous, sealing)
    assert both(tables).problem_count == 1


def test_follow_when_a_column_is_null_finds_it() -> None:
    for place in (2, 3):
        tables = Tables(5)
        tables.seals[2][place] = None
        found = Findings()
        following._follow(Head(), tables.stretch(), None, Lives(tables.first), found)
        assert found.problem_count


_bodies = st.builds(
    lambda told, facts, cut, more: record.body(facts=facts, **told)[cut:] + more,
    st.dictionaries(st.sampled_from(["person", "reason"]), st.text("aä", max_size=2)),
    st.dictionaries(st.sampled_from(["a", "b", "ä"]), st.integers(-3, 3) | st.lists(st.text("a\x1f😀", max_size=2))),
    st.sampled_from([0] * 9 + [1]),
    st.sampled_from([b""] * 9 + [b" "]),
) | st.sampled_from([b"{}", b'{"action":"a","actor":"b","at":1,"disclosed":{},"facts":{},"subject":"s"}'])


@given(st.lists(_bodies, min_size=1, max_size=6))
def test_columns_when_given_many_bodies_hold_what_is_in_each_alone(raws: list[bytes]) -> None:
    held = columns(raws)
    for place, raw in enumerate(raws):
        if place not in held.odd:
            canonical.judge(raw)
            body = read(raw)
            of_it = (held.action[place], held.actor[place], held.at[place], held.subject[place], held.facts[place])
            assert of_it == (body.action, body.actor, body.at, body.subject, body.facts)
            assert held.disclosed[place] == {field: {"commit": commit} for field, commit in body.commitments.items()}


def test_columns_when_one_body_is_empty_and_another_cannot_be_read_takes_neither() -> None:
    assert columns([record.body(), b"{}", b"{"]).odd == {1, 2}
