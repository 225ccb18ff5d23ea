import pytest

from apps.core.errors import Invalid
from apps.core.texts import checked


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "   ", 7, "x" * 11, "\u202egnp.exe", "a\u2066b"])
def test_check_refuses_text_when_it_cannot_be_kept_or_misleads(value: object) -> None:
    with pytest.raises(Invalid) as refusal:
        checked(value, what="The reason", field="reason", at_most=10, required=True)
    assert refusal.value.field == "reason"


def test_check_strips_white_space_when_text_is_good() -> None:
    assert checked("  Größe 大\n", what="The reason", field="reason", at_most=10) == "Größe 大"
