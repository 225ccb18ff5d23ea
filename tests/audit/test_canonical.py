import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.audit.canonical import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, decode, encode, is_exact, judge, rewritten
from apps.core.errors import Invalid

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
plain = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(st.characters(max_codepoint=127, exclude_characters="\0"))
objects = st.dictionaries(texts, values, max_size=6)


@given(objects)
def test_encode_when_read_back_gives_the_same_object(value: dict[str, Any]) -> None:
    assert decode(encode(value)) == value


@given(objects)
def test_encode_when_done_by_the_library_gives_the_same_bytes(value: dict[str, Any]) -> None:
    """Most bodies are plain ASCII, and those are written without it."""
    assert encode(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127, exclude_characters="\0")), plain, max_size=6))
def test_encode_when_all_is_ascii_gives_the_same_bytes_as_the_library(value: dict[str, Any]) -> None:
    assert encode(value) == rfc8785.dumps(value)


@given(objects)
def test_encode_when_keys_come_in_another_order_gives_the_same_bytes(value: dict[str, Any]) -> None:
    assert encode(dict(reversed(value.items()))) == encode(value)


@given(objects.filter(bool), st.sampled_from([{"indent": 1}, {"ensure_ascii": True}, {"separators": (", ", ": ")}]))
def test_decode_when_written_in_another_form_refuses(value: dict[str, Any], form: dict[str, Any]) -> None:
    other = json.dumps(value, **({"ensure_ascii": False, "separators": (",", ":")} | form)).encode()
    if other == encode(value):
        return
    with pytest.raises(Invalid):
        decode(other)


@given(st.binary(max_size=200))
def test_decode_when_given_any_bytes_answers_or_refuses(body: bytes) -> None:
    try:
        value = decode(body)
    except Invalid:
        return
    assert encode(value) == body


# What sets parsers and writers of JSON apart: numbers, escapes, order and doubling of keys, white space, bytes.
_numbers = ["0", "-0", "1.0", "1.5", "-0.0", "1e3", "1E3", "1e-7", "0.1", "01", "+1", ".5", "5.", "NaN", "Infinity"]
_edges = [1, MAX_INTEGER, MAX_INTEGER + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**400]
_odd_numbers = st.sampled_from([*_numbers, *map(str, _edges), *(f"-{edge}" for edge in _edges)])
_escaped = [r"\u0000", r"\u001f", r"\u001F", r"\u0041", r"\ud800", r"\ud83d\ude00", r"\/", r"\b\f\n\r\t"]
_escapes = [*_escaped, r"\\u", r"\\", r"\"", r"\x"]
_characters = ["\x7f", "\u2028", "\ufb33", "\ufeff", "\ufffd", "\U0001f600", "\xe4", "a\u0308", "\x01", "\t", '"', ""]
_odd_texts = st.sampled_from([f'"{inner}"' for inner in [*_escapes, *_characters]])
_keys = _odd_texts | st.sampled_from(['"a"', '"b"', '"a"', '"B"', '""', '"10"', '"9"'])
_space = st.sampled_from([""] * 12 + [" ", "\n", "\ufeff", "\x00"])
_pieces = st.recursive(
    _odd_numbers
    | _odd_texts
    | st.sampled_from(["true", "false", "null", "{}", "[]", "True", ""])
    | values.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)),
    lambda inner: (
        st.builds(lambda held, space: "[" + f",{space}".join(held) + "]", st.lists(inner, max_size=3), _space)
        | st.builds(
            lambda held, space: "{" + ",".join(f"{key}:{space}{value}" for key, value in held) + "}",
            st.lists(st.tuples(_keys, inner), max_size=4),
            _space,
        )
    ),
    max_leaves=8,
)
_anything = st.builds(
    lambda held, space: ("{" + ",".join(f"{key}:{value}" for key, value in held) + "}" + space).encode(),
    st.lists(st.tuples(_keys, _pieces), max_size=4),
    _space,
)
_changed = st.builds(
    lambda body, at, byte: body[: at % (len(body) + 1)] + byte + body[at % (len(body) + 1) + 1 :],
    objects.map(encode),
    st.integers(0, 200),
    st.binary(max_size=1),
)


def _verdict(judged: Any, body: bytes) -> str:
    """With the types of all that is in it: 1, 1.0 and True are equal."""
    try:
        return repr(judged(body))
    except Invalid:
        return "refused"


@settings(max_examples=600)
@given(_anything | _changed | objects.map(encode) | st.binary(max_size=30))
def test_decode_when_there_is_a_short_way_says_the_same_as_the_long_one(body: bytes) -> None:
    assert _verdict(decode, body) == _verdict(judge, body)


@settings(max_examples=200)
@given(st.lists(_anything | _changed | objects.map(encode), min_size=1, max_size=8))
def test_rewritten_when_given_many_says_of_each_what_it_says_of_it_alone(bodies: list[bytes]) -> None:
    found = rewritten(bodies)
    assert found == [rewritten([body])[0] for body in bodies]
    for value, body in zip(found, bodies, strict=True):
        if value is not None and is_exact([value]):
            assert repr(value) == _verdict(judge, body)


@pytest.mark.parametrize("value", [1.0, 1.5, -0.0, [[1.5]], {"a": [{"b": 1e300}]}])
def test_is_exact_when_there_is_floating_point_says_no(value: Any) -> None:
    assert not is_exact([{"a": 1, "b": value}])


def test_rewritten_when_bodies_are_whole_only_together_takes_none() -> None:
    assert rewritten([b'{"a":1', b'"b":2}']) == [None, None]
    assert rewritten([b'{"a":1},{"b":2}', b'{"c":3}']) == [None, {"c": 3}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"a"',
        b"nul",
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":NaN}',
        b'{"a":9007199254740992}',
        b'{"b":1,"a":1}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0000"}',
        b'{"a":1} ',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":' * 20_000,
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":"' + b"x" * MAX_BYTES + b'"}',
    ],
)
def test_decode_when_not_canonical_refuses(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode(body)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        Decimal(1),
        datetime(2026, 1, 1, tzinfo=UTC),
        b"bytes",
        {1: "number as key"},
        {"\0": 1},
        {"\ud800": 1},
        {"set"},
        "\ud800",
        "NUL \0",
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        [[1.5]],
    ],
)
def test_encode_when_a_value_has_no_single_form_refuses(value: Any) -> None:
    with pytest.raises(Invalid):
        encode({"a": value})


def test_encode_when_not_an_object_refuses() -> None:
    with pytest.raises(Invalid):
        encode(["a"])  # type: ignore[arg-type]


def test_encode_when_a_body_is_exactly_full_takes_it_and_not_a_byte_more() -> None:
    room = MAX_BYTES - len(encode({"a": ""}))
    assert len(encode({"a": "x" * room})) == MAX_BYTES
    with pytest.raises(Invalid, match="65536"):
        encode({"a": "x" * (room + 1)})


def test_encode_when_nested_too_deep_refuses_even_what_holds_itself() -> None:
    value: dict[str, Any] = {}
    for _ in range(MAX_DEPTH - 1):
        value = {"a": value}
    encode(value)
    with pytest.raises(Invalid):
        encode({"a": value})
    value["self"] = value
    with pytest.raises(Invalid):
        encode(value)


def test_encode_when_keys_lie_beyond_the_first_plane_sorts_as_utf_16() -> None:
    assert encode({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()
