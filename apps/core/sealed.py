"""Secrets at rest.

A manager secret is sealed to the workers' public key (HPKE, RFC 9180): whoever seals it cannot open it again.
A grant password is encrypted with a ring of symmetric keys and bound to what it belongs to, so that a row
copied to another grant does not open.
"""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NONCE_BYTES = 12


class CannotOpen(Exception):
    """The key is missing or wrong, or the secret belongs to something else."""


def new_keypair() -> tuple[str, str]:
    """(private, public), base64 of the raw X25519 keys."""
    private = X25519PrivateKey.generate()
    return _encode(private.private_bytes_raw()), _encode(private.public_key().public_bytes_raw())


def seal(secret: str, *, public_key: str, bound_to: str) -> bytes:
    """Seal to a public key. `bound_to` names the owner of the secret and must be given again to open it."""
    key = X25519PublicKey.from_public_bytes(base64.b64decode(public_key))
    return _SUITE.encrypt(secret.encode(), key, info=bound_to.encode())


def unseal(sealed: bytes, *, private_key: str, bound_to: str) -> str:
    """Raises CannotOpen."""
    key = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    try:
        return _SUITE.decrypt(bytes(sealed), key, info=bound_to.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise CannotOpen("This secret does not open with the key at hand.") from error


def new_ring_key() -> str:
    """One key of a ring: base64 of 32 random bytes."""
    return _encode(os.urandom(32))


def encrypt(secret: str, *, ring: list[str], bound_to: str) -> bytes:
    """Encrypt with the first key of the ring."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(base64.b64decode(ring[0])).encrypt(nonce, secret.encode(), bound_to.encode())


def decrypt(sealed: bytes, *, ring: list[str], bound_to: str) -> str:
    """Try every key of the ring, so that keys can be rotated. Raises CannotOpen."""
    nonce, text = bytes(sealed)[:_NONCE_BYTES], bytes(sealed)[_NONCE_BYTES:]
    for key in ring:
        try:
            return AESGCM(base64.b64decode(key)).decrypt(nonce, text, bound_to.encode()).decode()
        except InvalidTag:
            continue
    raise CannotOpen("This secret does not open with any key of the ring.")


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
