"""The chain that makes a change of the record visible. Pure: the database computes the same in audit.seal_entry().

leaf_n = SHA-256(0x00 ‖ be64(index) ‖ be64(recorded_at, µs since 1970) ‖ recorded_by ‖ 0x00 ‖ body)
hash_n = SHA-256(0x01 ‖ hash_{n−1} ‖ leaf_n),  hash_{−1} = 32 zero bytes
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

ZERO: Final = bytes(32)
SALT_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sealed:
    """One entry with its seal. `recorded_at` is in µs since 1970."""

    index: int
    recorded_at: int
    recorded_by: str
    body: bytes
    hash: bytes


@dataclass(frozen=True)
class Head:
    """How far a chain has been followed: `size` entries, the last one's hash and time."""

    size: int = 0
    hash: bytes = ZERO
    recorded_at: int = -(2**63)


def micros(moment: datetime) -> int:
    """µs since 1970, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def leaf(*, index: int, recorded_at: int, recorded_by: str, body: bytes) -> bytes:
    """The hash of one entry alone. A role's name holds no NUL, so the separator is unambiguous."""
    return sha256(b"\0" + _be64(index) + _be64(recorded_at) + recorded_by.encode() + b"\0" + body).digest()


def link(previous: bytes, leaf_hash: bytes) -> bytes:
    """The hash of an entry and of everything before it."""
    return sha256(b"\1" + previous + leaf_hash).digest()


def commitment(salt: bytes, value: str) -> str:
    """What a body holds instead of a text about people: hex. The salt keeps short texts from being guessed."""
    return sha256(salt + value.encode()).hexdigest()


def verify_step(head: Head, entry: Sealed) -> tuple[Head, list[str]]:
    """Follow the chain by one entry: the new head, and what is wrong with this entry, in sentences.

    The new head takes the stored hash, so that one altered entry is one problem and not a problem of all after it.
    """
    problems = []
    if entry.index != head.size:
        problems.append(f"Entry {entry.index} stands where entry {head.size} should: something is missing or doubled.")
    if entry.recorded_at < head.recorded_at:
        problems.append(f"Entry {entry.index} was recorded before the entry in front of it: its time was changed.")
    expected = link(
        head.hash,
        leaf(index=entry.index, recorded_at=entry.recorded_at, recorded_by=entry.recorded_by, body=entry.body),
    )
    if expected != entry.hash:
        problems.append(
            f"Entry {entry.index}: its hash does not follow from its content and the entry before it; "
            "one of the two was changed after it was sealed."
        )
    return Head(size=entry.index + 1, hash=entry.hash, recorded_at=entry.recorded_at), problems


def verify_end(reached: Head, claimed: Head) -> list[str]:
    """Whether a chain that was followed to `reached` is the one that `claimed` (a checkpoint) tells of."""
    if reached.size != claimed.size:
        return [f"The record holds {reached.size} entries, but its head says {claimed.size}."]
    if reached.hash != claimed.hash:
        return [f"The record of {reached.size} entries ends in another hash than its head says: it was rewritten."]
    return []


def verify(entries: Iterable[Sealed], claimed: Head) -> list[str]:
    """Follow a whole chain from its beginning to a head that is known from elsewhere."""
    head, problems = Head(), []
    for entry in entries:
        head, found = verify_step(head, entry)
        problems.extend(found)
    return problems + verify_end(head, claimed)


def _be64(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)
