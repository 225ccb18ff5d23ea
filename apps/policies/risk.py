"""How risky a request is: a sum of named weights. Pure; whatever is not known weighs as the worst that is."""

from collections.abc import Iterator
from typing import Final

from apps.policies.facts import Factor, Facts, Risk, RiskLevel

_ENVIRONMENT: Final = {"development": 0, "staging": 5, "production": 30}
_LEVEL: Final = {"query": 0, "export": 20, "change": 30}
_LEVEL_WHY: Final = {
    "export": "Data may be downloaded without a cap.",
    "change": "Data may be inserted, updated and deleted.",
}
# Masked: what remains is that rows are there at all, and how many.
_CLASSIFICATION: Final = {"": 0, "public": 0, "internal": 0, "confidential": 5, "restricted": 10}
_UNMASK: Final = {"confidential": 20, "restricted": 35}  # and for each column:
_UNMASK_EACH: Final = 5
_UNMASK_MOST: Final = 70
_UNCLASSIFIED: Final = 3
_CONNECTION: Final = {"console": 0, "direct": 15}
_WIDENED: Final = 25  # medium at least
_BREAK_GLASS: Final = 80  # critical, whatever else there is
# From so many minutes on, so much: an hour is the normal case, a working day the longest usual one.
_DURATION: Final = ((24 * 60, 30), (8 * 60, 20), (4 * 60, 10), (60, 5))
# From so much weight on, this level.
_LEVELS: Final = ((80, RiskLevel.CRITICAL), (50, RiskLevel.HIGH), (25, RiskLevel.MEDIUM), (0, RiskLevel.LOW))


def assess(facts: Facts) -> Risk:
    """Every factor that adds to the risk, heaviest first, and the level of their sum."""
    factors = sorted((factor for factor in _factors(facts) if factor.weight), key=lambda factor: -factor.weight)
    total = sum(factor.weight for factor in factors)
    return Risk(next(level for weight, level in _LEVELS if total >= weight), tuple(factors))


def _factors(facts: Facts) -> Iterator[Factor]:
    yield Factor("environment", _weight(_ENVIRONMENT, facts.environment), f"The database is {facts.environment}.")
    yield Factor(
        "level", _weight(_LEVEL, facts.level), _LEVEL_WHY.get(facts.level, f"The level {facts.level} is not known.")
    )
    yield Factor(
        "classification",
        _weight(_CLASSIFICATION, facts.highest_classification),
        f"{_count(len(facts.classified_tables), 'table holds', 'tables hold')} classified columns, "
        f"up to {facts.highest_classification}: they are masked where nothing else is approved.",
    )
    yield Factor(
        "unmask",
        _unmask(facts),
        f"{_count(len(facts.unmask), 'classified column is', 'classified columns are')} to be shown unmasked, "
        f"up to {facts.highest_unmask or 'unclassified'}.",
    )
    yield Factor(
        "unclassified",
        _UNCLASSIFIED if facts.unclassified else 0,
        f"{_count(facts.unclassified, 'column is', 'columns are')} shown that nobody has classified yet.",
    )
    yield Factor(
        "direct",
        _weight(_CONNECTION, facts.connection),
        "A credential for native clients: row caps and download limits cannot hold there.",
    )
    yield Factor(
        "whole_schema",
        min(10 * len(facts.whole_schemas), 20),
        f"{_count(len(facts.whole_schemas), 'whole schema is', 'whole schemas are')} asked for.",
    )
    yield Factor(
        "break_glass",
        _BREAK_GLASS if facts.break_glass else 0,
        "The glass is broken: nobody is asked beforehand.",
    )
    yield Factor(
        "widened_lately",
        _WIDENED if facts.widened_lately else 0,
        "Whoever asks has changed in the last seven days what people get.",
    )
    yield Factor("duration", _duration(facts.minutes), f"Access is to last {span(facts.minutes)}.")


def span(minutes: int) -> str:
    """`minutes` in words: `45 minutes`, `8 hours`, `1 day 30 minutes`."""
    days, rest = divmod(minutes, 24 * 60)
    hours, rest = divmod(rest, 60)
    parts = [(days, "day"), (hours, "hour"), (rest, "minute")]
    return " ".join(_count(number, word, f"{word}s") for number, word in parts if number) or "0 minutes"


def _weight(weights: dict[str, int], value: str) -> int:
    return weights.get(value, max(weights.values()))


def _unmask(facts: Facts) -> int:
    if not facts.unmask:
        return 0
    return min(_weight(_UNMASK, facts.highest_unmask) + _UNMASK_EACH * len(facts.unmask), _UNMASK_MOST)


def _duration(minutes: int) -> int:
    return next((weight for more_than, weight in _DURATION if minutes > more_than), 0)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
