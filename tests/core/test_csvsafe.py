import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import csvsafe


@pytest.mark.parametrize("start", list("=+-@\t\r\n\0＝＋－＠"))
def test_cell_gets_an_apostrophe_when_it_could_be_a_formula(start: str) -> None:
    assert csvsafe.cell(f"{start}cmd|' /C calc'!A0").startswith("'")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_stream_is_read_back_when_a_reader_follows_rfc_4180(values: list[str]) -> None:
    text = "".join(csvsafe.stream(["a"] * len(values), [values]))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[1] == [csvsafe.cell(value) for value in values]
