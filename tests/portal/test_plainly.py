"""What is gathered for a page without scripts."""

import pytest

from apps.console.events import Column, Columns, CutCell, Done, Failed, Rows, Started, Why
from apps.portal.plainly import gather, wrong


def failed(position: int | None) -> Failed:
    return Failed(statement=None, why=Why.SQL, sentence="No.", position=position)


@pytest.mark.parametrize(
    ("sql", "position", "word", "line", "column"),
    [
        ("SELECT nme", 7, "nme", 1, 8),
        ("SELECT 1,\n  nme FROM x", 12, "nme", 2, 3),
        ("SELECT )", 7, ")", 1, 8),
        ("SELECT", 6, "", 1, 7),
        ("SELECT 'ü😀', n", 13, "n", 1, 14),
    ],
)
def test_wrong_when_a_place_is_named(sql: str, position: int, word: str, line: int, column: int) -> None:
    found = wrong(sql, failed(position))

    assert found is not None
    assert (found.word, found.line, found.column) == (word, line, column)
    assert found.before + found.word + found.after == sql


@pytest.mark.parametrize("position", [None, -1, 99])
def test_wrong_when_no_place_is_named(position: int | None) -> None:
    assert wrong("SELECT 1", failed(position)) is None
    assert wrong("SELECT 1", None) is None


def test_gather_when_there_is_more_than_a_page_holds() -> None:
    started = Started(statement="s", number=1, total=1, offset=0, length=1, seconds=60)
    columns = Columns(columns=tuple(Column(name=f"c{n}", type="text") for n in range(100)))
    batch = Rows(rows=(("x",) * 100,) * 150, cut=(CutCell(row=0, column=0, bytes=10**8),))
    done = Done(statement="s", rows=300, affected=300, tag="SELECT 300", elapsed_ms=1)

    (result,) = gather([started, columns, batch, batch, done]).results

    assert (len(result.rows), result.left_out, result.cut, result.done) == (200, 100, True, done)
