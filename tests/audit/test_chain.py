"""W3: verifiers are the weak point, so every way to change a chain is tried on ours."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.audit.chain import Head, Sealed, leaf, link, micros, verify, verify_end, verify_step

contents = st.tuples(st.integers(0, 5_000_000), st.sampled_from(["jitportal_web", "jitportal_worker"]), st.binary())


def build(parts: list[tuple[int, str, bytes]], start: int = 1_700_000_000_000_000) -> tuple[list[Sealed], Head]:
    """A whole chain of (µs since the entry before, recorded_by, body)."""
    head, entries, moment = Head(), [], start
    for passed, by, body in parts:
        moment += passed
        own = leaf(index=head.size, recorded_at=moment, recorded_by=by, body=body)
        entries.append(Sealed(head.size, moment, by, body, link(head.hash, own)))
        head = Head(head.size + 1, entries[-1].hash, moment)
    return entries, head


chains = st.lists(contents, min_size=1, max_size=8).map(build)
long_chains = st.lists(contents, min_size=2, max_size=8).map(build)


def flipped(data: bytes, at: int) -> bytes:
    position, bit = divmod(at, 8)
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


@given(chains)
def test_verify_when_nothing_was_changed_finds_nothing(chain: tuple[list[Sealed], Head]) -> None:
    entries, head = chain
    assert verify(entries, head) == []


@given(chains, st.data())
def test_verify_when_any_bit_is_flipped_finds_it(chain: tuple[list[Sealed], Head], data: st.DataObject) -> None:
    entries, head = chain
    place = data.draw(st.integers(0, len(entries) - 1))
    entry = entries[place]

    def bit(value: bytes) -> bytes:
        return flipped(value, data.draw(st.integers(0, len(value) * 8 - 1)))

    changes: dict[str, Callable[[], Any]] = {
        "hash": lambda: bit(entry.hash),
        "index": lambda: entry.index ^ 1 << data.draw(st.integers(0, 62)),
        "recorded_at": lambda: entry.recorded_at ^ 1 << data.draw(st.integers(0, 62)),
        "recorded_by": lambda: entry.recorded_by[:-1] + chr(ord(entry.recorded_by[-1]) ^ 1),
    }
    if entry.body:
        changes["body"] = lambda: bit(entry.body)
    field = data.draw(st.sampled_from(sorted(changes)))
    entries[place] = replace(entry, **{field: changes[field]()})
    assert verify(entries, head) != []


@given(chains, st.data())
def test_verify_when_an_entry_is_deleted_finds_it(chain: tuple[list[Sealed], Head], data: st.DataObject) -> None:
    entries, head = chain
    del entries[data.draw(st.integers(0, len(entries) - 1))]
    assert verify(entries, head) != []


@given(long_chains, st.data())
def test_verify_when_entries_change_places_finds_it(chain: tuple[list[Sealed], Head], data: st.DataObject) -> None:
    entries, head = chain
    order = data.draw(st.permutations(range(len(entries))))
    assume(order != list(range(len(entries))))
    assert verify([entries[place] for place in order], head) != []


@given(chains, st.data())
def test_verify_when_an_entry_is_doubled_finds_it(chain: tuple[list[Sealed], Head], data: st.DataObject) -> None:
    entries, head = chain
    source = data.draw(st.integers(0, len(entries) - 1))
    entries.insert(data.draw(st.integers(0, len(entries))), entries[source])
    assert verify(entries, head) != []


@given(chains, st.data())
def test_verify_when_head_or_tail_is_cut_off_finds_it(chain: tuple[list[Sealed], Head], data: st.DataObject) -> None:
    entries, head = chain
    cut = data.draw(st.integers(1, len(entries)))
    assert verify(entries[cut:], head) != []
    assert verify(entries[:-cut], head) != []


@given(chains, contents)
def test_verify_when_an_entry_is_appended_past_the_head_finds_it(
    chain: tuple[list[Sealed], Head], extra: tuple[int, str, bytes]
) -> None:
    entries, head = chain
    passed, by, body = extra
    own = leaf(index=head.size, recorded_at=head.recorded_at + passed, recorded_by=by, body=body)
    entries.append(Sealed(head.size, head.recorded_at + passed, by, body, link(head.hash, own)))
    assert verify(entries, head) != []


@given(long_chains, st.data())
def test_verify_when_history_is_rewritten_in_the_same_size_finds_it(
    chain: tuple[list[Sealed], Head], data: st.DataObject
) -> None:
    """A forger who can hash makes a chain that is whole in itself; only the checkpoint tells."""
    entries, head = chain
    place = data.draw(st.integers(0, len(entries) - 1))
    parts = [(0, entry.recorded_by, entry.body) for entry in entries]
    parts[place] = (0, parts[place][1], parts[place][2] + b"!")
    forged, forged_head = build(parts)
    assert verify(forged, forged_head) == []
    assert verify(forged, head) != []


def test_verify_when_time_runs_backwards_finds_it() -> None:
    parts = [(5, "jitportal_web", b"{}"), (-1, "jitportal_web", b"{}")]
    entries, head = build(parts)
    assert len(verify(entries, head)) == 1


def test_verify_when_one_entry_was_altered_names_that_one_alone() -> None:
    entries, head = build([(1, "jitportal_web", b"%d" % number) for number in range(9)])
    entries[4] = replace(entries[4], body=b"forged")
    (problem,) = verify(entries, head)
    assert problem.startswith("Entry 4:")


def test_verify_end_when_the_record_was_set_back_says_how_far() -> None:
    _, head = build([(1, "jitportal_web", b"a"), (1, "jitportal_web", b"b")])
    (problem,) = verify_end(Head(1, bytes(32), 0), head)
    assert "1 entries" in problem
    assert "2" in problem


def test_verify_step_when_the_role_and_body_are_shifted_against_each_other_finds_it() -> None:
    """recorded_by ends at the NUL: `a` + `b{}` and `ab` + `{}` are different entries."""
    hash_ = link(Head().hash, leaf(index=0, recorded_at=0, recorded_by="ab", body=b"{}"))
    _, problems = verify_step(Head(), Sealed(0, 0, "a", b"b{}", hash_))
    assert problems


def test_leaf_when_written_out_by_hand_is_the_formula_of_the_format() -> None:
    hand = sha256(b"\x00" + (7).to_bytes(8, "big") + (1_000_001).to_bytes(8, "big") + b"jitportal_web\x00{}").digest()
    assert leaf(index=7, recorded_at=1_000_001, recorded_by="jitportal_web", body=b"{}") == hand
    assert link(bytes(32), hand) == sha256(b"\x01" + bytes(32) + hand).digest()


@pytest.mark.parametrize("year", [1900, 1969, 1970, 2026, 9999])
def test_micros_when_far_from_1970_is_exact(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert micros(moment) - micros(moment.replace(microsecond=0)) == 999_999
