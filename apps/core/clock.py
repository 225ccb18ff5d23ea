"""One clock for the portal: its database's. Machines differ, the database is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField, DurationField, Expression, ExpressionWrapper, Func, Value

_offset = timedelta(0)


def now() -> datetime:
    """`clock_timestamp()` of the portal's database, in UTC with microseconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    return told(moment)


def told(moment: datetime) -> datetime:
    """What now() would have been: `clock_timestamp()` that a query has given along."""
    return moment.astimezone(UTC) + ahead()


def ahead() -> timedelta:
    """By how much now() differs from `clock_timestamp()`: not at all, but in tests."""
    return _offset


def in_sql() -> Expression:
    """The same moment as part of a query, for one that would otherwise need another just to ask the time."""
    told = Func(function="clock_timestamp", template="(SELECT %(function)s())", output_field=DateTimeField())
    return ExpressionWrapper(told + Value(_offset, DurationField()), output_field=DateTimeField())


@contextmanager
def shifted(by: timedelta) -> Iterator[None]:
    """Let time have passed, in tests only."""
    global _offset  # noqa: PLW0603 - one clock
    if not settings.TESTING:
        raise RuntimeError("The clock can be shifted in tests only.")
    _offset, before = _offset + by, _offset
    try:
        yield
    finally:
        _offset = before
