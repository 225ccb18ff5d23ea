"""The cast on a real target, and a cursor that stands at the end of the record: earlier tests have written to it."""

from typing import TYPE_CHECKING

import pytest

from tests.grants import conftest as grants

if TYPE_CHECKING:
    from tests.factories import Cast

databases = grants.databases
_people = grants.people


@pytest.fixture
def people(_people: "Cast") -> "Cast":
    from apps.audit import services as audit
    from apps.notifications.models import Cursor

    Cursor.objects.create(pk=1, next_index=audit.head().size)
    return _people
