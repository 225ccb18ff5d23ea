"""Figures for charts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.audit.body import rfc3339
from apps.portal.charts import HEIGHT, WIDTH, bars
from apps.reports.weeks import RISKS, by_week, period
from tests.reports.lines import Story

_NOW = datetime(2026, 11, 12, 15, tzinfo=UTC)  # a Thursday


def test_period_when_asked_for_weeks_ends_with_the_present_one() -> None:
    asked = period(_NOW, weeks=2)
    assert (asked.since, asked.until) == (datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC))


def test_weeks_when_access_goes_over_monday_share_its_hours() -> None:
    story = Story()
    story.now = datetime(2026, 11, 8, 20, tzinfo=UTC)
    story.ask(risk="high")
    story.approve(last=True)
    opened = datetime(2026, 11, 8, 22, tzinfo=UTC)
    story.issue()
    story.grant("grant.issued", starts_at=rfc3339(opened), expires_at=rfc3339(opened + timedelta(hours=5)))
    story.now = opened + timedelta(hours=5)
    story.end()
    first, second = by_week(story.lines, period(_NOW, weeks=2), _NOW)
    assert first.hours == {"low": 0, "medium": 0, "high": 2.0, "critical": 0}
    assert round(second.all_hours, 2) == round(3 + 2 / 60, 2)
    assert first.to_approve == [120.0]
    assert second.to_revoke == [120.0]
    assert (second.revoke_median, second.revoke_most, second.approve_median) == (120.0, 120.0, None)


def test_weeks_when_access_is_open_count_it_until_now() -> None:
    story = Story()
    story.now = _NOW - timedelta(hours=3, minutes=4)
    story.ask()
    story.tell("request.approved", "policy", "request:r1")
    story.issue()
    (week,) = by_week(story.lines, period(_NOW, weeks=1), _NOW)
    assert round(week.hours["medium"], 2) == 3.02
    assert week.to_approve == []  # the policy takes no time


def test_weeks_when_nothing_happened_are_there_all_the_same() -> None:
    assert [week.all_hours for week in by_week([], period(_NOW, weeks=12), _NOW)] == [0] * 12


@given(st.lists(st.lists(st.floats(0, 1e9, allow_nan=False), min_size=4, max_size=4), max_size=15), st.booleans())
def test_bars_when_drawn_stay_inside_the_picture(values: list[list[float]], stacked: bool) -> None:
    columns = [(str(number), list(zip(RISKS, parts, strict=True))) for number, parts in enumerate(values)]
    chart = bars(columns, stacked=stacked)
    assert len(chart.weeks) == len(values)
    for part in chart.parts:
        assert 0 <= part.x <= part.x + part.width <= WIDTH + 0.2
        assert 0 <= part.y <= part.y + part.height <= HEIGHT
