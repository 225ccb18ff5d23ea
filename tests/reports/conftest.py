"""Everybody, and the default rules."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.factories import Cast


@pytest.fixture
def people() -> "Cast":
    from apps.policies.services import ensure_default_rules
    from tests.factories import cast

    ensure_default_rules()
    return cast()
