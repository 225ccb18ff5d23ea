"""The exact bytes of an entry's body: RFC 8785 (JCS), without floating point.

One value has one form, so that a body can be hashed as it is stored and still be read by any JSON parser.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

import orjson
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
    written = _WRITER.encode(checked)
    return written.encode() if written.isascii() else rfc8785.dumps(checked)


def decode(body: bytes) -> dict[str, Json]:
    """The object that `body` stands for. Raises Invalid unless `body` is exactly what encode() makes of it."""
    (value,) = rewritten([body])
    return value if value is not None and is_exact([value]) else judge(body)


def judge(body: bytes) -> dict[str, Json]:
    """As decode(), without a short way."""
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


def rewritten(bodies: Sequence[bytes]) -> list[dict[str, Any] | None]:
    """The object in each body that orjson writes in the very same bytes again; None where judge() has to say.

    That is the canonical form if is_exact() holds of it. What orjson would sort or read in another way than RFC 8785
    is not given to it: characters beyond the first plane, and `\\u`, which stands for NUL, other control characters
    and halves of characters.
    """
    joined = b",".join(bodies)
    plain = bodies if _is_plain(joined) else [body if _is_plain(body) else _NOTHING for body in bodies]
    values = _loaded(plain)
    # One list of them all takes less time. It is the same only if each is: a JSON text has one way to be read.
    if plain is bodies and None not in values and _dumped(values) == b"[" + joined + b"]":
        return values
    return [
        value if value is not None and _dumped(value) == body else None
        for value, body in zip(values, bodies, strict=True)
    ]


def is_exact(values: Collection[Any], depth: int = 8) -> bool:
    """Whether all that orjson has read is text, a whole number, true, false or null, in no more than `depth` lists and
    objects: it also reads floating point, and writes most of it as it was.
    """
    for _ in range(depth):
        kinds = set(map(type, values))
        if kinds <= _SCALARS:
            return True
        if not kinds <= _KINDS:
            return False
        held = [value for value in values if type(value) in _CONTAINERS]
        values = list(chain.from_iterable(value.values() if type(value) is dict else value for value in held))
    return False


def _is_plain(body: bytes) -> bool:
    if b"\\" in body and b"\\u" in body:
        return False
    return body.isascii() or len(body.translate(None, _BEYOND_THE_FIRST_PLANE)) == len(body)


def _loaded(bodies: Sequence[bytes]) -> list[Any]:
    """None where one cannot be read, or is too large, or no object."""
    try:
        values = list(map(orjson.loads, bodies))
    except orjson.JSONDecodeError:
        if len(bodies) == 1:
            return [None]
        values = [_loaded([body])[0] for body in bodies]
    if set(map(type, values)) != {dict} or max(map(len, bodies), default=0) > MAX_BYTES:
        fits = [type(value) is dict and len(body) <= MAX_BYTES for value, body in zip(values, bodies, strict=True)]
        values = [value if is_one else None for value, is_one in zip(values, fits, strict=True)]
    return values


def _dumped(value: object) -> bytes | None:
    try:
        return orjson.dumps(value, option=_AS_RFC_8785)
    except orjson.JSONEncodeError:
        return None


_WRITER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
_AS_RFC_8785: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_BEYOND_THE_FIRST_PLANE: Final = bytes(range(0xF0, 0x100))  # how four bytes of UTF-8 begin
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list})
_KINDS: Final = _SCALARS | _CONTAINERS
_NOTHING: Final = b"null"


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
