"""What cannot be meant: a sentence beside the field, and nothing half done."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, preview, submit
from tests.factories import Cast

pytestmark = pytest.mark.django_db

AskFor = Callable[..., Ask]
STARS = "✶" * 2001


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"level": "god"}, "level"),
        ({"level": ""}, "level"),
        ({"connection": "carrier pigeon"}, "connection"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": -5}, "minutes"),
        ({"minutes": 10**9}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": 1.5}, "minutes"),
        ({"minutes": "60"}, "minutes"),
        ({"reason": ""}, "reason"),
        ({"reason": " \n\t "}, "reason"),
        ({"reason": STARS}, "reason"),
        ({"reason": "nul\0"}, "reason"),
        ({"reason": "half \ud800"}, "reason"),
        ({"reason": None}, "reason"),
        ({"ticket": "x" * 101}, "ticket"),
        ({"ticket": "nul\0"}, "ticket"),
        ({"database": "nul\0"}, "database"),
        ({"tables": ()}, "tables"),
        ({"tables": ("",)}, "tables"),
        ({"tables": "sales.orders"}, "tables"),
        ({"tables": (3,)}, "tables"),
        ({"tables": ("orders",)}, "tables"),
        ({"tables": ("sales.no_such_table",)}, "tables"),
        ({"tables": ("sales.orders", "sales.no_such_table")}, "tables"),
        ({"tables": ("Sales.Orders",)}, "tables"),
        ({"tables": ("nothing.*",)}, "tables"),
        ({"tables": ("*.*",)}, "tables"),
        ({"tables": ("sales.nul\0",)}, "tables"),
        ({"tables": ("x" * 64 + ".t",)}, "tables"),
        ({"tables": ("sales.orders; DROP TABLE sales.orders; --",)}, "tables"),
        ({"tables": ('"sales.orders',)}, "tables"),
        ({"unmask": ("sales.orders",)}, "unmask"),
        ({"unmask": ("sales.orders.id",)}, "unmask"),
        ({"unmask": ("sales.customers.email",)}, "unmask"),
        ({"unmask": ("';--",)}, "unmask"),
        ({"starts_at": datetime(2030, 1, 1)}, "starts_at"),  # noqa: DTZ001 - naive on purpose
        ({"starts_at": datetime(2020, 1, 1, tzinfo=UTC)}, "starts_at"),
        ({"starts_at": datetime.min.replace(tzinfo=UTC)}, "starts_at"),
        ({"starts_at": datetime.max.replace(tzinfo=UTC)}, "starts_at"),
        ({"starts_at": "2030-01-01T00:00:00Z"}, "starts_at"),
    ],
)
@pytest.mark.parametrize("way", [submit, preview])
def test_submit_names_the_field_when_it_cannot_be_meant(
    people: Cast, ask: AskFor, parts: dict[str, Any], field: str, way: Callable[..., object]
) -> None:
    with pytest.raises(Invalid) as refusal:
        way(actor=people.alice, ask=ask(**parts))

    assert refusal.value.field == field
    assert refusal.value.sentence.strip()
    assert not AccessRequest.objects.exists()
