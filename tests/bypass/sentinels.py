"""Random values for every masked column, and every form in which one of them could come over the wire."""

import base64
import hashlib
import secrets
import struct
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

PEOPLE: Final = 24
PRICES: Final = 400
STAFF: Final = 200


def word() -> str:
    return "".join(secrets.choice("bcdfghjkmpqrtvwxz") for _ in range(18))


def number() -> int:
    """Ten digits: it does not occur by chance, and int8 in the binary protocol is as long."""
    return 1_100_000_000 + secrets.randbelow(850_000_000)


def day() -> date:
    return date(1950, 1, 2) + timedelta(days=secrets.randbelow(15_000))


@dataclass(frozen=True)
class Secret:
    """A value that must not come over the wire, in any of its `forms`."""

    where: str  # people.ssn of 7
    forms: tuple[bytes, ...]


class Recogniser:
    """Finds any form of any secret in what was heard, in one pass."""

    _HEAD = 5  # bytes; no form is shorter

    def __init__(self, secrets_: Iterable[Secret]) -> None:
        self._by_head: dict[bytes, list[tuple[Secret, bytes]]] = defaultdict(list)
        for secret in secrets_:
            for form in secret.forms:
                assert len(form) >= self._HEAD, form
                self._by_head[form[: self._HEAD]].append((secret, form))

    def within(self, heard: bytes) -> Iterator[tuple[Secret, bytes]]:
        for start in range(len(heard) - self._HEAD + 1):
            for secret, form in self._by_head.get(heard[start : start + self._HEAD], ()):
                if heard.startswith(form, start):
                    yield secret, form


def person(number_: int) -> dict[str, Any]:
    """A row of app.people, without its generated columns."""
    born, seen = day(), datetime.combine(day(), datetime.min.time()) + timedelta(seconds=secrets.randbelow(80_000))
    # A day that is no first of a month: what the masks show are firsts.
    born, seen = (
        born.replace(day=2 + born.day % 26),
        seen.replace(day=2 + seen.day % 26, microsecond=number() % 999_999),
    )
    return {
        "id": number_,
        "region": ("EU", "US", "ASIA")[number_ % 3],
        "grade": 10,
        "team": number_ % 4,
        "active": number_ % 2 == 0,
        "note": f"note {number_}",
        "name": f"{word()} {word()}",
        "email": f"{word()}@mail{number_ % 3}.example",
        "phone": f"+49{number()}{secrets.randbelow(100):02}",
        "ssn": word(),
        "card": f"{number()}{secrets.randbelow(100):02}{number_:04}",
        "salary": number(),
        "bonus": number() // 1000 * 1000 + 1 + secrets.randbelow(998),
        "score": f"{number()}.{secrets.randbelow(900) + 100}",
        "ratio": number() + 0.5,
        "born": born,
        "seen": seen.isoformat(sep=" ") + "+00",
        "visited": (seen + timedelta(days=40)).replace(day=seen.day),
        "code": uuid.uuid4(),
        "doc": f'{{"{word()}": "{word()}"}}',
        "raw": f'{{"{word()}": "{word()}"}}',
        "tags": [word(), word()],
        "marks": [number(), number()],
        "mood": ("calm", "cross", "gone")[secrets.randbelow(3)],
        "pin": word(),
        "blob": word().encode(),
        "addr": ".".join(str(100 + secrets.randbelow(150)) for _ in range(4)),
        "span": timedelta(seconds=number()),
        "during": f"[{seen.isoformat(sep=' ')}+00,)",
        "whole": f"({word()},{number()})",
    }


def secrets_of(row: dict[str, Any]) -> Iterator[Secret]:
    """Of one person; parts that its masks show are not secret."""
    where = f"people {{}} of {row['id']}"
    for column in ("ssn", "pin"):
        if row[column] is not None:
            yield Secret(where.format(column), of_text(row[column]))
    yield Secret(where.format("name"), of_text(row["name"]) + of_text(row["name"][1:]))
    yield Secret(where.format("email"), of_text(row["email"].split("@")[0]))
    yield Secret(where.format("phone"), of_text(row["phone"][:-2]))
    yield Secret(where.format("card"), of_text(row["card"][:-4]))
    for column in ("salary", "bonus"):
        yield Secret(where.format(column), of_number(row[column]))
    yield Secret(where.format("yearly"), of_number(row["salary"] * 12))
    for number_ in row["marks"]:
        yield Secret(where.format("marks"), of_number(number_))
    for column in ("score", "ratio"):
        yield Secret(where.format(column), of_text(str(row[column]).split(".")[0]))
    for column in ("doc", "raw"):
        for part in row[column].split('"')[1::2]:
            yield Secret(where.format(column), of_text(part))
    for part in row["tags"]:
        yield Secret(where.format("tags"), of_text(part))
    yield Secret(where.format("code"), (str(row["code"]).encode(), row["code"].bytes))
    yield Secret(where.format("blob"), of_text(row["blob"].decode()))
    yield Secret(where.format("addr"), of_text(row["addr"]))
    yield Secret(where.format("whole"), of_text(row["whole"][1:19]))
    yield Secret(where.format("span"), of_number(int(row["span"].total_seconds())))
    yield Secret(where.format("born"), of_day(row["born"]))
    yield Secret(where.format("seen"), of_day(datetime.fromisoformat(row["seen"]).date()))
    yield Secret(where.format("visited"), of_day(row["visited"].date()))


def of_text(value: str) -> tuple[bytes, ...]:
    """As it is, in the usual encodings, backwards, in capitals, hashed."""
    raw = value.encode()
    digests = [hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha256")]
    inner = base64.b64encode(raw)[: len(raw) * 4 // 3 // 4 * 4]
    return (raw, raw[::-1], raw.upper(), raw.hex().encode(), raw.hex().upper().encode(), inner, *digests)


def of_number(value: int) -> tuple[bytes, ...]:
    """As text, with thousands, negative or scaled does not matter: the digits are there; and as binary int8."""
    return (str(value).encode(), f"{value:,}".encode(), str(value)[::-1].encode(), struct.pack(">q", value))


def of_day(value: date) -> tuple[bytes, ...]:
    """In every DateStyle, and as the number of days that binary formats hold."""
    forms = ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y%m%d", "%Y-%j")
    return tuple(value.strftime(form).encode() for form in forms)
