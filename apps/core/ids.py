"""Opaque identifiers: ten characters of base32, 50 random bits, safe in a URL and in a role's name."""

import base64
import secrets

LENGTH = 10


def new_id() -> str:
    """A fresh id such as `k3v5x2m7qa`. Uniqueness is the primary key's business."""
    return base64.b32encode(secrets.token_bytes(7)).decode("ascii").lower()[:LENGTH]
