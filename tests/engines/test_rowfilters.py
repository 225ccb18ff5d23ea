"""Row filters on real servers: just the rows that hold, whatever the value looks like."""

from collections.abc import Sequence

import pytest
from psycopg import sql

from apps.engines.base import Operator, Refused, RowFilter
from apps.engines.postgresql import rowfilters
from tests.support.targets import TargetServer

HOSTILE = [
    "EU",
    "eu",
    "EU ",
    "",
    "' OR true --",
    "\\",
    "\\' OR true --",
    "E'\\x27",
    "$$; DROP TABLE t; $$",
    "%s %(x)s {} {0}",
    "Zürich ☃ \U0001f600",
    "a\nb\r\t\x01",
    '"col"',
    "x" * 200,
]
COLUMN = 'sälary" = 1 OR "%s'


def _held(server: TargetServer, column_type: str, values: Sequence[str | None], row_filter: RowFilter) -> list[int]:
    """The places of the values that the filter lets through, under settings that would read literals otherwise."""
    with server.admin() as admin, admin.transaction(force_rollback=True):
        column, kind = sql.Identifier(COLUMN), sql.SQL(column_type)
        admin.execute(sql.SQL("CREATE TABLE f (n int, {} {})").format(column, kind))
        fill = "INSERT INTO f SELECT n, v::{} FROM unnest({}::text[]) WITH ORDINALITY AS u(v, n)"
        admin.execute(sql.SQL(fill).format(kind, sql.Literal(list(values))))
        condition = rowfilters.condition(row_filter, column_type)
        look = sql.SQL("SELECT n FROM f WHERE {} ORDER BY n").format(condition)
        found = [row[0] - 1 for row in admin.execute(look).fetchall()]
        admin.execute("SET LOCAL TimeZone = 'Asia/Kolkata'; SET LOCAL DateStyle = 'SQL, DMY'")
        assert [row[0] - 1 for row in admin.execute(look).fetchall()] == found
    return found


@pytest.mark.parametrize("column_type", ["text", "character varying(200)"])
def test_condition_when_values_are_hostile(target_server: TargetServer, column_type: str) -> None:
    for place, value in enumerate(HOSTILE):
        held = _held(target_server, column_type, [*HOSTILE, None], RowFilter(COLUMN, Operator.EQUAL, (value,)))
        assert held == [place]
    others = RowFilter(COLUMN, Operator.UNEQUAL, (HOSTILE[4],))
    assert _held(target_server, column_type, [*HOSTILE, None], others) == [n for n in range(len(HOSTILE)) if n != 4]
    several = RowFilter(COLUMN, Operator.ONE_OF, tuple(HOSTILE[3:6]))
    assert _held(target_server, column_type, [*HOSTILE, None], several) == [3, 4, 5]


@pytest.mark.parametrize(
    ("column_type", "values", "given", "held"),
    [
        ("integer", ["-5", "0", "7", None], (Operator.LESS, ["7"]), [0, 1]),
        ("integer", ["-5", "0", "7", None], (Operator.AT_MOST, ["+7"]), [0, 1, 2]),
        ("smallint", ["-32768", "32767"], (Operator.EQUAL, ["-32768"]), [0]),
        ("bigint", ["-9223372036854775808", "1"], (Operator.MORE, ["-9223372036854775808"]), [1]),
        ("bigint", ["1", "2", None], (Operator.ONE_OF, ["2", "3"]), [1]),
        ("numeric(10,2)", ["0.01", "0.00", "NaN"], (Operator.LESS, ["0.005"]), [1]),
        ("numeric", ["1.0", "1.00000000000000000001"], (Operator.EQUAL, ["1"]), [0]),
        ("boolean", ["t", "f", None], (Operator.EQUAL, ["true"]), [0]),
        ("character(5)", ["EU", "EUROP"], (Operator.EQUAL, ["EU"]), [0]),
        ("character(2)", ["EU", "US"], (Operator.EQUAL, ["EUROPE"]), []),
        ("character varying(2)", ["EU", "US"], (Operator.EQUAL, ["EUROPE"]), []),
        ("name", ["n" * 63, "m"], (Operator.EQUAL, ["n" * 64]), []),
        ("date", ["2024-02-03", "2024-03-02", "infinity"], (Operator.AT_LEAST, ["2024-03-02"]), [1, 2]),
        ("timestamp without time zone", ["2024-02-03 01:02"], (Operator.EQUAL, ["2024-02-03T01:02"]), [0]),
        ("timestamp(0) without time zone", ["2024-02-03 01:02:04"], (Operator.EQUAL, ["2024-02-03 01:02:03.6"]), []),
        ("timestamp with time zone", ["2024-02-03 00:00Z", "2024-02-02 18:30Z"], (Operator.EQUAL, ["2024-02-03"]), [0]),
        (
            "timestamp with time zone",
            ["2024-02-03 00:00Z", "2024-02-02 18:30Z"],
            (Operator.LESS, ["2024-02-03T00:00:00+05:30"]),
            [],
        ),
        (
            "uuid",
            ["00000000-0000-0000-0000-00000000beef", None],
            (Operator.EQUAL, ["00000000-0000-0000-0000-00000000BEEF"]),
            [0],
        ),
        ("jsonb", ["{}", None], (Operator.IS_NULL, []), [1]),
        ("integer[]", ["{}", None], (Operator.IS_NOT_NULL, []), [0]),
    ],
)
def test_condition_when_types_differ(
    target_server: TargetServer,
    column_type: str,
    values: list[str | None],
    given: tuple[Operator, list[str]],
    held: list[int],
) -> None:
    operator, compared = given
    assert _held(target_server, column_type, values, RowFilter(COLUMN, operator, tuple(compared))) == held


@pytest.mark.parametrize(
    ("column_type", "operator", "given"),
    [
        ("integer", Operator.EQUAL, ["2147483648"]),
        ("integer", Operator.EQUAL, ["1.0"]),
        ("integer", Operator.EQUAL, ["١"]),
        ("integer", Operator.EQUAL, ["1 "]),
        ("integer", Operator.EQUAL, [""]),
        ("smallint", Operator.EQUAL, ["-32769"]),
        ("bigint", Operator.EQUAL, ["9" * 30]),
        ("integer", Operator.EQUAL, []),
        ("integer", Operator.EQUAL, ["1", "2"]),
        ("integer", Operator.ONE_OF, []),
        ("integer", Operator.ONE_OF, ["1"] * 101),
        ("integer", Operator.ONE_OF, ["1", "x"]),
        ("integer", Operator.IS_NULL, ["1"]),
        ("numeric", Operator.EQUAL, ["NaN"]),
        ("numeric", Operator.EQUAL, ["1e5"]),
        ("boolean", Operator.EQUAL, ["maybe"]),
        ("date", Operator.EQUAL, ["infinity"]),
        ("date", Operator.EQUAL, ["2024-02-30"]),
        ("date", Operator.EQUAL, ["20240203"]),
        ("date", Operator.EQUAL, ["02/03/2024"]),
        ("timestamp without time zone", Operator.EQUAL, ["2024-02-03 00:00Z"]),
        ("timestamp without time zone", Operator.EQUAL, ["now"]),
        ("timestamp with time zone", Operator.EQUAL, ["2024-02-03 25:00Z"]),
        ("uuid", Operator.EQUAL, ["beef"]),
        ("text", Operator.EQUAL, ["a\0b"]),
        ("text", Operator.EQUAL, ["\ud800"]),
        ("text", Operator.EQUAL, ["x" * 201]),
        ("jsonb", Operator.EQUAL, ["{}"]),
        ("double precision", Operator.EQUAL, ["1"]),
        ("sales.mood", Operator.EQUAL, ["sad"]),
        ("public.citext", Operator.ONE_OF, ["x"]),
        ("text[]", Operator.EQUAL, ["{}"]),
    ],
)
def test_condition_when_it_does_not_fit(column_type: str, operator: Operator, given: list[str]) -> None:
    row_filter = RowFilter("region", operator, tuple(given))
    assert not rowfilters.fits(row_filter, column_type)
    with pytest.raises(Refused, match="“region”"):
        rowfilters.condition(row_filter, column_type)
