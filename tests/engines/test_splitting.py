"""Where one statement ends and the next begins, whatever stands in quotes and comments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.postgresql.splitting import refusal, split, tokens, without_literals


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; -- x\n ; /* y */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; '; SELECT 2", ["SELECT 'it''s; '", "SELECT 2"]),
        (r"SELECT E'\'; '; SELECT 2", [r"SELECT E'\'; '", "SELECT 2"]),
        (r"SELECT '\'; SELECT 2", [r"SELECT '\'", "SELECT 2"]),
        ('SELECT ";"";" FROM t; SELECT 2', ['SELECT ";"";" FROM t', "SELECT 2"]),
        ("SELECT $$;$$, $a$;$b$;$a$; SELECT 2", ["SELECT $$;$$, $a$;$b$;$a$", "SELECT 2"]),
        ("SELECT a$b$; SELECT 2", ["SELECT a$b$", "SELECT 2"]),
        ("SELECT $1; SELECT 2", ["SELECT $1", "SELECT 2"]),
        ("SELECT 1 -- ; no\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT /* ; /* ; */ ; */ 1; SELECT 2", ["SELECT /* ; /* ; */ ; */ 1", "SELECT 2"]),
        (
            "CREATE RULE r AS ON UPDATE TO t DO (a; b); SELECT 2",
            ["CREATE RULE r AS ON UPDATE TO t DO (a; b)", "SELECT 2"],
        ),
        ("SELECT ); SELECT 2", ["SELECT )", "SELECT 2"]),
        ("SELECT 'open; SELECT 2", ["SELECT 'open; SELECT 2"]),
        ("SELECT /* open; SELECT 2", ["SELECT /* open; SELECT 2"]),
        ("SELECT $$open; SELECT 2", ["SELECT $$open; SELECT 2"]),
        ("SELECT ünïcode表 FROM \x80t; x", ["SELECT ünïcode表 FROM \x80t", "x"]),
    ],
)
def test_split_when_quotes_and_comments_are_in_the_way(text: str, statements: list[str]) -> None:
    found = split(text)

    assert [one.text for one in found] == statements
    assert all(text[one.offset :].startswith(one.text) for one in found)


@given(st.text(alphabet="aE'\"$;-/*\\() \n1é", max_size=60))
def test_split_when_it_is_anything(text: str) -> None:
    assert "".join(one.text for one in tokens(text)) == text
    assert all(text[one.offset :].startswith(one.text) for one in split(text))
    without_literals(text)
    for one in split(text):
        refusal(one)


@pytest.mark.parametrize(
    "text",
    [
        "/* x */ begin work",
        "-- x\nCOMMIT",
        "end",
        "abort",
        "SAVEPOINT a",
        "RELEASE a",
        "PREPARE TRANSACTION 'x'",
        "START TRANSACTION READ WRITE",
        "set role x",
        "SET LOCAL ROLE x",
        "SET SESSION ROLE x",
        "SET SESSION AUTHORIZATION x",
        "SET LOCAL SESSION AUTHORIZATION x",
        "RESET ROLE",
        "DISCARD ALL",
        "listen x",
        "UNLISTEN *",
        "notify x, 'y'",
        'SELECT pg_catalog."pg_notify"(1, 2)',
        "SELECT PG_NOTIFY('a', 'b')",
        "SELECT set_config('role', 'x', true)",
        "COPY t TO STDOUT",
        "COPY t FROM PROGRAM 'id'",
        "DO 'BEGIN NOTIFY x; END'",
    ],
)
def test_refusal_when_the_console_does_not_run_it(text: str) -> None:
    (one,) = split(text)
    assert refusal(one)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'begin'",
        "SELECT 'pg_notify'",
        "WITH begin AS (SELECT 1) SELECT * FROM begin",
        "SET search_path = role",
        "SET LOCAL statement_timeout = 1",
        "PREPARE p AS SELECT 1",
        "UPDATE t SET role = 'x'",
        "SELECT role FROM t -- listen",
        "(SELECT 1)",
        "DO $$ BEGIN UPDATE t SET a = 1; END $$",
        "EXPLAIN ANALYZE SELECT 1",
        "SHOW role",
    ],
)
def test_refusal_when_it_is_run(text: str) -> None:
    (one,) = split(text)
    assert refusal(one) == ""


def test_without_literals_when_there_are_some() -> None:
    text = "SELECT 'Zoe', 12.5, E'x\\'y', $a$Yan$a$, \"Odd\" /* Zoe */ FROM t1 WHERE a = $1 -- Yan"

    shown = without_literals(text)

    assert shown == 'SELECT $, $, $, $, "Odd"   FROM t1 WHERE a = $$  '
    assert not any(name in shown for name in ("Zoe", "Yan", "12"))


def test_dotted_when_names_are_written_in_any_way() -> None:
    (one,) = split("""SELECT a.b, c . "D", x.y.z, 1.5, 'q.r' /* s.t */ FROM U&"\\0075" . v WHERE (w).x = $$ k.l $$""")

    assert one.dotted == (("a", "b"), ("c", "D"), ("x", "y"), ("y", "z"), ("u", "v"))


# Each is one statement to the server: behind a line break an E'' goes on, with the backslashes of its first piece.
CONTINUED = (
    "SELECT E'a'\n'\\'' || pg_notify('x', 'y')::text || ''",
    "SELECT E'a' -- so\n  -- and so\n '\\'; DELETE ', 1",
    "SELECT E'a'\r\n\t'b'\n'\\'; c'",
)


@pytest.mark.parametrize("text", CONTINUED)
def test_split_when_a_literal_goes_on_behind_a_line_break(text: str) -> None:
    (one,) = split(text)
    assert one.text == text
    assert "DELETE" not in one.words


def test_split_when_nothing_goes_on() -> None:
    assert len(split("SELECT E'a\\''; SELECT 1")) == 2
    assert len(split("SELECT E'a' '\\'; SELECT '")) == 2  # on one line: two literals, which the server refuses
    assert [one.kind.name for one in tokens("E'a' \n x")][-1] == "WORD"


def test_refusal_when_a_name_stands_behind_a_literal_that_goes_on() -> None:
    assert "NOTIFY" in refusal(split(CONTINUED[0])[0])


def test_without_literals_when_one_goes_on_behind_a_line_break() -> None:
    assert without_literals("SELECT E'x'\n'it\\'s SECRET 4711' AS a") == "SELECT $ AS a"
