import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.canonical import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, decode, encode
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
