"""Imports are inside: this file is read before Django is set up."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from apps.requests.services import Ask
    from tests.factories import Cast


@pytest.fixture
def people() -> "Cast":
    """The cast, and the default policy."""
    from apps.policies.services import ensure_default_rules
    from tests.factories import cast

    made = cast()
    ensure_default_rules(actor="operator")
    return made


@pytest.fixture
def ask() -> "Callable[..., Ask]":
    """A request as alice would make it, with parts changed."""
    from apps.requests.services import Ask

    usual = {
        "database": "shop",
        "level": "query",
        "tables": ("sales.orders", "sales.order_lines"),
        "connection": "direct",
        "minutes": 60,
        "reason": "Order 4711 is charged twice.",
        "ticket": "OPS-1",
    }

    def build(**parts: Any) -> Ask:
        return Ask(**{**usual, **parts})

    return build
