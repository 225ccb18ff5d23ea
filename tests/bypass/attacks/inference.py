"""Playing the attacker who infers: nothing leaks by itself, but answers differ."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bypass.assault import Attacker
from tests.bypass.attack import Attack

_NO_SORT = (
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_sort = off",
    "SET enable_incremental_sort = off",
    "SET enable_hashagg = off",
    "SET enable_material = off",
    "SET max_parallel_workers_per_gather = 0",
)


def told(question: str) -> Callable[[Attacker], Any]:
    """Whether a question with @x@ is answered otherwise for what is so than for what is not: eight of each."""

    def guess(attacker: Attacker) -> list[bool]:
        answers = [attacker.asked(question, value) for value, _ in attacker.suspected]
        return [answer == answers[0] for answer in answers]

    return guess


def varies(*questions: str) -> Callable[[Attacker], Any]:
    """Whether the answers to several questions differ, although all that differs is behind the mask."""
    return lambda attacker: len({attacker.answer(question) for question in questions}) > 1


def ids(sql: str, *before: str) -> Callable[[Attacker], Any]:
    """Ids in the order in which they come."""

    def guess(attacker: Attacker) -> list[Any]:
        attacker.run(*before)
        return [row[0] for row in attacker.rows(sql)]

    return guess


def bracketed(attacker: Attacker, statement: str) -> int | None:
    """The lowest grade that the server takes."""
    for grade in range(1, 11):
        attacker.run("BEGIN")
        taken = attacker.ok(statement.replace("@x@", str(grade)))
        attacker.run("ROLLBACK")
        if taken:
            return grade
    return None


def searched(attacker: Attacker, question: str) -> int:
    """Bisect a hidden number by whether the answer is that of an impossible condition."""
    low, high = 0, 1 << 16
    nothing = _of(attacker, question, 0)
    while low < high:
        middle = (low + high) // 2
        if _of(attacker, question, middle) == nothing:
            low = middle + 1
        else:
            high = middle
    return low


def _of(attacker: Attacker, question: str, number: int) -> str:
    """Only the counts: which plan is chosen depends on what everybody may know."""
    return str(
        re.findall(r"actual rows=[\d.]+|Removed by Filter: \d+", attacker.answer(question.replace("@x@", str(number))))
    )


def standing_in(attacker: Attacker) -> list[int]:
    """Members without whom a new one, with the default of a masked flag, may be."""
    found = []
    for number in range(1, 5):
        attacker.run("BEGIN", f"DELETE FROM members WHERE id = {number}")
        if attacker.ok("INSERT INTO members (id, team_id) VALUES (99, 5)"):
            found.append(number)
        attacker.run("ROLLBACK")
    return found


_EXISTENCE = {
    "a count": "SELECT count(*) FROM people WHERE ssn = '@x@'",
    "a division": "SELECT sum(1 / CASE WHEN ssn = '@x@' THEN 0 ELSE 1 END) FROM people",
    "a plan's estimate": "EXPLAIN SELECT * FROM people WHERE ssn = '@x@'",
    "an estimate of a join": "EXPLAIN SELECT * FROM people a JOIN people b ON a.ssn = b.ssn AND b.ssn = '@x@'",
    "rows removed": "EXPLAIN (ANALYZE, BUFFERS off, TIMING off, COSTS off, SUMMARY off) SELECT * FROM people WHERE ssn = '@x@'",
    "the prefix": "SELECT count(*) FROM people WHERE ssn LIKE left('@x@', 6) || '%'",
    "an update's count": "UPDATE people SET note = 'hit' WHERE ssn = '@x@'",
    "a unique violation": "INSERT INTO people (id, region, grade, ssn) VALUES (-1, 'EU', 10, '@x@')",
    "on conflict do nothing": "INSERT INTO people (id, region, grade, ssn) VALUES (-1, 'EU', 10, '@x@') ON CONFLICT DO NOTHING",
    "on conflict of the masked": "INSERT INTO people (id, region, grade, ssn) VALUES (-1, 'EU', 10, '@x@') ON CONFLICT (ssn) DO NOTHING",
    "writing the masked": "UPDATE people SET ssn = '@x@' WHERE id = 3",
    "merging by the masked": "MERGE INTO people p USING (SELECT '@x@' AS s) x ON p.ssn = x.s WHEN MATCHED THEN UPDATE SET note = 'm'",
    "an array": "SELECT '@x@' = ANY (SELECT ssn FROM people)",
    "a row comparison": "SELECT count(*) FROM people p WHERE p.*::text LIKE '%@x@%'",
    "json containment": "SELECT count(*) FROM people p WHERE to_jsonb(p) @> jsonb_build_object('ssn', '@x@')",
    "a materialised CTE": "WITH x AS MATERIALIZED (SELECT * FROM people) SELECT count(*) FROM x WHERE ssn = '@x@'",
    "a hash": "SELECT count(*) FROM people WHERE hashtext(ssn) = hashtext('@x@')",
}
_BADGES = {
    "a foreign key": "INSERT INTO people (id, region, grade, badge) VALUES (-2, 'EU', 10, @x@)",
    "an update of a foreign key": "UPDATE people SET badge = @x@ WHERE id = 3",
}
_ORDERS = {
    "by region": "SELECT id FROM prices WHERE region = 'EU'",
    "ordered by region": "SELECT id FROM prices WHERE region = 'EU' ORDER BY region",
    "limited": "SELECT id FROM prices WHERE region = 'EU' LIMIT 1000",
    "distinct on": "SELECT id FROM (SELECT DISTINCT region, id FROM prices WHERE region = 'EU' OFFSET 0) x",
    "grouped": "SELECT unnest(array_agg(id)) FROM prices WHERE region = 'EU' GROUP BY region",
    "by a window": "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY region) n FROM prices WHERE region = 'EU') x ORDER BY n",
    "by rank": "SELECT id FROM prices WHERE region = 'EU' ORDER BY rank() OVER (ORDER BY cost), cost",
    "by the masked": "SELECT id FROM prices WHERE region = 'EU' ORDER BY cost",
    "merged": "SELECT p.id FROM prices p JOIN (VALUES ('EU')) v (region) ON p.region = v.region WHERE p.region = 'EU'",
    "by a cursor": "SELECT unnest(ARRAY(SELECT id FROM prices WHERE region = 'EU'))",
}


def _existence() -> tuple[Attack, ...]:
    return tuple(
        Attack(f"existence by {name}", "inference", guess=told(sql), truth="suspicions")
        for name, sql in _EXISTENCE.items()
    )


def _badges() -> tuple[Attack, ...]:
    def guess(attacker: Attacker, question: str) -> list[bool]:
        answers = [attacker.asked(question, str(number)) for number, _ in attacker.suspected_badges]
        return [answer == answers[0] for answer in answers]

    return tuple(
        Attack(f"existence by {name}", "inference", guess=partial(guess, question=sql), truth="suspicions")
        for name, sql in _BADGES.items()
    )


def _orders() -> tuple[Attack, ...]:
    by_default = tuple(
        Attack(f"order {name}", "order", guess=ids(sql), truth="prices_by_cost") for name, sql in _ORDERS.items()
    )
    forced = tuple(
        Attack(f"order {name}, other plans switched off", "order", guess=ids(sql, *_NO_SORT), truth="prices_by_cost")
        for name, sql in _ORDERS.items()
    )
    return by_default + forced


ATTACKS = (
    *_existence(),
    *_badges(),
    *_orders(),
    Attack(
        "order of a covering index",
        "order",
        guess=ids("SELECT id FROM people WHERE card > ''", *_NO_SORT),
        truth="people_by_card",
    ),
    Attack(
        "order of the masked names",
        "order",
        guess=ids("SELECT name FROM people", *_NO_SORT),
        truth="masked_names_by_name",
    ),
    Attack("order by a hidden column", "order", guess=ids("SELECT id FROM people ORDER BY ssn"), truth="people_by_ssn"),
    Attack(
        "order by a partial index",
        "order",
        guess=ids("SELECT id FROM people WHERE active", *_NO_SORT),
        truth="active_people_by_salary",
    ),
    Attack(
        "order by an index on a partition",
        "order",
        guess=ids("SELECT id FROM events WHERE kind = 'in' AND happened < '2020-01-01'", *_NO_SORT),
        truth="events_by_who",
    ),
    Attack(
        "bracketing by a check",
        "inference",
        guess=partial(bracketed, statement="UPDATE people SET grade = @x@ WHERE id = 7"),
        truth="bracket",
    ),
    Attack(
        "bracketing by a check through a conflict",
        "inference",
        guess=partial(
            bracketed,
            statement="INSERT INTO people (id, region, grade) VALUES (7, 'EU', 10) "
            "ON CONFLICT (id) DO UPDATE SET grade = @x@",
        ),
        truth="bracket",
    ),
    Attack(
        "an error of an expression index",
        "inference",
        guess=varies("UPDATE people SET team = -1 WHERE id = 7", "UPDATE people SET team = 5 WHERE id = 7"),
        truth="yes",
    ),
    Attack(
        "estimates by a histogram",
        "inference",
        guess=varies(
            "EXPLAIN SELECT * FROM people WHERE salary < 1",
            "EXPLAIN SELECT * FROM people WHERE salary < 1500000000",
            "EXPLAIN SELECT * FROM people WHERE salary < 4000000000",
        ),
        truth="yes",
    ),
    Attack(
        "instants by the time zone",
        "inference",
        guess=lambda attacker: (
            len(
                {
                    str(attacker.rows("SELECT seen::text FROM people WHERE id = 7", zone))
                    for zone in ("UTC", "UTC+167", "UTC-167")
                }
            )
            > 1
        ),
        truth="yes",
    ),
    Attack(
        "which are null",
        "inference",
        guess=ids("SELECT id FROM people WHERE ssn IS NULL ORDER BY id"),
        truth="without_ssn",
    ),
    Attack("whose flag is the default", "inference", guess=standing_in, truth="flagged"),
    Attack(
        "which are alike",
        "inference",
        guess=ids("SELECT a.id FROM people a JOIN people b ON a.salary = b.salary AND a.id <> b.id ORDER BY 1"),
        truth="of_one_salary",
    ),
    Attack(
        "how many there are",
        "inference",
        guess=lambda attacker: attacker.rows("SELECT count(DISTINCT ssn), count(DISTINCT salary) FROM people"),
        truth="distinct",
    ),
    Attack(
        "lengths",
        "inference",
        guess=ids("SELECT length(ssn) FROM people ORDER BY id"),
        truth="lengths",
    ),
    Attack(
        "hidden rows by an index",
        "inference",
        guess=lambda attacker: (
            attacker.run(*_NO_SORT)
            or searched(
                attacker,
                "EXPLAIN (ANALYZE, BUFFERS off, TIMING off, COSTS off, SUMMARY off) SELECT * FROM staff WHERE level < @x@ AND level > 40000",
            )
        ),
        truth="hidden_level",
    ),
    Attack(
        "hidden rows by a key",
        "inference",
        guess=lambda attacker: (
            [
                attacker.answer(f"INSERT INTO staff (id, region, level) VALUES ({number}, 'EU', 1)")
                for number in (999, 99_999)
            ][:1]
            == ["23505"]
        ),
        truth="yes",
    ),
)
