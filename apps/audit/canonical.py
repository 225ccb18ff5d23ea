"""The exact bytes of an entry's body: RFC 8785 (JCS), without floating point.

One value has one form, so that a body can be hashed as it is stored and still be read by any JSON parser.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import rfc8785

from apps.core.errors import Invalid

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_BYTES: Final = 65_536
MAX_DEPTH: Final = 32  # a body is a record, not a tree
MAX_INTEGER: Final = 2**53 - 1  # beyond it a parser that reads numbers as doubles sees another number


def encode(value: Mapping[str, Json]) -> bytes:
    """Canonical bytes of one object. Raises Invalid for whatever has no single form, or is too large."""
    if not isinstance(value, Mapping):
        raise Invalid(f"An entry of the record is one JSON object, not {type(value).__name__}.")
    body = _bytes(_checked(value, depth=1))
    if len(body) > MAX_BYTES:
        raise Invalid(f"An entry of the record holds at most {MAX_BYTES} bytes; this one has {len(body)}.")
    return body


def _bytes(checked: Any) -> bytes:
    """Without floating point only the order of keys sets RFC 8785 apart from what json writes: UTF-16 against code
    points, which agree on ASCII. The library that knows the rest takes ten times as long.
    """
    written = json.dumps(checked, ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
    return written.encode() if written.isascii() else rfc8785.dumps(checked)


def decode(body: bytes) -> dict[str, Json]:
    """The object that `body` stands for. Raises Invalid unless `body` is exactly what encode() makes of it."""
    if len(body) > MAX_BYTES:
        raise Invalid(f"The body has {len(body)} bytes; at most {MAX_BYTES} are allowed.")
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Invalid("The body is not JSON in UTF-8.") from error
    if not isinstance(value, dict):
        raise Invalid("The body is not a JSON object.")
    if encode(value) != body:
        raise Invalid("The body is JSON, but not in its canonical form.")
    return value


def text(value: str) -> str:
    """`value` itself, if PostgreSQL and UTF-8 can hold it. Raises Invalid."""
    if "\0" in value:
        raise Invalid("A text for the record holds a NUL character; remove it.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid("A text for the record holds half a character (a lone surrogate); remove it.") from error
    return value


def _checked(value: object, *, depth: int) -> Any:
    """A copy made of plain dict, list, str, int, bool and None."""
    if depth > MAX_DEPTH:
        raise Invalid(f"An entry of the record nests at most {MAX_DEPTH} levels.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Invalid("A number for the record lies beyond ±(2^53−1); give it as text.")
        return value
    if isinstance(value, Mapping):
        return {_key(key): _checked(inner, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(inner, depth=depth + 1) for inner in value]
    raise Invalid(
        f"The record holds texts, whole numbers, true, false, null, lists and objects, no {type(value).__name__}; "
        "give it as text."
    )


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Invalid(f"The name of a field in the record is a text, not {type(key).__name__}.")
    return text(key)
