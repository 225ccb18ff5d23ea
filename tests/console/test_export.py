"""Rows as a file: the database's own bytes, all of them or a broken stream, and their sum in the record."""

import csv
import hashlib
import html
import io
import json
import traceback
from typing import Any

import pytest

from apps.console import exporting
from apps.console import services as console
from apps.console.errors import StatementFailed
from apps.console.models import Statement
from apps.core import clock
from apps.core.errors import Invalid, NotAllowed
from tests.console.scene import entries, live
from tests.factories import Cast
from tests.grants.stage import after
from tests.support.people import signed_in
from tests.support.targets import TargetServer

ODD = r"""
SELECT * FROM (VALUES
  (1, NULL, '', 'a,"b"'), (2, E'x\ny', E'\\N', E'back\\slash\\n'), (3, '=1+1', '表', E'\t')
) AS t(id, a, b, "odd ""name"" ")"""


def taken(people: Cast, grant: Any, sql: str, **how: Any) -> bytes:
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=sql, **how)
    return b"".join(made.content)


@pytest.fixture
def grant(people: Cast) -> Any:
    return live(people, level="export")


def test_export_when_it_is_csv(people: Cast, grant: Any, target: TargetServer) -> None:
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=ODD, address="::1")
    data = b"".join(made.content)

    copying = f"COPY ({ODD}) TO STDOUT (FORMAT csv, HEADER)"
    with target.admin(people.shop.datname) as admin, admin.cursor().copy(copying) as copy:
        assert data == b"".join(map(bytes, copy))
    read = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert read[0] == ["id", "a", "b", 'odd "name" ']
    assert made.name.startswith("shop-")
    assert made.name.endswith(f"-{made.statement}.csv")
    row = Statement.objects.get()
    digest = hashlib.sha256(data).hexdigest()
    assert (row.status, row.rows, row.bytes, row.sha256) == ("done", 3, len(data), digest)
    facts = entries(grant, "statement.finished")[0].facts
    assert (facts["rows"], facts["bytes"], facts["sha256"]) == (3, len(data), digest)


def test_export_when_it_is_json_lines(people: Cast, grant: Any) -> None:
    data = taken(people, grant, ODD.replace("SELECT *", "SELECT *, json '{\"k\":\n[1,\t2]}' AS j"), file_format="jsonl")

    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["a"] for line in lines] == [None, "x\ny", "=1+1"]
    assert [line['odd "name" '] for line in lines] == ['a,"b"', "back\\slash\\n", "\t"]
    assert lines[0]["j"] == {"k": [1, 2]}
    assert Statement.objects.get().rows == 3


@pytest.mark.parametrize("name", ["q", "row_0", "row_1"])
def test_export_when_a_column_is_called_as_anything_leaves_none_out(people: Cast, grant: Any, name: str) -> None:
    """A column that is called as the rows are in what is wrapped around the query would be taken for all of them."""
    sql = f"SELECT o AS {name}, 42 AS b FROM (SELECT 1 AS f) o"
    assert taken(people, grant, sql, file_format="jsonl") == f'{{"{name}":{{"f":1}},"b":42}}\n'.encode()
    assert taken(people, grant, f"SELECT 1 AS {name}", file_format="jsonl") == f'{{"{name}":1}}\n'.encode()


def test_export_when_two_columns_have_one_name(people: Cast, grant: Any) -> None:
    with pytest.raises(StatementFailed, match="both named a"):
        taken(people, grant, "SELECT 1 AS a, 2 AS a", file_format="jsonl")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1) TO PROGRAM 'id' --",
        "SELECT 1) TO STDOUT; DELETE FROM sales.orders; COPY (SELECT 1",
        "DELETE FROM sales.orders RETURNING id",
        "SELECT nothing",
        "CREATE TABLE t ()",
    ],
)
def test_export_when_it_is_no_query(people: Cast, grant: Any, sql: str) -> None:
    with pytest.raises((StatementFailed, Invalid)):
        taken(people, grant, sql)


def test_export_when_a_comment_ends_it(people: Cast, grant: Any) -> None:
    assert taken(people, grant, "SELECT 1 AS n -- that is all") == b"n\n1\n"


def test_export_when_it_fails_in_the_middle(people: Cast, grant: Any) -> None:
    sql = "SELECT 1/(200000-n), repeat('x', 50) FROM generate_series(1, 300000) n"
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=sql)

    with pytest.raises(StatementFailed) as failure:
        for _ in made.content:
            pass
    assert failure.value.sqlstate == "22012"
    row = Statement.objects.get()
    assert (row.status, row.sha256) == ("failed", "")
    assert (row.rows or 0) > 1000


def test_export_when_the_error_quotes_a_value(people: Cast, grant: Any) -> None:
    sql = "SELECT CASE n WHEN 200000 THEN ('zoe' || n)::int END, repeat('x', 50) FROM generate_series(1, 300000) n"
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=sql)

    with pytest.raises(StatementFailed) as failure:
        for _ in made.content:
            pass
    assert "zoe" not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_export_when_it_fails_before_anything_was_sent(people: Cast, grant: Any, file_format: str) -> None:
    """It can still be answered, and is: no file is begun."""
    sql = "SELECT 10 / (n - 5) FROM generate_series(1, 10) n"
    with pytest.raises(StatementFailed, match="division by zero"):
        console.export(actor=people.alice, grant_id=grant.pk, sql=sql, file_format=file_format)
    answer = signed_in(people.alice).post(f"/grants/{grant.pk}/console/export/", {"sql": sql})
    assert "division by zero" in answer.content.decode()
    assert sql in html.unescape(answer.content.decode())
    assert {row.status for row in Statement.objects.all()} == {"failed"}


def test_export_when_it_fails_after_somebody_was_answered(
    people: Cast, grant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads what is said then but a log, where values do not belong."""
    monkeypatch.setattr(exporting, "_ANSWERED_AFTER", 0.0)
    made = console.export(
        actor=people.alice, grant_id=grant.pk, sql="SELECT ('zoe' || n)::int FROM generate_series(1, 2) n"
    )
    with pytest.raises(StatementFailed) as failure:
        list(made.content)
    assert "zoe" not in "".join(traceback.format_exception(failure.value))


def test_export_when_rows_are_slow(people: Cast, grant: Any) -> None:
    """What has come goes on, so that whoever waits sees it run."""
    sql = "SELECT n, pg_sleep(CASE n WHEN 3 THEN 5 ELSE 0 END) FROM generate_series(1, 3) n"
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=sql)
    assert next(made.content) == b""
    waiting = Statement.objects.get()
    assert (waiting.status, waiting.rows) == ("running", 0)
    assert b"".join(made.content) == b'n,pg_sleep\n1,""\n2,""\n3,""\n'
    assert Statement.objects.get().rows == 3


def test_export_when_its_end_could_not_be_told(people: Cast, grant: Any) -> None:
    """By HTTP/1.0 a file ends where the connection does."""
    path = f"/grants/{grant.pk}/console/export/"
    answer = signed_in(people.alice).post(path, {"sql": "SELECT 1"}, SERVER_PROTOCOL="HTTP/1.0")

    assert answer.status_code == 503
    assert "HTTP/1.1" in answer.content.decode()
    assert not Statement.objects.exists()


def test_export_when_the_reader_goes_away(people: Cast, grant: Any) -> None:
    made = console.export(
        actor=people.alice, grant_id=grant.pk, sql="SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"
    )
    next(made.content)

    made.content.close()  # type: ignore[attr-defined]

    assert Statement.objects.get().status == "cancelled"


def test_export_when_the_access_ends_in_the_middle(people: Cast, grant: Any) -> None:
    sql = "SELECT repeat('x', 9000), pg_sleep(0.1) FROM generate_series(1, 1000)"
    made = console.export(actor=people.alice, grant_id=grant.pk, sql=sql)

    with clock.shifted(after(grant)), pytest.raises(StatementFailed, match="has ended"):
        for _ in made.content:
            pass
    assert Statement.objects.get().why == "ended"


def test_export_when_the_level_is_query(people: Cast) -> None:
    with pytest.raises(NotAllowed, match="level export"):
        taken(people, live(people), "SELECT 1")


def test_export_when_the_format_is_unknown(people: Cast, grant: Any) -> None:
    with pytest.raises(Invalid, match="csv, jsonl"):
        taken(people, grant, "SELECT 1", file_format="../../etc/passwd")


def test_export_when_the_process_holds_too_many(people: Cast, grant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.console import exporting
    from apps.console.errors import TooMany
    from apps.console.slots import Slots

    monkeypatch.setattr(exporting, "files", Slots(1, "exports", "or not"))

    first = console.export(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    with pytest.raises(TooMany, match="holds 1 exports"):
        taken(people, grant, "SELECT 1")
    first.content.close()  # type: ignore[attr-defined]
    assert taken(people, grant, "SELECT 1 AS n") == b"n\n1\n"


def test_export_when_one_row_is_more_than_is_taken(people: Cast, grant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.console.exporting.MESSAGE_BYTES", 4 << 20)

    assert len(taken(people, grant, "SELECT repeat('x', 3000000) AS x FROM generate_series(1, 5)")) > 15_000_000
    for size in (5_000_000, 300_000_000):  # the first may come in one go
        with pytest.raises(StatementFailed, match="larger than 4 MiB"):
            taken(people, grant, f"SELECT repeat('x', {size}) AS x")
