"""The cast on a real target, as for grants."""

from tests.grants.conftest import databases, left_behind, people

__all__ = ["databases", "left_behind", "people"]
