"""The whole corpus against a credential of the level change. One leak fails the run."""

from collections.abc import Callable

import pytest

from apps.engines.base import Level, LoginSpec
from tests.bypass.assault import Attacker, leaks_of
from tests.bypass.attack import Attack
from tests.bypass.attacks import CORPUS


@pytest.mark.parametrize("attack", CORPUS, ids=lambda attack: f"{attack.family}: {attack.name}")
def test_keeps_every_secret_when_attacked_at_level_change(
    attack: Attack, attacker: Callable[[Level], Attacker], issued: Callable[[Level], LoginSpec]
) -> None:
    other = issued(Level.CHANGE if Level.CHANGE is Level.QUERY else Level.QUERY).login
    assert leaks_of(attack, attacker(Level.CHANGE), other) == []
