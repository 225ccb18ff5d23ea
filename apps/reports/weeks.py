"""Access by week, for charts: how much of it there was, how soon it was agreed to, how soon it was gone. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Final

from apps.audit.trail import Line
from apps.reports.base import Asked
from apps.reports.lives import Life, Lives, over_and_open

RISKS: Final = ("low", "medium", "high", "critical")
BEFORE: Final = timedelta(days=60)  # access that was asked for earlier is not known to these figures
_WEEK: Final = timedelta(weeks=1)


@dataclass(slots=True)
class Week:
    """From Monday 0:00 UTC. Seconds are one for each access."""

    begins: date
    hours: dict[str, float] = field(default_factory=lambda: dict.fromkeys(RISKS, 0.0))
    to_approve: list[float] = field(default_factory=list)
    to_revoke: list[float] = field(default_factory=list)

    @property
    def all_hours(self) -> float:
        return sum(self.hours.values())

    @property
    def approve_median(self) -> float | None:
        return median(self.to_approve) if self.to_approve else None

    @property
    def approve_most(self) -> float | None:
        return max(self.to_approve, default=None)

    @property
    def revoke_median(self) -> float | None:
        return median(self.to_revoke) if self.to_revoke else None

    @property
    def revoke_most(self) -> float | None:
        return max(self.to_revoke, default=None)


def period(now: datetime, *, weeks: int) -> Asked:
    """So many whole weeks, the present one among them."""
    until = _monday(now) + _WEEK
    return Asked(since=until - weeks * _WEEK, until=until)


def by_week(lines: Iterable[Line], asked: Asked, now: datetime) -> list[Week]:
    """Every week of the period, oldest first. Access that is open counts until `now`."""
    count = (asked.until - asked.since) // _WEEK
    weeks = [Week((asked.since + number * _WEEK).date()) for number in range(count)]
    for life in over_and_open(Lives(), lines, asked.until):
        _add(weeks, life, asked, now)
    return weeks


def _add(weeks: list[Week], life: Life, asked: Asked, now: datetime) -> None:
    def week_of(moment: datetime) -> Week | None:
        return weeks[(moment - asked.since) // _WEEK] if asked.covers(moment) else None

    by_people = any(one.kind for one in life.yeses)
    if life.approved_at and life.asked_at and by_people and (week := week_of(life.approved_at)):
        week.to_approve.append((life.approved_at - life.asked_at).total_seconds())
    start = life.starts_at or life.opened_at
    if start is None:
        return
    for begins, hours in _hours(start, min(life.ended_at or now, now), asked):
        if (week := week_of(begins)) and life.risk in week.hours:
            week.hours[life.risk] += hours
    if life.ended_at and life.since and not life.unproven and (week := week_of(life.ended_at)):
        week.to_revoke.append(max(0.0, (life.ended_at - life.since).total_seconds()))


def _hours(start: datetime, end: datetime, asked: Asked) -> Iterator[tuple[datetime, float]]:
    """The part of each week that lies between."""
    begins = max(start, asked.since)
    while begins < min(end, asked.until):
        until = min(_monday(begins) + _WEEK, end, asked.until)
        yield begins, (until - begins) / timedelta(hours=1)
        begins = until


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())
