"""Checkpoints as signed notes: one form, one meaning, and nobody else's signature."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.notes import Checkpoint, Key, new_signer, opened, read_key, read_signer, signed
from apps.audit.offline import verify as offline
from apps.core.errors import Invalid
from tests.audit.bundles import same_signer

ORIGIN = "jit.example.org"
SIGNER = same_signer(ORIGIN)
CHECKPOINT = Checkpoint(ORIGIN, 17, bytes(range(32)))
NOTE = signed(CHECKPOINT, SIGNER)

names = st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"], exclude_characters="+"), min_size=1)
sizes = st.integers(0, 2**63 - 1)
hashes = st.binary(min_size=32, max_size=32)


def opens(note: str, *keys: Key) -> bool:
    """Whether it is believed; both readers must think the same of it."""
    keys = keys or (SIGNER.key,)
    try:
        opened(note, keys)
        believed = True
    except Invalid:
        believed = False
    try:
        also = bool(offline.signers(offline.read_note(note), keys))
    except offline.Refused:
        also = False
    assert believed == also
    return believed


def test_signed_when_written_has_the_form_of_the_specification() -> None:
    origin, size, digest, blank, signature, end = NOTE.split("\n")
    assert (origin, size, digest, blank, end) == (ORIGIN, "17", b64encode(bytes(range(32))).decode(), "", "")
    dash, name, held = signature.split(" ")
    assert (dash, name, len(held)) == ("—", ORIGIN, 92)


def test_open_when_it_is_the_example_of_the_specification_reads_it() -> None:
    """c2sp.org/tlog-checkpoint; its key is not published there, so that nobody here has signed it."""
    example = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
        "zyWE+xeMcTOAYQ8=\n"
    )
    read = offline.read_note(example)
    assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20852163)
    assert read.signatures[0][1].hex() == "033de0ae"
    assert not opens(example)


def test_read_key_when_it_is_the_published_one_of_a_known_log_has_its_number() -> None:
    """The checksum database of Go signs in the same way; its key has been public since 2019."""
    key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(read_key(key)) == key
    assert read_key(key).id.hex() == "033de0ae"


@given(names, sizes, hashes)
def test_open_when_signed_gives_back_what_was_signed(name: str, size: int, digest: bytes) -> None:
    signer = new_signer(name[:200])
    checkpoint = Checkpoint(name[:200], size, digest)
    note = signed(checkpoint, signer)
    assert opened(note, [signer.key]) == (checkpoint, (signer.key,))
    assert opens(note, signer.key)
    assert str(read_key(str(signer.key))) == str(signer.key)
    assert read_signer(str(signer)).key == signer.key


@given(st.integers(0, len(NOTE) - 1), st.characters(exclude_categories=["Cs"]))
def test_open_when_any_character_is_another_refuses(place: int, other: str) -> None:
    changed = NOTE[:place] + other + NOTE[place + 1 :]
    assert opens(changed) == (changed == NOTE)


@given(st.integers(0, len(NOTE)), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3))
def test_open_when_anything_is_put_in_refuses(place: int, more: str) -> None:
    assert not opens(NOTE[:place] + more + NOTE[place:])


@pytest.mark.parametrize("place", range(len(NOTE)))
def test_open_when_a_character_is_missing_or_the_rest_is_cut_refuses(place: int) -> None:
    assert not opens(NOTE[:place] + NOTE[place + 1 :])
    assert not opens(NOTE[:place])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_open_when_given_anything_refuses(text: str) -> None:
    assert not opens(text)
    assert opens(text + NOTE) == (text == "")


def test_open_when_a_signature_of_another_is_beside_passes_it_over() -> None:
    other = new_signer("witness.example.org")
    beside = signed(Checkpoint("witness.example.org", 1, bytes(32)), other).split("\n\n")[1]
    assert opens(NOTE + beside)
    assert not opens(NOTE + beside, SIGNER.key, other.key)  # known now, and of another text


def test_open_when_the_key_has_the_right_name_and_is_another_refuses() -> None:
    assert not opens(signed(CHECKPOINT, new_signer(ORIGIN)))


def test_open_when_signatures_are_too_many_or_twice_refuses() -> None:
    text, _, mine = NOTE.partition("\n\n")
    held = b64encode(b"abcd" + bytes(64)).decode()
    others = [f"— w{number} {held}\n" for number in range(16)]
    assert opens(f"{text}\n\n{mine}{''.join(others[:15])}")
    assert not opens(f"{text}\n\n{mine}{''.join(others)}")
    assert offline.read_note(NOTE + mine)
    with pytest.raises(offline.Refused, match="twice"):
        offline.signers(offline.read_note(NOTE + mine), [SIGNER.key])


@pytest.mark.parametrize(
    "lines",
    [
        ["", "17", "A" * 43 + "="],
        ["two words", "17", "A" * 43 + "="],
        ["one+two", "17", "A" * 43 + "="],
        [ORIGIN, "017", "A" * 43 + "="],
        [ORIGIN, "+17", "A" * 43 + "="],
        [ORIGIN, "-1", "A" * 43 + "="],
        [ORIGIN, "1_0", "A" * 43 + "="],
        [ORIGIN, "٣", "A" * 43 + "="],
        [ORIGIN, "9223372036854775808", "A" * 43 + "="],
        [ORIGIN, "17", "A" * 42 + "B="],  # bits that no byte holds
        [ORIGIN, "17", "A" * 44],
        [ORIGIN, "17", "A" * 40],
        [ORIGIN, "17", "A" * 42 + "=="],
        [ORIGIN, "17", "A" * 20 + " " + "A" * 23 + "="],
        [ORIGIN, "17", "A" * 42 + "é="],
        [ORIGIN, "17"],
        [ORIGIN, "17", "A" * 43 + "=", "an extension"],
        [ORIGIN, "17", "A" * 43 + "=", ""],
        ["a\tb", "17", "A" * 43 + "="],
        ["a\0b", "17", "A" * 43 + "="],
        [ORIGIN, "17", "A" * 43 + "=\r"],
    ],
)
def test_open_when_it_is_signed_and_of_another_form_refuses(lines: list[str]) -> None:
    """By whoever has the key: strictness is not the signature's work."""
    text = "".join(f"{line}\n" for line in lines)
    signature = b64encode(SIGNER.key.id + SIGNER.private.sign(text.encode())).decode()
    assert not opens(f"{text}\n— {ORIGIN} {signature}\n")


@pytest.mark.parametrize(
    "line", ["- {} {}", "—{} {}", "— {}  {}", "— {} {} ", " — {} {}", "— {} {} more", "—\u00a0{} {}", "– {} {}"]
)
def test_open_when_the_line_of_the_signature_is_of_another_form_refuses(line: str) -> None:
    text, _, signature = NOTE.partition("\n\n")
    assert not opens(f"{text}\n\n{line.format(*signature.strip().split(' ')[1:])}\n")


@pytest.mark.parametrize("name", ["", "a+b", "a\u2003b"])
def test_open_when_somebody_beside_has_no_name_that_a_key_can_have_refuses(name: str) -> None:
    held = b64encode(b"abcd" + bytes(64)).decode()
    assert opens(f"{NOTE}— name {held}\n")
    assert not opens(f"{NOTE}— {name} {held}\n")


@pytest.mark.parametrize(("length", "good"), [(0, False), (4, False), (5, True)])
def test_open_when_a_signature_beside_is_short_refuses(length: int, good: bool) -> None:
    assert opens(f"{NOTE}— name {b64encode(bytes(length)).decode()}\n") == good


def test_open_when_a_known_key_signs_twice_and_once_falsely_refuses() -> None:
    false = b64encode(SIGNER.key.id + bytes(64)).decode()
    assert not opens(f"{NOTE}— {ORIGIN} {false}\n")


def test_open_when_it_is_too_long_refuses() -> None:
    with pytest.raises(offline.Refused, match="longer"):
        offline.read_note("x" * 65_537)
    with pytest.raises(offline.Refused, match="three lines"):
        offline.read_note("x" * 65_536)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        "name+00000000+",
        str(SIGNER.key)[:-1],
        str(SIGNER.key) + "=",
        str(SIGNER.key).replace(ORIGIN, "another.example.org"),
        str(SIGNER.key).replace(SIGNER.key.id.hex(), SIGNER.key.id.hex().upper().replace("A", "B")[:7] + "x"),
        f"{ORIGIN}+{SIGNER.key.id.hex()}+{b64encode(bytes([2]) + SIGNER.key.public).decode()}",
        f"{ORIGIN}+{SIGNER.key.id.hex()}+{b64encode(bytes([1]) + SIGNER.key.public + b'x').decode()}",
        str(Key(ORIGIN, bytes([2]) + bytes(31))),  # y = 2: not on the curve
        str(Key(ORIGIN, b"\xff" * 32)),  # y beyond the field
        str(Key("two words", SIGNER.key.public)),
        str(SIGNER.key).replace(ORIGIN, "half\ud800"),
    ],
)
def test_read_key_when_it_is_not_whole_refuses(key: str) -> None:
    with pytest.raises(Invalid, match=r"^The key "):
        read_key(key)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+", str(SIGNER)[:-2], str(SIGNER).replace(ORIGIN, "else"), "x" * 99])
def test_read_signer_when_it_is_not_whole_refuses_without_telling_it(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_signer(text)
    assert "PRIVATE" not in str(refusal.value)


def test_sign_when_the_record_is_another_refuses() -> None:
    with pytest.raises(Invalid, match="named after"):
        signed(Checkpoint("else.example.org", 1, bytes(32)), SIGNER)


@pytest.mark.parametrize("checkpoint", [Checkpoint(ORIGIN, -1, bytes(32)), Checkpoint(ORIGIN, 1, bytes(31))])
def test_sign_when_it_is_no_checkpoint_refuses(checkpoint: Checkpoint) -> None:
    with pytest.raises(Invalid):
        signed(checkpoint, SIGNER)


@pytest.mark.parametrize("name", ["", "two words", "one+two", "a\nb", "a\u2003b", "x" * 201])
def test_new_signer_when_no_key_can_have_the_name_refuses(name: str) -> None:
    with pytest.raises(Invalid):
        new_signer(name)


def test_repr_when_a_signer_gets_into_a_log_holds_no_secret() -> None:
    assert str(SIGNER).rpartition("+")[2] not in repr(SIGNER)
