"""The witness: what it takes, what it refuses, and that it has the verifier's own eyes."""

import ast
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from apps.audit.chain import ZERO, Sealed, leaf
from apps.audit.notes import new_signer
from apps.audit.offline import verify as program
from tests.audit import bundles
from tests.audit.bundles import ORIGIN, SIGNER, note, same_signer
from tests.support import record
from witness import witness as programs
from witness.witness import DoesNotFollow, Refused, Witness, read_key, served

ENTRIES = bundles.chained([(record.body(subject=f"request:{n}"), "jitportal_web") for n in range(12)])
OTHER = bundles.chained([(record.body(subject=f"else:{n}"), "jitportal_web") for n in range(12)])
KEY = read_key(str(SIGNER.key))


def leaves(entries: tuple[Sealed, ...], first: int, end: int) -> bytes:
    return b"".join(
        leaf(index=e.index, recorded_at=e.recorded_at, recorded_by=e.recorded_by, body=e.body)
        for e in entries[first:end]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def kept(path: Path) -> Witness:
    """It keeps a checkpoint of five entries."""
    witness = Witness(str(path), [KEY])
    witness.follow(0, leaves(ENTRIES, 0, 5))
    witness.take(note(ENTRIES, 5))
    return witness


def test_take_when_it_follows_keeps_it_beyond_a_restart(kept: Witness, path: Path) -> None:
    assert json.loads(path.read_text())["note"] == note(ENTRIES, 5)
    again = Witness(str(path), [KEY])
    assert again.state() == {"note": note(ENTRIES, 5), "reached": 5}
    again.follow(5, leaves(ENTRIES, 5, 7))
    again.follow(7, leaves(ENTRIES, 7, 9))
    assert again.take(note(ENTRIES, 9)) == {"size": 9}
    assert Witness(str(path), [KEY]).kept() == {"size": 9, "hash": ENTRIES[8].hash.hex()}


def test_take_when_it_is_the_same_again_says_yes(kept: Witness) -> None:
    assert kept.take(note(ENTRIES, 5)) == {"size": 5}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (note(ENTRIES, 4), "of 4"),
        (note(OTHER, 4), "of 4"),
        (note([], 0), "of 0"),
        (note(OTHER, 5), "another history"),
        (note(ENTRIES, 6), "does not follow"),
        (note(OTHER, 9), "does not follow"),
    ],
)
def test_take_when_it_does_not_follow_refuses_and_keeps_what_it_has(
    text: str, why: str, kept: Witness, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(DoesNotFollow, match=why):
        kept.take(text)
    assert path.read_bytes() == before
    assert kept.state() == {"note": note(ENTRIES, 5), "reached": 5}


@pytest.mark.parametrize(
    "text",
    [
        note(ENTRIES, 6, signer=same_signer(ORIGIN, "another")),
        note(ENTRIES, 6, signer=same_signer("else.example.org")),
        note(ENTRIES, 6).replace("\n6\n", "\n7\n"),
        "nonsense",
    ],
)
def test_take_when_nobody_known_has_signed_refuses(text: str, kept: Witness) -> None:
    kept.follow(5, leaves(ENTRIES, 5, 6))
    with pytest.raises(Refused):
        kept.take(text)
    assert kept.take(note(ENTRIES, 6)) == {"size": 6}  # what was followed is not lost by that


def test_take_when_the_portal_was_rewritten_refuses_whatever_leaves_it_gives(kept: Witness) -> None:
    """Whoever has the key and the database: the leaves of another history lead to another hash."""
    kept.follow(5, leaves(OTHER, 5, 9))
    with pytest.raises(DoesNotFollow):
        kept.take(note(OTHER, 9))
    with pytest.raises(DoesNotFollow, match="go on there"):
        kept.follow(0, leaves(OTHER, 0, 9))


def test_follow_when_somebody_has_led_it_astray_begins_again_where_it_keeps(kept: Witness) -> None:
    kept.follow(5, bytes(320))
    assert kept.state()["reached"] == 15
    kept.follow(5, leaves(ENTRIES, 5, 9))
    assert kept.take(note(ENTRIES, 9)) == {"size": 9}


def test_take_when_it_is_empty_and_the_record_too_keeps_that(path: Path) -> None:
    witness = Witness(str(path), [KEY])
    assert witness.take(note([], 0)) == {"size": 0}
    with pytest.raises(DoesNotFollow):
        witness.take(note(ENTRIES, 1))
    assert witness.kept() == {"size": 0, "hash": ZERO.hex()}


def test_take_when_the_disk_is_full_keeps_the_one_before(
    kept: Witness, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    kept.follow(5, leaves(ENTRIES, 5, 6))
    with monkeypatch.context() as patched:
        patched.setattr(programs.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            kept.take(note(ENTRIES, 6))
    assert kept.kept()["size"] == 5
    assert Witness(str(path), [KEY]).kept()["size"] == 5
    assert kept.take(note(ENTRIES, 6)) == {"size": 6}


@pytest.mark.parametrize("held", ["", "{}", '{"note": 1}', '{"note": "x"}', json.dumps({"note": note(OTHER, 3)})])
def test_start_when_the_state_was_changed_does_not(held: str, path: Path) -> None:
    path.write_text(held)
    with pytest.raises((Refused, ValueError, KeyError)):
        Witness(str(path), [read_key(str(new_signer(ORIGIN).key))])


@contextmanager
def listening(witness: Witness) -> Iterator[str]:
    server = served(witness, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(url: str, body: str | None = None) -> tuple[int, dict[str, object]]:
    request = Request(url, None if body is None else body.encode())
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def portion(first: object, held: bytes) -> str:
    return json.dumps({"from": first, "leaves": b64encode(held).decode()})


def test_serve_when_asked_over_http_answers(kept: Witness) -> None:
    with listening(kept) as url:
        assert ask(f"{url}/checkpoint") == (200, {"note": note(ENTRIES, 5), "reached": 5})
        assert ask(f"{url}/portal/checkpoint")[0] == 200
        assert ask(f"{url}/else")[0] == 404
        assert ask(f"{url}/leaves", portion(5, leaves(ENTRIES, 5, 12))) == (200, {"reached": 12})
        assert ask(f"{url}/checkpoint", note(ENTRIES, 12)) == (200, {"size": 12})
        status, said = ask(f"{url}/checkpoint", note(OTHER, 12))
        assert (status, said["size"], said["hash"]) == (409, 12, ENTRIES[11].hash.hex())


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("else", "{}"),
        ("checkpoint", ""),
        ("checkpoint", "x" * 70_000),
        ("leaves", ""),
        ("leaves", "[]"),
        ("leaves", "{}"),
        ("leaves", '{"from": 5}'),
        ("leaves", '{"from": 5, "leaves": 1}'),
        ("leaves", portion("5", bytes(32))),
        ("leaves", portion(True, bytes(32))),
        ("leaves", portion(5, b"")),
        ("leaves", portion(5, bytes(31))),
        ("leaves", portion(5, bytes(33))),
        ("leaves", portion(5, bytes(32 * 10_001))),
        ("leaves", '{"from": 5, "leaves": "é"}'),
    ],
)
def test_serve_when_it_is_asked_nonsense_refuses_and_goes_on(place: str, body: str, kept: Witness) -> None:
    with listening(kept) as url:
        status, said = ask(f"{url}/{place}", body)
        assert (status, said["size"]) == (400, 5)
        assert ask(f"{url}/leaves", portion(5, bytes(32 * 10_000)))[0] == 200
        assert ask(f"{url}/leaves", portion(4, bytes(32)))[0] == 409


def test_program_when_it_reads_notes_does_it_by_the_lines_of_the_verifier() -> None:
    """Two files that stand alone must not come to see two things in one note."""
    theirs, ours = (_parts(Path(str(module.__file__))) for module in (program, programs))
    shared = theirs.keys() & ours.keys() - {"main", "Refused", "_MAX_BODY", "_ZERO"}
    assert {"is_signed", "read_note", "read_key", "signers", "_point", "Key", "from_base64"} <= shared
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def _parts(path: Path) -> dict[str, str]:
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = ast.unparse(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = ast.unparse(node.value) if node.value else ""
    return found
