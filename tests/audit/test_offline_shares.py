"""verify.py in several processes: each follows a share, and together they say what one says that follows everything."""

import functools
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.audit.offline import verify as program
from apps.audit.offline.verify import Findings, Followed, Pin, Unreadable
from tests.audit import bundles
from tests.audit.bundles import SIGNER, START, Evidence, Json, Text, key_said, note
from tests.support import record

PIN = Pin(SIGNER.key, 0)
COUNT = 40


def many(count: int = COUNT) -> Evidence:
    """Each second entry has a text, each tenth two, and each fifth one that was erased; a checkpoint for each tenth."""
    told, texts = [], []
    for index in range(count):
        said = {"reason": f"Ticket {index}"} if index % 2 else {}
        said |= {"person": "Zoë"} if index % 10 == 9 else {}
        texts += [Text(index, name, value) for name, value in sorted(said.items())]
        said |= {"why": "time"} if index % 5 == 0 else {}
        told.append((record.body(facts={"n": index}, **said), "jitportal_web"))
    entries = bundles.chained(told)
    return Evidence(
        entries,
        tuple(texts),
        tuple(note(entries, size) for size in range(0, count + 1, 10)),
        [key_said()],
        last=count - 1,
        until=START + (count - 1) * bundles.MINUTE,
    )


MANY = many()


_is_signed = functools.cache(program.is_signed)


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "is_signed", _is_signed)
    monkeypatch.setattr(program, "_SHARE", 100)
    monkeypatch.setattr(program, "_CHUNK", 900)
    monkeypatch.setattr(program, "_processors", lambda: 3)
    # What other tests have left behind would have it spawned, and a process that begins anew has none of this.
    monkeypatch.setattr(program.threading, "active_count", lambda: 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return MANY.write(tmp_path / "bundle.zip")


def wanted(bundle: Evidence = MANY) -> dict[int, bytes]:
    return {size: bundle.entries[size - 1].hash for size in range(10, len(bundle.entries) + 1, 10)} | {0: program.ZERO}


def alone(path: Path) -> tuple[Followed, int]:
    findings = Findings()
    with program.opened(str(path)) as archive:
        return program._follow(program.Bundle(str(path), archive, findings), wanted(), findings), findings.count


def together(path: Path) -> Followed | None:
    with program.opened(str(path)) as archive:
        return program._together(program.Bundle(str(path), archive, Findings()), wanted())


def shares(path: Path, of: int, hashes: dict[int, bytes] | None = None) -> list[Followed | None]:
    """In this process, one after another."""
    return [program._share(str(path), hashes or wanted(), number, of) for number in range(of)]


def manifest_of(path: Path) -> program.Manifest:
    with program.opened(str(path)) as archive:
        return program.Bundle(str(path), archive, Findings()).manifest


def joined(path: Path, of: int) -> Followed | None:
    return program._joined(manifest_of(path), shares(path, of))


def with_files(path: Path, files: dict[str, bytes]) -> Path:
    manifest = json.dumps(MANY.manifest(files)).encode()
    return bundles.write_zip(path, {"manifest.json": manifest, **files})


# All is well ----------------------------------------------------------------------------------------------------------


def test_follow_when_in_several_processes_says_the_same_as_alone(path: Path) -> None:
    followed = together(path)
    assert followed is not None
    assert (followed, 0) == alone(path)
    assert (followed.agreed, followed.matched, followed.missing) == (5, 24, 8)
    assert followed.last_text == 24


@pytest.mark.parametrize("of", range(1, 9))
def test_follow_when_shares_are_joined_is_the_same_for_any_number_of_them(of: int, path: Path) -> None:
    assert (joined(path, of), 0) == alone(path)


@pytest.mark.parametrize("of", [2, 3, 8])
def test_follow_when_shares_are_joined_begins_each_where_another_ends(of: int, path: Path) -> None:
    found = [part for part in shares(path, of) if part]
    assert len(found) == of
    assert found[0].start == program.Place(0, program.ZERO)
    assert found[-1].end.size == COUNT
    assert all(part.start.size < part.end.size for part in found)
    assert {part.first_at for part in found[1:]} == {None}  # only the first knows when the bundle begins
    sizes = [part.end.size - part.start.size for part in found]
    assert sizes[0] >= sizes[-1]  # whoever comes later has more to read in front


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_follow_when_texts_come_in_other_pieces_says_the_same(
    lines: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_CHUNK", 130 * lines)
    assert (joined(path, 2), 0) == alone(path)


def test_verify_when_in_several_processes_proves_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    true = program._together
    monkeypatch.setattr(program, "_together", lambda *given: used.append(true(*given)) or used[-1])
    several = program.verify(str(path), [PIN])
    assert used[0] is not None
    monkeypatch.setattr(program, "_processors", lambda: 1)
    assert several == program.verify(str(path), [PIN])
    assert used[1] is None
    assert several.count == 0
    assert several.proved


def test_start_when_there_are_threads_makes_fresh_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS. What was set here is not known there, so that the pieces are of the usual size."""
    monkeypatch.undo()
    monkeypatch.setattr(program, "_SHARE", 100)
    monkeypatch.setattr(program, "_processors", lambda: 2)
    monkeypatch.setattr(program.threading, "active_count", lambda: 2)
    bundle = many(1_600)
    path = bundle.write(tmp_path / "large.zip")
    with program.opened(str(path)) as archive:
        followed = program._together(program.Bundle(str(path), archive, Findings()), wanted(bundle))
    assert followed is not None
    assert followed.end.hash == bundle.entries[-1].hash


@pytest.mark.parametrize(("processors", "share", "some"), [(1, 100, False), (2, 100, True), (2, 10**6, False)])
def test_together_when_it_is_not_worth_it_leaves_it(
    processors: int, share: int, some: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_processors", lambda: processors)
    monkeypatch.setattr(program, "_SHARE", share)
    assert (together(path) is not None) == some


def test_together_when_there_are_many_processors_takes_a_few(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(program, "_processors", lambda: 500)
    monkeypatch.setattr(program, "_SHARE", 10)
    monkeypatch.setattr(program, "_started", lambda *given: started.append(given) or pytest.fail("enough"))
    monkeypatch.setattr(program, "_MOST_SHARES", 4)
    with pytest.raises(pytest.fail.Exception):
        together(path)
    assert started[0][2:] == (0, 4)


def test_processors_when_some_are_reserved_counts_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert program._processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert program._processors() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert program._processors() == 1


# Where it cannot be ---------------------------------------------------------------------------------------------------


def nobody_starts(*_: object) -> object:
    raise OSError("not permitted")


def no_such_thing(*_: object) -> object:
    raise ImportError("_multiprocessing")


@pytest.mark.parametrize("refuse", [nobody_starts, no_such_thing])
def test_verify_when_processes_cannot_be_started_goes_alone(
    refuse: Callable[..., object], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.multiprocessing, "get_context", refuse)
    assert together(path) is None
    assert program.verify(str(path), [PIN]).count == 0


@pytest.mark.parametrize("status", [0, 1])
def test_verify_when_a_process_dies_goes_alone(status: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_work", lambda *_: os._exit(status))
    assert together(path) is None
    assert program.verify(str(path), [PIN]).count == 0


# Something is wrong ---------------------------------------------------------------------------------------------------


def refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of it, which is the same in one process and in several."""
    said: list[list[str]] = []
    assert {joined(bundle, of) for of in (2, 3, 4)} == {None}
    for processors in (1, 3):
        monkeypatch.setattr(program, "_processors", lambda count=processors: count)
        try:
            said.append(program.verify(str(bundle), [PIN]).problems)
        except Unreadable as refusal:
            said.append(str(refusal).split("\n"))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("place", [0, 1, 12, 13, 14, 20, 26, 27, 28, 39])
def test_verify_when_an_entry_of_any_share_is_another_says_which(
    place: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(MANY.entries[place], recorded_by="else")
    entries = tuple(other if entry.index == place else entry for entry in MANY.entries)
    replace(MANY, entries=entries).write(path)
    assert refused(path, monkeypatch) == [
        f"The hash of entry {place} does not follow from its content and the entry before it."
    ]


@pytest.mark.parametrize("place", [0, 13, 14, 15, 27, 28, 39])
def test_verify_when_an_entry_of_any_share_is_gone_says_so(
    place: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = tuple(entry for entry in MANY.entries if entry.index != place)
    replace(MANY, entries=entries).write(path)
    assert refused(path, monkeypatch)


@pytest.mark.parametrize("place", [0, 8, 9, 10, 16, 17, 23])
def test_verify_when_a_text_of_any_share_is_another_says_which(
    place: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(MANY.texts)
    texts[place] = replace(texts[place], value="else")
    replace(MANY, texts=tuple(texts)).write(path)
    (problem,) = refused(path, monkeypatch)
    assert problem.startswith(f"The text {texts[place].field!r} of entry {texts[place].index} is not one")


@pytest.mark.parametrize("place", [0, 7, 8, 9, 10, 15, 16, 17, 22])
def test_verify_when_texts_of_any_share_have_changed_places_says_so(
    place: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(MANY.texts)
    texts[place], texts[place + 1] = texts[place + 1], texts[place]
    replace(MANY, texts=tuple(texts)).write(path)
    assert "order" in refused(path, monkeypatch)[-1]


@pytest.mark.parametrize("place", [0, 8, 9, 10, 16, 17, 23])
def test_verify_when_a_text_is_hidden_among_others_says_so(
    place: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where shares meet nobody's text must fall between two of them."""
    for index in (0, 20, 38, 99):
        texts = (*MANY.texts[:place], Text(index, "hidden", "x"), *MANY.texts[place:])
        replace(MANY, texts=texts).write(path)
        assert refused(path, monkeypatch)


@pytest.mark.parametrize("size", [0, 10, 20, 30, 40])
def test_follow_when_a_checkpoint_of_any_share_is_of_another_history_leaves_it(size: int, path: Path) -> None:
    found = shares(path, 3, {**wanted(), size: bytes([1] * 32)})
    assert found.count(None) == 1


def test_join_when_the_manifest_names_another_start_refuses(path: Path) -> None:
    found, manifest = shares(path, 3), manifest_of(path)
    assert program._joined(manifest, found)
    assert program._joined(replace(manifest, before=bytes([1] * 32)), found) is None
    assert program._joined(replace(manifest, first=1), found) is None


def part(*, start: int, end: int, texts: tuple[int, int], by: bytes = b"h") -> Followed:
    return Followed(
        start=program.Place(start, by * 32 if start else program.ZERO, start or None),
        end=program.Place(end, by * 32, end),
        first_at=7 if start == 0 else None,
        agreed=1,
        first_text=texts[0],
        last_text=texts[1],
        matched=2,
        missing=3,
    )


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (part(start=0, end=3, texts=(0, 5)), part(start=3, end=5, texts=(5, 9)), True),
        (part(start=0, end=3, texts=(0, 5)), part(start=4, end=5, texts=(5, 9)), False),
        (part(start=0, end=3, texts=(0, 5)), part(start=3, end=5, texts=(6, 9)), False),
        (part(start=0, end=3, texts=(0, 5)), part(start=3, end=5, texts=(4, 9)), False),
        (part(start=0, end=3, texts=(1, 5)), part(start=3, end=5, texts=(5, 9)), False),
        (part(start=0, end=3, texts=(0, 5)), part(start=3, end=5, texts=(5, 9), by=b"i"), False),
        (part(start=1, end=3, texts=(0, 5)), part(start=3, end=5, texts=(5, 9)), False),
        (None, part(start=3, end=5, texts=(5, 9)), False),
        (part(start=0, end=3, texts=(0, 5)), None, False),
    ],
)
def test_join_when_shares_do_not_fit_refuses(
    first: Followed | None, second: Followed | None, fits: bool, path: Path
) -> None:
    found = program._joined(manifest_of(path), [first, second])
    assert (found is not None) == fits
    if found and first and second:
        whole = replace(first, end=second.end, agreed=2, last_text=9, matched=4, missing=6)
        assert found == whole


changes = st.lists(
    st.tuples(st.sampled_from(["entries.jsonl", "disclosures.jsonl"]), st.floats(0, 1), st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)


@given(changes, st.integers(2, 5), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_follow_when_shares_take_it_one_alone_takes_it_as_well(
    path: Path, told: list[tuple[str, float, bytes]], of: int, by_lines: bool
) -> None:
    """Whatever was changed, cut or doubled, with everything that nobody signs made anew."""
    files: dict[str, Json] = MANY.files()
    for name, where, new in told:
        held = files[name]
        if by_lines:
            lines = held.splitlines(keepends=True)
            place = int(where * (len(lines) - 1))
            lines[place : place + len(new) % 3] = [lines[len(new)], lines[place]][: len(new)]
            files[name] = b"".join(lines)
        else:
            place = int(where * (len(held) - 1))
            files[name] = held[:place] + new + held[place + len(new) :]
    with_files(path, files)
    found = joined(path, of)
    if found is not None:
        assert (found, 0) == alone(path)
    elif files == MANY.files():
        pytest.fail("nothing was changed")


def test_verify_when_the_zip_is_damaged_in_any_share_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        info = archive.getinfo("entries.jsonl")
    for place in range(info.header_offset + 60, info.header_offset + info.compress_size, 150):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0x10]) + raw[place + 1 :])
        assert refused(path, monkeypatch)
