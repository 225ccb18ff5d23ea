"""Facts and texts of an entry, whatever stands there: a body may have been written past the portal's code. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from apps.audit.body import rfc3339
from apps.audit.canonical import Json
from apps.audit.trail import Line
from apps.reports.base import ERASED


def word(facts: Mapping[str, Json], name: str) -> str:
    found = facts.get(name)
    return found if isinstance(found, str) else ""


def number(facts: Mapping[str, Json], name: str) -> int | None:
    found = facts.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def flag(facts: Mapping[str, Json], name: str) -> bool:
    return facts.get(name) is True


def words(facts: Mapping[str, Json], name: str) -> tuple[str, ...]:
    found = facts.get(name)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list | tuple) else ()


def inside(facts: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def moment(facts: Mapping[str, Json], name: str) -> datetime | None:
    """A time with its zone; None where there is no such text."""
    text = facts.get(name)
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def text(line: Line, field: str) -> str:
    """What is disclosed beside the entry; `[erased]` where it was, and is no longer kept."""
    return line.disclosed.get(field) or (ERASED if field in line.erased else "")


def key(subject: str) -> str:
    """`k3v5` of `grant:k3v5`."""
    return subject.partition(":")[2]


def told(value: datetime | None) -> str:
    return rfc3339(value) if value else ""


def seconds(start: datetime | None, end: datetime | None) -> str:
    """From `start` to `end`, with milliseconds; empty where one of them is not known."""
    return f"{(end - start).total_seconds():.3f}" if start and end else ""


def yes(value: bool) -> str:
    return "yes" if value else "no"


def listed(values: Iterable[str]) -> str:
    return "; ".join(values)


def cited(indexes: Iterable[int]) -> str:
    return " ".join(map(str, sorted(set(indexes))))
