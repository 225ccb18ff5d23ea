"""Pages that follow what happens: a poll gets the page again when something on it has changed, and 204 when not."""

import hashlib

from django.http import HttpRequest


def state_of(*seen: object) -> str:
    """A short word for what the page shows; it travels in the address of the next poll."""
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def is_unchanged(request: HttpRequest, state: str) -> bool:
    """Whether this is a poll of a page that still shows the truth."""
    return bool(request.headers.get("HX-Request")) and request.GET.get("state") == state
