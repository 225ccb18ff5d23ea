"""SCRAM-SHA-256 verifiers, RFC 5802 and 7677, computed here so that no plaintext reaches a target's log."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets

from apps.engines.base import Refused

# Drivers on ongres/scram 2.x (DBeaver's) refuse fewer; more only costs the server time (field notes R3).
ITERATIONS = 4096
_SALT_BYTES = 16
_KEY_BYTES = 32
_VERIFIER = re.compile(r"SCRAM-SHA-256\$4096:([A-Za-z0-9+/=]{24})\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})")
_PASSWORD = re.compile(r"[!-~]+")


def new_password() -> str:
    """192 random bits in 32 characters that need no quoting in a URL or a shell."""
    return secrets.token_urlsafe(24)


def verifier(password: str, *, salt: bytes | None = None) -> str:
    """What the server stores for `password`, which must be printable ASCII (SASLprep leaves that as it is)."""
    if not _PASSWORD.fullmatch(password):
        raise Refused("The password for a login must be printable ASCII without spaces, and not empty.")
    salt = salt or secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def checked(verifier: str) -> str:
    """The verifier as it is, or Refused: PostgreSQL takes a malformed one for a plaintext password, silently."""
    match = _VERIFIER.fullmatch(verifier)
    if match is None or [_length(part) for part in match.groups()] != [_SALT_BYTES, _KEY_BYTES, _KEY_BYTES]:
        raise Refused(
            "The password's verifier is malformed; it was not sent, as the server would take it for a password."
        )
    return verifier


def _length(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except binascii.Error:
        return -1


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
