"""verify.py against forgers (field notes W3): whoever can hash, and cannot sign, gets nothing past it.

Two kinds of forgery: with the files' hashes in the manifest left as they were, and with everything hashed anew.
"""

import contextlib
import functools
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.actions import WORKER_ONLY, WORKER_ROLE
from apps.audit.chain import ZERO, Sealed, micros
from apps.audit.notes import Signer, new_signer
from apps.audit.offline import verify as program
from apps.audit.offline.verify import Pin, Unreadable, read_pin
from apps.core.errors import Invalid
from tests.audit import bundles
from tests.audit.bundles import MINUTE, ORIGIN, SIGNER, START, Evidence, Json, Text, evidence, forged, key_said, note
from tests.support import record

PIN = Pin(SIGNER.key)
WHOLE = evidence()


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same few signatures are checked again and again here; test_ed25519.py is about how."""
    monkeypatch.setattr(program, "is_signed", _is_signed)


_is_signed = functools.cache(program.is_signed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bundle.zip"


@pytest.fixture
def found(path: Path) -> Callable[..., list[str]]:
    """What does not hold of a bundle; `bundle` is one or the bytes of one."""

    def check(bundle: Evidence | bytes, *pins: Pin, kept: tuple[str, ...] = ()) -> list[str]:
        if isinstance(bundle, bytes):
            path.write_bytes(bundle)
        else:
            bundle.write(path)
        findings = program.verify(str(path), list(pins or (PIN,)), kept)
        assert findings.count == len(findings.problems)
        return list(findings.problems)

    return check


@pytest.fixture
def unreadable(found: Callable[..., list[str]]) -> Callable[..., str]:
    def check(bundle: Evidence | bytes) -> str:
        with pytest.raises(Unreadable) as refusal:
            found(bundle)
        return str(refusal.value)

    return check


Found = Callable[..., list[str]]
UnreadableBy = Callable[..., str]


def files_of(bundle: Evidence) -> dict[str, bytes]:
    files = bundle.files()
    return {"manifest.json": json.dumps(bundle.manifest(files)).encode(), **files}


def zipped(files: dict[str, bytes], path: Path) -> bytes:
    return bundles.write_zip(path, files).read_bytes()


def without(bundle: Evidence, *indexes: int) -> list[Sealed]:
    return [entry for entry in bundle.entries if entry.index not in indexes]


# A whole one ----------------------------------------------------------------------------------------------------------


def test_verify_when_whole_finds_nothing_and_says_what_it_proved(path: Path, found: Found) -> None:
    assert found(WHOLE) == []
    findings = program.verify(str(path), [PIN])
    assert any("Entries 0 to 4" in said for said in findings.proved)
    assert any(said.startswith("3 signed checkpoints") for said in findings.proved)
    assert any(said.startswith("2 texts") for said in findings.proved)
    assert any("1 texts" in said and "erased" in said for said in findings.unproven)
    assert any(str(SIGNER.key) in said for said in findings.unproven)
    assert not any("before the bundle" in said for said in findings.unproven)


def test_verify_when_it_begins_later_says_that_nothing_before_is_proved(path: Path, found: Found) -> None:
    later = part(first=1)
    assert found(later) == []
    assert any("the 1 entries before" in said for said in program.verify(str(path), [PIN]).unproven)


def part(*, first: int, last: int = 4, **more: Json) -> Evidence:
    """A bundle of some of the entries, with the notes that fit."""
    entries = WHOLE.entries[first : last + 1]
    before = WHOLE.entries[first - 1].hash if first else ZERO
    notes = tuple(note(WHOLE.entries, size) for size in (2, 3, 4, 5) if first <= size <= last + 1)
    texts = tuple(text for text in WHOLE.texts if first <= text.index <= last)
    since, until = START + first * MINUTE + MINUTE / 2, START + last * MINUTE
    said = {"before": before, "notes": notes, "texts": texts, "since": since, "until": until}
    return replace(WHOLE, entries=entries, first=first, last=last, **(said | more))


def test_verify_when_several_keys_have_signed_takes_each_for_its_sizes(found: Found) -> None:
    newer = new_signer(ORIGIN)
    notes = (note(WHOLE.entries, 2), note(WHOLE.entries, 3), note(WHOLE.entries, 3, signer=newer))
    rotated = replace(
        WHOLE,
        notes=(*notes, note(WHOLE.entries, 5, signer=newer)),
        keys=[key_said(last=3), key_said(newer, first=3)],
    )
    assert found(rotated, PIN, Pin(newer.key)) == []
    assert len(found(rotated, PIN)) == 3  # two notes nobody pinned a key of, and so nothing covers the end


def test_verify_when_the_words_of_workers_are_asked_for_knows_the_same_as_the_portal() -> None:
    assert {action.value for action in WORKER_ONLY} == program.WORKER_ONLY
    assert program.WORKER.decode() == WORKER_ROLE


# Every byte -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entries.jsonl", "checkpoints.jsonl", "disclosures.jsonl", "keys.json"])
def test_verify_when_any_byte_is_another_finds_it_even_with_its_hash_made_anew(
    name: str, path: Path, found: Found
) -> None:
    files = WHOLE.files()
    for place in range(len(files[name])):
        changed = bytearray(files[name])
        changed[place] ^= 1 << place % 7
        held = {**files, name: bytes(changed)}
        for listed in (files, held):
            if name == "keys.json" and listed is held:
                continue  # nobody has signed it: of_keys() below
            manifest = json.dumps(WHOLE.manifest(listed)).encode()
            raw = zipped({"manifest.json": manifest, **held}, path)
            with contextlib.suppress(Unreadable):
                assert found(raw), (place, changed)


def test_verify_when_any_byte_of_the_zip_is_another_finds_it_or_reads_the_same(path: Path) -> None:
    """A zip tells some things twice and some to nobody (times, rights): those change nothing."""
    raw = WHOLE.write(path).read_bytes()
    same = 0
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :])
        try:
            same += program.verify(str(path), [PIN]).count == 0
        except Unreadable:
            continue
    assert same < len(WHOLE.files()) * 45


@pytest.mark.parametrize("cut", [1, 21, 22, 23, 100, 500])
def test_verify_when_the_zip_is_cut_or_has_something_around_it_cannot_be_read(
    cut: int, path: Path, unreadable: UnreadableBy
) -> None:
    raw = WHOLE.write(path).read_bytes()
    for changed in (raw[:-cut], raw[cut:], raw + bytes(cut), bytes(cut) + raw, raw[:-22] + bytes(cut) + raw[-22:]):
        assert unreadable(changed)


# Entries --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", range(5))
def test_verify_when_an_entry_is_missing_finds_it(gone: int, found: Found) -> None:
    assert found(replace(WHOLE, entries=tuple(without(WHOLE, gone))))
    texts = tuple(text for text in WHOLE.texts if text.index != gone)
    assert found(forged(WHOLE, without(WHOLE, gone), texts=texts))


@pytest.mark.parametrize("place", range(4))
def test_verify_when_entries_have_changed_places_finds_it(place: int, found: Found) -> None:
    entries = list(WHOLE.entries)
    entries[place], entries[place + 1] = entries[place + 1], entries[place]
    assert found(replace(WHOLE, entries=tuple(entries)))
    swapped = [
        replace(entry, recorded_at=WHOLE.entries[number].recorded_at, index=number)
        for number, entry in enumerate(entries)
    ]
    assert found(forged(WHOLE, swapped, texts=()))


@pytest.mark.parametrize("place", range(5))
def test_verify_when_an_entry_is_doubled_finds_it(place: int, found: Found) -> None:
    entries = [*WHOLE.entries[: place + 1], *WHOLE.entries[place:]]
    assert found(replace(WHOLE, entries=tuple(entries)))
    assert found(forged(WHOLE, entries))


@pytest.mark.parametrize("place", range(5))
def test_verify_when_an_entry_says_something_else_finds_it(place: int, found: Found) -> None:
    other = replace(WHOLE.entries[place], body=record.body(subject="request:another"))
    entries = [other if entry.index == place else entry for entry in WHOLE.entries]
    texts = tuple(text for text in WHOLE.texts if text.index != place)
    (problem,) = found(replace(WHOLE, entries=tuple(entries), texts=texts))
    assert problem == f"The hash of entry {place} does not follow from its content and the entry before it."
    assert any("of another history" in said for said in found(forged(WHOLE, entries, texts=texts)))


@pytest.mark.parametrize("what", ["recorded_at", "recorded_by", "index"])
def test_verify_when_who_when_or_where_is_another_finds_it(what: str, found: Found) -> None:
    old = WHOLE.entries[3]
    other = replace(old, **{what: {"recorded_at": old.recorded_at + 1, "recorded_by": "else", "index": 7}[what]})
    entries = tuple(other if entry is old else entry for entry in WHOLE.entries)
    assert any("hash of entry" in said for said in found(replace(WHOLE, entries=entries)))


def test_verify_when_time_goes_back_finds_it_although_it_is_signed(found: Found) -> None:
    told = [(body, by) for body, by, _ in bundles.bodies()]
    entries = bundles.chained(told, at=lambda index: START + (index - 2 * (index == 2)) * MINUTE)
    bundle = replace(WHOLE, entries=entries, notes=(note(entries, 5),))
    (problem,) = found(bundle)
    assert problem == "Entry 2 was recorded before the entry in front of it."
    same = bundles.chained(told, at=lambda index: START + (index - (index == 2)) * MINUTE)
    assert found(replace(bundle, entries=same, notes=(note(same, 5),))) == []  # the same microsecond is no way back


@pytest.mark.parametrize("action", sorted(WORKER_ONLY))
def test_verify_when_the_web_says_what_only_a_worker_can_know_finds_it(action: str, found: Found) -> None:
    told = [(record.body(action=action), "jitportal_web"), *[(body, by) for body, by, _ in bundles.bodies()[1:]]]
    entries = bundles.chained(told)
    (problem,) = found(replace(WHOLE, entries=entries, notes=(note(entries, 5),)))
    assert problem == f"Entry 0 says {action}, but no worker recorded it: it does not count."


BODIES = [
    b"{}",
    b"[]",
    b"nonsense",
    b'{"a":1}',
    b"\xff",
    b"[" * 40_000,
    record.body() + b" ",
    b" " + record.body(),
    record.body().replace(b'"facts":{}', b'"facts":[]'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":[]'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":"b"}'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":{"commit":"b"}}'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":{"commit":"' + b"A" * 64 + b'"}}'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":{"commit":1}}'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":{"b":"' + b"a" * 64 + b'"}}'),
    record.body().replace(b'"disclosed":{}', b'"disclosed":{"a":{"commit":"' + b"a" * 64 + b'","x":1}}'),
    record.body().replace(b'"request:r1"', b"1"),
    record.body().replace(b'"user:alice"', b"null"),
    record.body().replace(b'"request.submitted"', b"true"),
    record.body().replace(b'"2026-11-22T12:00:00.000000Z"', b"20261122"),
    record.body().replace(b'"facts":{}', b'"facts":{"a":1.0}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":1e3}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":-0}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":NaN}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":9007199254740992}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":-9007199254740992}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":' + b"9" * 5_000 + b"}"),
    record.body().replace(b'"facts":{}', b'"facts":{"b":1,"a":1}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":1,"a":1}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a": 1}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":"\\u0041"}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":"\\u0000"}'),
    record.body().replace(b'"facts":{}', b'"facts":{"\\u0000":"a"}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":["\\u0000"]}'),
    record.body().replace(b'"facts":{}', b'"facts":{"a":"\\ud800"}'),
    record.body().replace(b'"facts":{}', '"facts":{"\ufb33":1,"\U0001f600":2}'.encode()),
    record.body().replace(b'"facts":{}', b'"facts":{"a":' + b"[" * 31 + b"]" * 31 + b"}"),
    record.body().replace(b'"facts":{}', b'"facts":{"a":"' + b"x" * 65_536 + b'"}'),
    record.body().replace(b'"facts":{}', b'"facts":{},"more":1'),
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_verify_when_a_body_is_not_what_the_portal_writes_finds_it_although_it_is_signed(
    body: bytes, found: Found
) -> None:
    entries = bundles.chained([(body, "jitportal_web"), *[(body, by) for body, by, _ in bundles.bodies()[1:]]])
    (problem,) = found(replace(WHOLE, entries=entries, notes=(note(entries, 5),)))
    assert problem.startswith("The body of entry 0 ")


@pytest.mark.parametrize(
    "facts",
    [
        {"a": 9007199254740991, "b": -9007199254740991},
        {"a": "\\u0000", "b": '\x01\x1f\b\f\n\r\t\x7f"\\/', "c": "é\u2028"},
        {"\U0001f600": 1, "\ufb33": {"ü": [True, False, None]}},
        json.loads('{"a":' * 30 + "1" + "}" * 30),
        {"lists": [[] for _ in range(40)]},
        {"a": "x" * 65_000},
    ],
)
def test_verify_when_a_body_is_an_odd_one_of_the_portal_takes_it(facts: Json, found: Found) -> None:
    body = record.body(facts=facts)
    entries = bundles.chained([(body, "jitportal_web"), *[(body, by) for body, by, _ in bundles.bodies()[1:]]])
    assert found(replace(WHOLE, entries=entries, notes=(note(entries, 5),))) == []


def test_verify_when_a_body_is_as_long_as_can_be_takes_it_and_not_a_byte_more(found: Found) -> None:
    room = 65_536 - len(record.body(facts={"a": ""}))
    longest = record.body(facts={"a": "x" * room})
    for body, problems in ((longest, 0), (longest.replace(b'"x', b'"xx'), 1)):
        entries = bundles.chained([(body, "jitportal_web"), *[(body, by) for body, by, _ in bundles.bodies()[1:]]])
        assert len(found(replace(WHOLE, entries=entries, notes=(note(entries, 5),)))) == problems


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"index":3,', b'{"index":03,'),
        (b'{"index":3,', b'{"index":3.0,'),
        (b'{"index":3,', b'{ "index":3,'),
        (b'{"index":3,', b'{"index":9,"index":3,'),
        (b'{"index":3,', b""),
        (b"12:03:00.000000Z", b"12:03:00Z"),
        (b"12:03:00.000000Z", b"12:03:00.000000+00:00"),
        (b"12:03:00.000000Z", b"25:03:00.000000Z"),
        (b"2026-11-01T12:03", b"2026-11-01 12:03"),
        (b"2026-11-01T12:03", b"0000-11-01T12:03"),
        (b'"jitportal_worker"', b'"jitportal\\u005fworker"'),
        (b'"jitportal_worker"', b'"jitportal_worker\\u0000"'),
        (b'"jitportal_worker"', b'""'),
        (b'"jitportal_worker"', b'"\\x"'),
        (b'"jitportal_worker"', b'"\xff"'),
        (b'"jitportal_worker"', b"null"),
        (b'"jitportal_worker"', b'"a"b"'),
        (b'"body":"', b'"body":"='),
        (b'"body":"ey', b'"body":"e y'),
        (b'"body":"', b'"body":"A'),
        (b'"}\n', b'","more":1}\n'),
        (b'"}\n', b'"} \n'),
        (b'"}\n', b'"}\r\n'),
        (b'"}\n', b'"}\n\n'),
        (b'"hash":"', b'"hash":"A'),
    ],
)
def test_verify_when_a_line_has_another_form_cannot_be_read(
    old: bytes, new: bytes, path: Path, unreadable: UnreadableBy
) -> None:
    files = WHOLE.files()
    files["entries.jsonl"] = files["entries.jsonl"].replace(old, new)
    manifest = json.dumps(WHOLE.manifest(files)).encode()
    assert "zip" not in unreadable(zipped({"manifest.json": manifest, **files}, path))


def test_verify_when_a_line_cannot_be_read_says_what_was_wrong_in_front_of_it(
    path: Path, unreadable: UnreadableBy
) -> None:
    entries = tuple(replace(entry, recorded_by="x") if entry.index == 1 else entry for entry in WHOLE.entries)
    files = replace(WHOLE, entries=entries).files()
    files["entries.jsonl"] = files["entries.jsonl"].replace(b'{"index":3,', b'{"index":03,')
    said = unreadable(zipped({"manifest.json": json.dumps(WHOLE.manifest(files)).encode(), **files}, path))
    assert said == (
        "The hash of entry 1 does not follow from its content and the entry before it.\n"
        "The line where entry 3 should be is no entry."
    )


def test_verify_when_base64_has_bits_that_no_byte_holds_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    told = [(record.body(facts={"a": "x" * n}), "w") for n in range(3)]
    entries = bundles.chained(told)
    bundle = replace(WHOLE, entries=entries, last=2, texts=(), notes=(note(entries, 3),), until=START + 2 * MINUTE)
    files = bundle.files()
    for padding, letters in ((b'=","hash', b"BFJN"), (b'==","hash', b"BCDE")):
        held = files["entries.jsonl"]
        place = held.index(padding) - 1
        if held[place : place + 1] == b"=":
            place -= 1
        changed = held[:place] + bytes([held[place] + 1]) + held[place + 1 :]
        assert letters
        new = {**files, "entries.jsonl": changed}
        raw = zipped({"manifest.json": json.dumps(bundle.manifest(new)).encode(), **new}, path)
        assert "base64" in unreadable(raw)


def test_verify_when_the_last_line_has_no_end_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    for name in ("entries.jsonl", "disclosures.jsonl", "checkpoints.jsonl"):
        files = WHOLE.files()
        files[name] = files[name][:-1]
        raw = zipped({"manifest.json": json.dumps(WHOLE.manifest(files)).encode(), **files}, path)
        assert f"The last line of {name} has no end" in unreadable(raw)


def test_verify_when_a_role_has_an_odd_name_reads_it(found: Found) -> None:
    entries = bundles.chained([(record.body(), name) for name in ('a"b', "back\\slash", "Zoë", "a b", "a")])
    assert found(replace(WHOLE, entries=entries, texts=(), notes=(note(entries, 5),))) == []


# Head and tail --------------------------------------------------------------------------------------------------------


def test_verify_when_the_head_is_cut_finds_it(found: Found) -> None:
    for first in (2, 3, 4):
        cut = part(first=first, since=WHOLE.since, until=WHOLE.until)
        assert found(cut) == ["The bundle does not begin before the period: entries in front may be missing."]
    assert found(part(first=1, since=START + MINUTE + timedelta(microseconds=1))) == []
    assert found(part(first=1, since=START + MINUTE))
    assert found(replace(WHOLE, first=1))
    assert found(replace(WHOLE, entries=WHOLE.entries[1:], first=1))


def test_verify_when_the_tail_is_cut_to_an_older_checkpoint_finds_it(found: Found) -> None:
    for last in (1, 2):
        cut = part(first=0, last=last, since=WHOLE.since, until=WHOLE.until)
        assert found(cut) == ["The bundle does not reach the end of the period: entries behind may be missing."]
    assert found(part(first=0, last=3, until=START + 3 * MINUTE)) == []
    assert found(part(first=0, last=3, until=START + 3 * MINUTE + timedelta(microseconds=1)))
    uncovered = part(first=0, last=3, notes=WHOLE.notes[:2])
    assert found(uncovered) == ["No signed checkpoint covers the last entry, 3: the end may be cut or invented."]
    assert any("the manifest says" in said for said in found(replace(part(first=0, last=3), last=4)))


def test_verify_when_notes_tell_of_more_than_is_here_finds_it(found: Found) -> None:
    (problem,) = found(part(first=0, last=3, notes=(note(WHOLE.entries, 4), note(WHOLE.entries, 5))))
    assert problem == "The checkpoint of 5 entries lies outside of the bundle: the two cannot be compared."
    assert len(found(part(first=3, notes=(note(WHOLE.entries, 2), note(WHOLE.entries, 5))))) == 1
    assert found(part(first=3, notes=(note(WHOLE.entries, 3), note(WHOLE.entries, 5)))) == []


def test_verify_when_the_hash_in_front_is_another_finds_it(found: Found) -> None:
    assert any("hash of entry 2" in said for said in found(part(first=2, before=ZERO)))
    other = bundles.chained([(entry.body, "x") for entry in WHOLE.entries], before=bytes([1] * 32))
    said = replace(WHOLE, entries=other, texts=(), before=bytes([1] * 32), notes=(note(other, 5),))
    assert any("in front of it" in problem for problem in found(said))
    (problem,) = found(part(first=2, notes=(note(list(other), 2), note(WHOLE.entries, 5))))
    assert problem == "The checkpoint of 2 entries is of another history than this one."


def test_verify_when_there_are_no_entries_at_all_finds_it(found: Found) -> None:
    none = replace(WHOLE, entries=(), texts=(), last=-1, notes=(note([], 0),))
    assert found(none) == ["The bundle does not reach the end of the period: entries behind may be missing."]


# Checkpoints and keys -------------------------------------------------------------------------------------------------


def only(signer: Signer, *, origin: str = ORIGIN, keys: Json = None) -> Evidence:
    text = note(WHOLE.entries, 5, signer=signer)
    return replace(WHOLE, notes=(text,), keys=keys or [key_said(signer)], origin=origin)


def test_verify_when_the_key_has_the_right_name_and_is_another_finds_it(found: Found) -> None:
    problems = found(only(new_signer(ORIGIN)))
    assert problems[0] == "Checkpoint 1 of the bundle is not signed by a key that you have pinned."
    assert len(problems) == 2


def test_verify_when_the_checkpoint_is_of_another_record_finds_it(found: Found) -> None:
    other = new_signer("else.example.org")
    assert found(only(other), Pin(other.key))[0] == (
        "Checkpoint 1 of the bundle is of another record: of 'else.example.org'."
    )
    assert found(only(other, origin="else.example.org"), Pin(other.key)) == []
    assert found(only(SIGNER, origin="else.example.org"))
    text = f"else.example.org\n5\n{b64encode(WHOLE.entries[4].hash).decode()}\n"
    signature = b64encode(SIGNER.key.id + SIGNER.private.sign(text.encode())).decode()
    both = replace(WHOLE, notes=(f"{text}\n— {ORIGIN} {signature}\n",), origin="else.example.org")
    assert found(both)[0] == "Checkpoint 1 of the bundle is of another record: of 'else.example.org'."


@pytest.mark.parametrize(
    ("first", "last", "good"), [(0, None, True), (0, 5, True), (5, 5, True), (0, 4, False), (6, None, False)]
)
def test_verify_when_a_key_is_good_for_some_sizes_only_holds_it_to_them(
    first: int, last: int | None, good: bool, found: Found
) -> None:
    bundle = only(SIGNER, keys=[key_said(first=first, last=last)])
    assert (found(bundle) == []) == good
    assert found(only(SIGNER), Pin(SIGNER.key, first, last)) == found(bundle)
    if not good:
        assert found(bundle)[0] == "Checkpoint 1 of the bundle is signed by a key that is not good for 5 entries."


def test_verify_when_the_bundle_does_not_know_a_pinned_key_does_not_guess_its_sizes(found: Found) -> None:
    bundle = only(SIGNER, keys=[key_said(new_signer(ORIGIN))])
    assert "not good for 5" in found(bundle)[0]
    assert found(bundle, Pin(SIGNER.key, 0)) == []


def test_verify_when_sizes_were_pinned_does_not_say_that_they_are_the_bundles(path: Path) -> None:
    WHOLE.write(path)
    assert not any(str(SIGNER.key) in said for said in program.verify(str(path), [Pin(SIGNER.key, 0)]).unproven)


def test_verify_when_one_size_has_two_histories_finds_it(found: Found) -> None:
    other = bundles.chained([(entry.body, "x") for entry in WHOLE.entries])
    for notes in ((note(other, 3), note(WHOLE.entries, 3)), (note(WHOLE.entries, 3), note(other, 3))):
        problems = found(replace(WHOLE, notes=(*notes, note(WHOLE.entries, 5))))
        assert "Checkpoint 2 of the bundle and another one are of the same 3 entries and of two histories." in problems
    assert found(replace(WHOLE, notes=WHOLE.notes * 2)) == []  # the same one again is nothing


def test_verify_when_a_checkpoint_is_of_another_history_finds_it(found: Found) -> None:
    other = bundles.chained([(entry.body, "x") for entry in WHOLE.entries])
    for size in (0, 1, 5):
        notes = tuple(note(other if size == made else WHOLE.entries, made) for made in (size, 5))
        if size:
            assert "of another history" in found(replace(WHOLE, notes=notes))[0]
    signed = f"{ORIGIN}\n0\n{b64encode(bytes([1] * 32)).decode()}\n"
    signature = b64encode(SIGNER.key.id + SIGNER.private.sign(signed.encode())).decode()
    zero = f"{signed}\n— {ORIGIN} {signature}\n"
    assert found(replace(WHOLE, notes=(zero, *WHOLE.notes))) == [
        "Checkpoint 1 of the bundle tells of a hash before the first entry."
    ]
    assert found(replace(WHOLE, notes=(note([], 0), *WHOLE.notes))) == []


def test_verify_when_there_is_no_checkpoint_finds_it(found: Found) -> None:
    assert len(found(replace(WHOLE, notes=()))) == 1


def test_verify_when_an_auditor_kept_a_checkpoint_compares_it(path: Path, found: Found) -> None:
    assert found(WHOLE, kept=(note(WHOLE.entries, 4),)) == []
    told = program.verify(str(path), [PIN], [note(WHOLE.entries, 4)]).proved
    assert "So are all 1 checkpoints that you kept." in told
    other = bundles.chained([(entry.body, "x") for entry in WHOLE.entries])
    assert found(WHOLE, kept=(note(other, 4),)) == ["The checkpoint of 4 entries is of another history than this one."]
    longer = bundles.chained([(record.body(), "w")] * 9)
    assert "lies outside" in found(WHOLE, kept=(note(longer, 9),))[0]
    assert "lies outside" in found(part(first=3), kept=(note(WHOLE.entries, 2),))[0]
    assert "The checkpoint 2 that you kept" in found(WHOLE, kept=(note(WHOLE.entries, 4), "nonsense"))[0]
    assert "two histories" in found(WHOLE, kept=(note(other, 5),))[0]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        "x",
        [1],
        [{}],
        [{"key": str(SIGNER.key), "from_size": 0}],
        [{**key_said(), "more": 1}],
        [key_said(first=True)],  # type: ignore[arg-type]
        [{**key_said(), "to_size": "9"}],
        [key_said(first=3, last=2)],
        [{**key_said(), "key": 1}],
        [{**key_said(), "key": "x"}],
        [{**key_said(), "key": ""}],
        [key_said(), key_said(first=5)],
    ],
)
def test_verify_when_the_list_of_keys_is_no_list_of_keys_cannot_be_read(keys: Json, unreadable: UnreadableBy) -> None:
    assert unreadable(replace(WHOLE, keys=keys))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"note":1}\n',
        b'{"note": "x"}\n',
        b'{"note":"x","note":"y"}\n',
        b'{"more":"x"}\n',
        b"[]\n",
        b"\n",
        b"{\n",
        b"\xff\n",
        b'{"note":"\\ud800"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_verify_when_a_line_of_checkpoints_has_another_form_cannot_be_read(
    raw: bytes, path: Path, unreadable: UnreadableBy
) -> None:
    files = {**WHOLE.files(), "checkpoints.jsonl": raw}
    assert unreadable(zipped({"manifest.json": json.dumps(WHOLE.manifest(files)).encode(), **files}, path))


# Texts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([Text(1, "person", "Zoe")], "The text 'person' of entry 1 is not one"),
        ([Text(1, "person", "Zoë", bytes(32))], "The text 'person' of entry 1 is not one"),
        ([Text(1, "reason", "Zoë")], "The text 'reason' of entry 1 is not one"),
        ([Text(1, "comment", "Zoë")], "The text 'comment' of entry 1 is not one"),
        ([Text(0, "person", "Zoë")], "The text 'person' of entry 0 is not one"),
        ([Text(2, "person", "Zoë")], "The text 'person' of entry 2 is not one"),
        ([Text(5, "person", "Zoë")], "The text 'person' of entry 5 has no entry here."),
        ([Text(-1, "person", "Zoë")], "The text 'person' of entry -1 is not one"),
    ],
)
def test_verify_when_a_text_is_not_what_was_committed_to_finds_it(texts: list[Text], said: str, found: Found) -> None:
    (problem,) = found(replace(WHOLE, texts=tuple(texts)))
    assert problem.startswith(said)


def test_verify_when_a_text_was_erased_finds_nothing_and_counts_it(path: Path, found: Found) -> None:
    assert found(replace(WHOLE, texts=())) == []
    assert any(said.startswith("What 3 texts") for said in program.verify(str(path), [PIN]).unproven)
    whole = replace(WHOLE, texts=(*WHOLE.texts, Text(3, "why", "time")))
    assert found(whole) == []
    assert not any("erased" in said for said in program.verify(str(path), [PIN]).unproven)


def test_verify_when_texts_are_out_of_order_or_doubled_cannot_be_read(unreadable: UnreadableBy) -> None:
    for texts in (WHOLE.texts[::-1], WHOLE.texts[:1] * 2, (Text(3, "why", "time"), *WHOLE.texts)):
        assert "order" in unreadable(replace(WHOLE, texts=tuple(texts)))


@pytest.mark.parametrize(
    "held",
    [
        {"index": "1", "field": "person", "salt": "", "value": "x"},
        {"index": True, "field": "person", "salt": "", "value": "x"},
        {"index": 1, "field": None, "salt": "", "value": "x"},
        {"index": 1, "field": "person", "salt": 1, "value": "x"},
        {"index": 1, "field": "person", "salt": "", "value": 1},
        {"index": 1, "field": "person", "salt": "x", "value": "x"},
        {"index": 1, "field": "person", "salt": ""},
        {"field": "person", "index": 1, "salt": "", "value": "x"},
    ],
)
def test_verify_when_a_line_of_texts_has_another_form_cannot_be_read(
    held: Json, path: Path, unreadable: UnreadableBy
) -> None:
    files = {**WHOLE.files(), "disclosures.jsonl": bundles.line(held)}
    assert unreadable(zipped({"manifest.json": json.dumps(WHOLE.manifest(files)).encode(), **files}, path))


# The manifest and the zip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(WHOLE.files()))
def test_verify_when_a_file_is_not_the_listed_one_finds_it(name: str, path: Path, found: Found) -> None:
    files = files_of(WHOLE)
    same_length = WHOLE.files()[name].replace(b"e", b"f", 1).replace(b"g", b"h", 1)
    try:
        problems = found(zipped({**files, name: same_length}, path))
    except Unreadable as refusal:
        problems = str(refusal).split("\n")
    assert problems
    listed = WHOLE.manifest(WHOLE.files())
    listed["files"][name]["sha256"] = hashlib.sha256(b"else").hexdigest()
    assert found(zipped({**files, "manifest.json": json.dumps(listed).encode()}, path)) == [
        f"{name} is not the file that the manifest lists."
    ]
    listed = WHOLE.manifest(WHOLE.files())
    listed["files"][name]["bytes"] += 1
    assert found(zipped({**files, "manifest.json": json.dumps(listed).encode()}, path)) == [
        f"{name} has another length than the manifest says."
    ]


@pytest.mark.parametrize("name", sorted(WHOLE.files()))
def test_verify_when_a_file_is_missing_cannot_be_read_or_is_not_listed(
    name: str, path: Path, found: Found, unreadable: UnreadableBy
) -> None:
    files = files_of(WHOLE)
    del files[name]
    assert f"The manifest lists {name}" in unreadable(zipped(files, path))
    listed = WHOLE.manifest(WHOLE.files())
    del listed["files"][name]
    raw = zipped({**files_of(WHOLE), "manifest.json": json.dumps(listed).encode()}, path)
    if name.startswith("reports/"):
        assert found(raw) == [f"{name} is in the bundle, but not in its manifest."]
    else:
        assert f"does not list {name}" in unreadable(raw)


CHANGES: list[Json] = [
    {"format": "jitportal-evidence/2"},
    {"format": None},
    {"origin": None},
    {"origin": 1},
    {"period": None},
    {"period": {"from": "2026-11-01T12:00:00.000000Z"}},
    {"period": {"from": "2026-11-01T12:00:00.000000Z", "to": "2026-11-01T12:00:00.000000Z"}},
    {"period": {"from": "2026-11-02T12:00:00.000000Z", "to": "2026-11-01T12:00:00.000000Z"}},
    {"period": {"from": "2026-11-01", "to": "2026-11-02T12:00:00.000000Z"}},
    {"period": {"from": 1, "to": "2026-11-02T12:00:00.000000Z"}},
    {"period": {"from": "2026-13-01T12:00:00.000000Z", "to": "2026-11-02T12:00:00.000000Z"}},
    {"made_at": "yesterday"},
    {"made_at": None},
    {"entries": None},
    {"entries": {"first": 0}},
    {"entries": {"first": 0, "last": "4"}},
    {"entries": {"first": "0", "last": 4}},
    {"entries": {"first": False, "last": 4}},
    {"entries": {"first": -1, "last": 4}},
    {"entries": {"first": 6, "last": 4}},
    {"entries": {"first": 0, "last": 2**63}},
    {"entries": {"first": 0, "last": 4.0}},
    {"entries": {"first": 0, "last": 4, "more": 1}},
    {"before": "00" * 31},
    {"before": "AA" * 32},
    {"before": 0},
    {"files": []},
    {"files": {"entries.jsonl": 1}},
    {"files": {"entries.jsonl": {"sha256": "x", "bytes": 1}}},
    {"files": {"entries.jsonl": {"sha256": "a" * 64, "bytes": "1"}}},
    {"files": {"entries.jsonl": {"sha256": "a" * 64}}},
    {"files": {"../evil": {"sha256": "a" * 64, "bytes": 1}}},
    {"more": 1},
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_verify_when_the_manifest_is_of_another_form_cannot_be_read(change: Json, unreadable: UnreadableBy) -> None:
    assert unreadable(replace(WHOLE, more=change))


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000, b'{"format":1,"format":2}'])
def test_verify_when_the_manifest_is_no_manifest_cannot_be_read(
    raw: bytes, path: Path, unreadable: UnreadableBy
) -> None:
    assert unreadable(zipped({**files_of(WHOLE), "manifest.json": raw}, path))


def test_verify_when_the_manifest_says_something_twice_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    """One reader would take the first, another the last."""
    files = files_of(WHOLE)
    twice = files["manifest.json"].replace(b'"origin":', b'"origin": "else", "origin":')
    assert "once" in unreadable(zipped({**files, "manifest.json": twice}, path))


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "reports/../evil.csv",
        "reports/",
        "reports/a/b.csv",
        "reports\\a.csv",
        "C:evil",
        "reports/..",
        ".",
        "ENTRIES.JSONL",
        "entries.jsonl ",
        "évil",
        "a\nb",
        "x" * 101,
    ],
)
def test_verify_when_a_file_has_a_name_that_no_bundle_has_cannot_be_read(
    name: str, path: Path, unreadable: UnreadableBy
) -> None:
    extra = {**WHOLE.files(), name: b"x"}
    for listed in (WHOLE.files(), extra):
        manifest = json.dumps(WHOLE.manifest(listed)).encode()
        assert unreadable(zipped({"manifest.json": manifest, **extra}, path))


def test_verify_when_a_file_is_there_that_nobody_listed_finds_it(path: Path, found: Found) -> None:
    raw = zipped({**files_of(WHOLE), "more.txt": b"x"}, path)
    assert found(raw) == ["more.txt is in the bundle, but not in its manifest."]


def test_verify_when_a_file_is_listed_that_no_bundle_has_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    files = {**WHOLE.files(), "more.txt": b"x"}
    raw = zipped({"manifest.json": json.dumps(WHOLE.manifest(files)).encode(), **files}, path)
    assert "'more.txt', which no bundle has" in unreadable(raw)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_verify_when_a_name_stands_twice_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    WHOLE.write(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("entries.jsonl", b"")
    assert "two files of one name" in unreadable(path.read_bytes())


def test_verify_when_the_zip_is_odd_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    WHOLE.write(path)
    raw = path.read_bytes()
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"read me instead"
    commented = path.read_bytes()
    pressed = bundles.write_zip(path, files_of(WHOLE), compression=zipfile.ZIP_BZIP2).read_bytes()
    with io.BytesIO() as stream:  # as a stream: sizes stand behind the files
        unseekable = type("Pipe", (io.RawIOBase,), {"write": lambda _, held: stream.write(held), "writable": bool})()
        with zipfile.ZipFile(unseekable, "w") as archive:
            for name, held in files_of(WHOLE).items():
                archive.writestr(name, held)
        streamed = stream.getvalue()
    for odd in (commented, pressed, streamed, b"", b"PK", b"no zip", raw[:1000]):
        assert unreadable(odd)


@pytest.mark.parametrize("offset", [0, 6, 8, 14, 18, 22, 26, 30])
def test_verify_when_a_header_says_something_else_than_the_directory_cannot_be_read(
    offset: int, path: Path, unreadable: UnreadableBy
) -> None:
    """Of signature, flags, method, checksum, both lengths, the name's length, the name."""
    raw = WHOLE.write(path).read_bytes()
    assert unreadable(bundles.with_header_changed(raw, "entries.jsonl", offset, 0x41))


def test_verify_when_a_hidden_file_lies_between_two_cannot_be_read(path: Path, unreadable: UnreadableBy) -> None:
    """In the zip and not in its directory: some programs find it all the same."""
    files = list(files_of(WHOLE).items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, held in [*files[:3], ("hidden.txt", b"x"), *files[3:]]:
            archive.writestr(name, held)
        archive.filelist = [info for info in archive.filelist if info.filename != "hidden.txt"]
    assert "belong to no file" in unreadable(path.read_bytes())


def test_verify_when_the_zip_is_in_the_longer_form_reads_it(path: Path, found: Found) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in files_of(WHOLE).items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(held)
    assert found(path.read_bytes()) == []


def test_verify_when_a_file_is_stored_as_it_is_reads_it(path: Path, found: Found) -> None:
    assert found(bundles.write_zip(path, files_of(WHOLE), compression=zipfile.ZIP_STORED).read_bytes()) == []


def test_verify_when_a_file_is_too_large_cannot_be_read(
    path: Path, unreadable: UnreadableBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    WHOLE.write(path)
    raw = path.read_bytes()
    monkeypatch.setattr(program, "_MAX_FILE", 50)
    assert "manifest.json is larger" in unreadable(raw)
    monkeypatch.undo()
    monkeypatch.setattr(program, "_MAX_LINE", {**program._MAX_LINE, "entries.jsonl": 50})
    monkeypatch.setattr(program, "_CHUNK", 30)
    assert "entries.jsonl has a line of more than 50" in unreadable(raw)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_verify_when_read_in_small_pieces_finds_the_same(
    chunk: int, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_CHUNK", chunk)
    assert found(WHOLE) == []


def test_verify_when_there_is_more_wrong_than_is_shown_counts_it(path: Path) -> None:
    entries = bundles.chained([(b"x", "jitportal_web")] * 100)
    replace(WHOLE, entries=entries, texts=(), notes=(note(entries, 100),), last=99).write(path)
    findings = program.verify(str(path), [PIN])
    assert (findings.count, len(findings.problems)) == (100, 40)


# The command ----------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    """On a machine without the portal: another folder, nothing installed, no environment."""
    command = [sys.executable, "-I", "-S", str(Path(program.__file__)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env={}, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_command_when_all_holds_ends_with_0_and_says_what_is_proved(path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.note"
    kept.write_text(note(WHOLE.entries, 3), encoding="utf-8")
    status, said = run(str(WHOLE.write(path)), "--key", str(SIGNER.key), "--checkpoint", str(kept))
    assert status == 0
    assert "Proved:" in said
    assert "Not proved:" in said
    assert "NOT hold" not in said
    assert "Everything holds" in said
    assert "1 checkpoints that you kept" in said
    assert said.isascii()


def test_command_when_something_does_not_hold_ends_with_1_and_proves_nothing(path: Path) -> None:
    status, said = run(str(replace(WHOLE, notes=()).write(path)), "--key", str(SIGNER.key))
    assert status == 1
    assert "Does NOT hold:\n  - No signed checkpoint" in said
    assert "\nProved:" not in said
    assert said.rstrip().endswith("Something does NOT hold.")


def test_command_when_much_does_not_hold_says_how_much_more(path: Path) -> None:
    entries = bundles.chained([(b"x", "jitportal_web")] * 100)
    replace(WHOLE, entries=entries, texts=(), notes=(note(entries, 100),), last=99).write(path)
    assert "... and 60 more." in run(str(path), "--key", str(SIGNER.key))[1]


def test_command_when_it_cannot_read_ends_with_2(path: Path, tmp_path: Path) -> None:
    WHOLE.write(path)
    key = str(SIGNER.key)
    for arguments in (
        (str(tmp_path / "none.zip"), "--key", key),
        (str(tmp_path), "--key", key),
        (str(path),),
        (str(path), "--key", "nonsense"),
        (str(path), "--key", f"{key} x"),
        (str(path), "--key", key, "--checkpoint", str(tmp_path / "none")),
    ):
        status, said = run(*arguments)
        assert status == 2
        assert "Proved" not in said
    (tmp_path / "binary").write_bytes(b"\xff")
    assert run(str(path), "--key", key, "--checkpoint", str(tmp_path / "binary"))[0] == 2
    files = {**WHOLE.files(), "entries.jsonl": b"x\n"}
    zipped({"manifest.json": json.dumps({**WHOLE.manifest(files), "before": "11" * 32}).encode(), **files}, path)
    status, said = run(str(path), "--key", key)
    assert status == 2
    assert "Nothing is proved." in said


def test_command_when_a_note_was_kept_with_other_line_ends_does_not_believe_it(path: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(note(WHOLE.entries, 3).replace("\n", "\r\n").encode())
    assert run(str(WHOLE.write(path)), "--key", str(SIGNER.key), "--checkpoint", str(tmp_path / "kept"))[0] == 1


def test_command_when_the_bundle_holds_bytes_for_a_terminal_prints_none(path: Path) -> None:
    """What a forger writes must not move the cursor over what is said about it."""
    evil = "\x1b[2J\u202eok"
    for bundle in (replace(WHOLE, origin=evil), replace(WHOLE, texts=(Text(0, evil, evil),))):
        status, said = run(str(bundle.write(path)), "--key", str(SIGNER.key))
        assert status == 1
        assert re.fullmatch(r"[ -~\n]*", said)


@pytest.mark.parametrize(
    ("given", "pin"),
    [
        (str(SIGNER.key), Pin(SIGNER.key)),
        (f" {SIGNER.key}\n", Pin(SIGNER.key)),
        (f"{SIGNER.key} 3-5", Pin(SIGNER.key, 3, 5)),
        (f"{SIGNER.key} 3-", Pin(SIGNER.key, 3)),
    ],
)
def test_read_pin_when_sizes_follow_the_key_takes_them(given: str, pin: Pin) -> None:
    assert read_pin(given) == pin


@pytest.mark.parametrize("sizes", ["x", "-", "-5", "3-x", "3", "1-2-3", "٣-"])
def test_read_pin_when_something_else_follows_refuses(sizes: str) -> None:
    with pytest.raises(program.Refused, match="sizes"):
        read_pin(f"{SIGNER.key} {sizes}")


def test_program_when_an_old_python_reads_it_is_its_language() -> None:
    import ast

    source = Path(program.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))


def test_time_when_read_is_that_of_the_portal() -> None:
    for moment in (START, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)):
        assert program._moment(bundles.rfc3339(moment)) == micros(moment)


# What is found again by its shape -------------------------------------------------------------------------------------

facts = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def by_reading(body: bytes) -> object:
    """As one who has seen nothing before."""
    try:
        content = program.read_body(body)
    except program.Refused:
        return None
    return content["action"], {name: held["commit"] for name, held in content["disclosed"].items()}


def by_shape(shapes: program.Shapes, body: bytes) -> object:
    try:
        return shapes.read(body)
    except program.Refused:
        return None


@given(facts, st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=2)), max_size=8), st.data())
def test_read_when_a_shape_is_known_says_the_same_as_reading(
    told: Json, changes: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    try:
        body = record.body(facts=told, reason="a", person="b")
    except Invalid:
        return
    shapes = program.Shapes()
    for first in (body, record.body(), record.body(facts={"a": ["x"], "b": 1, "c": {"d": "e"}}, reason="f")):
        assert by_shape(shapes, first) == by_reading(first)
        for place, new in changes:
            other = first[:place] + new + first[place + data.draw(st.integers(0, 2)) :]
            assert by_shape(shapes, other) == by_reading(other), other


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_read_when_a_shape_is_known_and_the_body_is_odd_refuses_all_the_same(body: bytes) -> None:
    shapes = program.Shapes()
    for known in ({}, {"a": 1}, {"a": "x"}, {"a": ["x"]}, {"a": {}}, {"a": None}, {"a": "x" * 60_000}):
        shapes.read(record.body(facts=known))
    with pytest.raises(program.Refused):
        shapes.read(body)


@pytest.mark.parametrize(
    ("known", "other"),
    [
        ({"a": 1}, {"a": -999_999_999_999_999}),
        ({"a": 1}, {"a": 0}),
        ({"a": 10}, {"a": 999_999_999_999_999}),
        ({"a": "x"}, {"a": "any ~ text [of] {these}: /"}),
        ({"a": ["x"]}, {"a": ["y", "z"]}),
        ({"a": True}, {"a": True}),
        ({"a": [1, "x", None]}, {"a": [2, "y", None]}),
        ({"b": {"c": "d"}, "a": []}, {"b": {"c": "e"}, "a": []}),
    ],
)
def test_read_when_a_body_has_a_known_shape_takes_it_without_reading(
    known: Json, other: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = program.Shapes()
    for told, texts in ((known, {}), (known, {"reason": "r", "person": "p"})):
        shapes.read(record.body(facts=told, **texts))
    bodies = [record.body(facts=other, actor="user:else", **texts) for texts in ({}, {"reason": "s", "person": "q"})]
    wanted = [by_reading(body) for body in bodies]
    monkeypatch.setattr(program, "read_body", None)
    assert [shapes.read(body) for body in bodies] == wanted


def test_read_when_there_are_many_shapes_keeps_a_few() -> None:
    shapes = program.Shapes()
    for number in range(50):
        for _ in range(2):
            assert shapes.read(record.body(facts={f"key{number}": 1}))[0] == "request.submitted"
    assert {len(known) for known in shapes._known.values()} == {16}


@pytest.mark.parametrize("value", ["plain", "Zoë", 'a "quoted" one', "back\\slash", "line\nend", "", "[]{}~ !"])
def test_verify_when_a_text_is_plain_or_not_compares_it(value: str, found: Found) -> None:
    told = [(record.body(reason=value), "w")] * 5
    entries = bundles.chained(told)
    bundle = replace(WHOLE, entries=entries, notes=(note(entries, 5),), texts=(Text(3, "reason", value),))
    assert found(bundle) == []
    assert len(found(replace(bundle, texts=(Text(3, "reason", f"{value}x"),)))) == 1
