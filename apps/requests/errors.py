"""Refusals of requests."""

from apps.core.errors import Invalid


class Refused(Invalid):
    """Well put, and still not given: worth an entry in the record, unlike a slip of the keyboard."""
