"""The cast on a real target, as for grants."""

from tests.grants.conftest import databases, people

__all__ = ["databases", "people"]
