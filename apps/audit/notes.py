"""Checkpoints as signed notes: c2sp.org/signed-note and c2sp.org/tlog-checkpoint, Ed25519. Pure.

What is signed is the head of our chain, not the root of a Merkle tree (docs/audit-format.md). Notes are read by the
very code that auditors are given (offline/verify.py), and their signatures are made and checked by another.
"""

from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apps.audit.offline import verify as offline
from apps.audit.offline.verify import Key
from apps.core.errors import Invalid

__all__ = ["Checkpoint", "Key", "Signer", "new_signer", "opened", "read_key", "read_signer", "signed"]

_DASH: Final = "\u2014"
_ED25519: Final = b"\1"
_PREFIX: Final = "PRIVATE+KEY+"
_LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class Checkpoint:
    """`hash` is the chain's behind the last of `size` entries, 32 bytes; `origin` names the record."""

    origin: str
    size: int
    hash: bytes


@dataclass(frozen=True)
class Signer:
    """A private key with its name, which is the origin of the record that it signs."""

    key: Key
    private: Ed25519PrivateKey

    def __str__(self) -> str:
        """As it is kept in a file: PRIVATE+KEY+name+id+base64, the form of Go's note package."""
        held = b64encode(_ED25519 + self.private.private_bytes_raw()).decode()
        return f"{_PREFIX}{self.key.name}+{self.key.id.hex()}+{held}"

    def __repr__(self) -> str:
        """Without the secret: it must not get into a log."""
        return f"Signer({self.key})"


def new_signer(name: str) -> Signer:
    """A fresh key. Raises Invalid for a name that no key can have."""
    if len(name) > _LONGEST_NAME:
        raise Invalid(f"The name of a key has at most {_LONGEST_NAME} characters.")
    return _signer(name, Ed25519PrivateKey.generate())


def read_signer(text: str) -> Signer:
    """What str(signer) made. Raises Invalid, without a word of the secret."""
    name, _, rest = text.strip().removeprefix(_PREFIX).partition("+")
    number, _, encoded = rest.partition("+")
    with suppress(offline.Refused):
        held = offline.from_base64(encoded)
        if text.startswith(_PREFIX) and len(held) == 33 and held[:1] == _ED25519:
            signer = _signer(name, Ed25519PrivateKey.from_private_bytes(held[1:]))
            if signer.key.id.hex() == number:
                return signer
    raise Invalid("This is no whole signing key: make one with `manage.py new_signing_key FILE`.")


def read_key(text: str) -> Key:
    """A verifier key: name+id+base64. Raises Invalid."""
    try:
        return offline.read_key(text)
    except offline.Refused as refusal:
        raise Invalid(f"The key {refusal}.") from refusal


def signed(checkpoint: Checkpoint, signer: Signer) -> str:
    """The note. Raises Invalid for what cannot be a checkpoint, or is another's to sign."""
    if signer.key.name != checkpoint.origin:
        raise Invalid(
            f"The signing key is of {signer.key.name!a}, and the record is {checkpoint.origin!a} "
            "(JITPORTAL_AUDIT_ORIGIN): a key signs the record that it is named after."
        )
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{b64encode(checkpoint.hash).decode()}\n"
    signature = signer.key.id + signer.private.sign(text.encode())
    note = f"{text}\n{_DASH} {signer.key.name} {b64encode(signature).decode()}\n"
    opened(note, [signer.key])  # nothing leaves that an auditor could not read
    return note


def opened(note: str, keys: Iterable[Key]) -> tuple[Checkpoint, tuple[Key, ...]]:
    """What a note says, and which of `keys` say so. Raises Invalid where none does, or one falsely."""
    try:
        read = offline.read_note(note)
    except offline.Refused as refusal:
        raise Invalid(f"The note {refusal}.") from refusal
    signers = []
    for key in keys:
        signatures = [held for name, number, held in read.signatures if (name, number) == (key.name, key.id)]
        if len(signatures) > 1:
            raise Invalid(f"The note is signed twice by {key.name!a}.")
        if signatures:
            _check(key, signatures[0], read.text)
            signers.append(key)
    if not signers:
        raise Invalid("The note is not signed by a key that is known here.")
    return Checkpoint(read.origin, read.size, read.hash), tuple(signers)


def _signer(name: str, private: Ed25519PrivateKey) -> Signer:
    key = Key(name, private.public_key().public_bytes_raw())
    return Signer(read_key(str(key)), private)


def _check(key: Key, signature: bytes, text: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
    except InvalidSignature:
        raise Invalid(f"The note has a signature of {key.name!a} that is not right.") from None
