"""Whatever the record holds, in whatever order: a report is given, and never twice another one."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.actions import Action
from apps.reports.listing import REPORTS
from tests.reports.lines import START, Story, all_of_it, folded

_IDS = st.sampled_from(["r1", "r2", "", "c1", "s1"])
_TIMES = st.sampled_from(["2026-11-01T00:10:00.000000Z", "2026-11-01", "9999-12-31T23:59:59.999999Z", "soon", ""])
_SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | _IDS | _TIMES
_JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_IDS, inner, max_size=2))
_FIELDS = st.sampled_from(
    [
        *("request", "holder", "database", "kind", "outcome", "statement", "change", "extension", "extends", "proof"),
        *("since", "expires_at", "starts_at", "break_glass", "ends", "cause", "tables", "unmask", "unmask_count"),
        *("masked_count", "is_last", "verdict", "reasons", "report", "errors", "source", "rows", "version", "all_of"),
    ]
)
_TEXTS = st.sampled_from(["person", "reason", "comment", "statement", "name", "username", "slug", "why", "login"])
_ENTRIES = st.tuples(
    st.sampled_from(sorted(Action)),
    st.sampled_from(["user:alice", "user:bob", "worker", "clock", "policy", "operator", "x"]),
    st.sampled_from(
        ["request:r1", "request:r2", "grant:g-r1", "user:bob", "database:d", "server:s", "record", ":", "x"]
    ),
    st.dictionaries(_FIELDS, _JSON, max_size=6),
    st.dictionaries(_TEXTS, st.sampled_from(["Alice", "=1+1", ""]), max_size=3),
    st.sets(_TEXTS, max_size=1),
    st.sampled_from(["", "", "", "It does not count."]),
    st.integers(0, 2_000),
)
_Entry = tuple[Any, ...]


def told(entries: list[_Entry]) -> Story:
    story = Story(knows_names=False)
    for action, actor, subject, facts, texts, erased, problem, minutes in entries:
        story.wait(minutes=minutes)
        story.tell(action, actor, subject, facts, problem=problem, erased=tuple(erased), **texts)
    return story


@pytest.mark.parametrize("name", REPORTS)
@given(entries=st.lists(_ENTRIES, max_size=25), days=st.integers(0, 12))
def test_fold_when_the_record_holds_anything_gives_rows_that_cite_it(
    name: str, entries: list[_Entry], days: int
) -> None:
    story = told(entries)
    asked = all_of_it(since=START + timedelta(days=days), until=START + timedelta(days=days + 10))
    rows = folded(name, story, asked)
    assert rows == folded(name, story, asked)
    for row in rows:
        cited = [int(index) for span in str(row["entries"]).split() for index in span.split("-")]
        assert cited
        assert max(cited) < len(story.lines)
