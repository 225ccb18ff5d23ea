"""What looks at several columns at once, as the catalogs tell it."""

from collections.abc import Iterator

import psycopg
import pytest

from apps.engines.postgresql import table_facts
from apps.engines.postgresql.table_facts import TableFacts
from apps.engines.ties import EVERYTHING, Tie, TieKind
from tests.support.targets import TargetServer

ALL = (EVERYTHING,)


@pytest.fixture
def place(target_server: TargetServer) -> Iterator[psycopg.Connection]:
    """A schema `s` that is forgotten again."""
    with target_server.admin() as admin, admin.transaction(force_rollback=True):
        admin.execute("CREATE SCHEMA s; SET LOCAL search_path = s")
        yield admin


def _facts(connection: psycopg.Connection, table: str = "t") -> TableFacts:
    row = connection.execute("SELECT %s::regclass::oid", [table]).fetchone()
    assert row is not None
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL search_path = pg_catalog")
        return table_facts.read(connection, [row[0]])[row[0]]


def _ties(connection: psycopg.Connection, table: str = "t") -> set[Tie]:
    return set(_facts(connection, table).ties)


def test_read_when_a_table_is_plain(place: psycopg.Connection) -> None:
    place.execute(
        "CREATE TABLE t (id int, gone int, b varchar(7), c numeric(9,2)[], PRIMARY KEY (b, id));ALTER TABLE t DROP gone"
    )
    assert _facts(place) == TableFacts(
        primary_key=("b", "id"),
        ties=(Tie(TieKind.UNIQUE, "t_pkey", ("b", "id")),),
        row_security=False,
        is_partition=False,
        columns={"id": "integer", "b": "character varying(7)", "c": "numeric(9,2)[]"},
    )


def test_read_when_relations_are_views_or_gone(place: psycopg.Connection) -> None:
    place.execute("CREATE VIEW t AS SELECT 1 AS one, 'x'::text AS two")
    assert _facts(place) == TableFacts((), (), False, False, {"one": "integer", "two": "text"})
    assert table_facts.read(place, [4_000_000_000]) == {}
    assert table_facts.read(place, []) == {}


def test_read_when_there_are_checks(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int CHECK (b > 0), c int NOT NULL, CONSTRAINT ab CHECK (a < b))")
    place.execute("CREATE FUNCTION whole(t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'")
    place.execute("CREATE FUNCTION plain(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'")
    place.execute("CREATE FUNCTION definer(int, int) RETURNS bool LANGUAGE sql SECURITY DEFINER AS 'SELECT true'")
    place.execute("CREATE OPERATOR ~~~ (FUNCTION = definer, LEFTARG = int, RIGHTARG = int)")
    place.execute("ALTER TABLE t ADD CONSTRAINT w1 CHECK (whole(t)), ADD CONSTRAINT w2 CHECK (t IS NOT NULL)")
    place.execute("ALTER TABLE t ADD CONSTRAINT d1 CHECK (definer(a, 1)), ADD CONSTRAINT d2 CHECK (a ~~~ 1)")
    place.execute("ALTER TABLE t ADD CONSTRAINT p CHECK (plain(c)), ADD CONSTRAINT n CHECK (c > a) NOT VALID")
    assert _ties(place) == {
        Tie(TieKind.CHECK, "ab", ("a", "b")),
        Tie(TieKind.CHECK, "n", ("a", "c")),
        *(Tie(TieKind.CHECK, name, ALL) for name in ("w1", "w2", "d1", "d2")),
        *(
            Tie(TieKind.EVALUATED, name, columns, events=("UPDATE",))
            for name, columns in {"n": ("a", "c"), "p": ("c",), "d1": ("a",), "d2": ("a",), "w1": ALL}.items()
        ),
    }


def test_read_when_there_are_indexes(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int UNIQUE, b int, c text, d int, UNIQUE (a, b) INCLUDE (d))")
    place.execute("CREATE INDEX one ON t (d); CREATE INDEX two ON t (d, c); CREATE INDEX brin ON t USING brin (a, d)")
    place.execute("CREATE UNIQUE INDEX included ON t (d) INCLUDE (a); CREATE INDEX lower ON t (lower(c))")
    place.execute("CREATE INDEX sum ON t ((a + b)) WHERE c > 'x'; CREATE UNIQUE INDEX part ON t (d) WHERE a > 1")
    place.execute("CREATE FUNCTION whole(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'")
    place.execute("CREATE INDEX whole ON t (whole(t))")
    assert _ties(place) == {
        Tie(TieKind.UNIQUE, "t_a_b_d_key", ("a", "b")),
        Tie(TieKind.INDEX, "t_a_b_d_key", ("a", "b", "d")),
        Tie(TieKind.INDEX, "two", ("c", "d")),
        Tie(TieKind.INDEX, "brin", ("a", "d")),
        Tie(TieKind.INDEX, "included", ("a", "d")),
        Tie(TieKind.EXPRESSION, "sum", ("a", "b", "c")),
        Tie(TieKind.EXPRESSION, "part", ("a", "d")),
        Tie(TieKind.EXPRESSION, "whole", ALL),
        Tie(TieKind.EVALUATED, "whole", ALL, events=("UPDATE",)),
    }


def test_read_when_there_are_exclusions(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int, c int, CONSTRAINT x EXCLUDE (a WITH =, (b + 1) WITH =) WHERE (c > 1))")
    assert _ties(place) == {Tie(TieKind.EXCLUSION, "x", ("a", "b", "c"))}


def test_read_when_there_are_foreign_keys(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int PRIMARY KEY, b int, up int CONSTRAINT self REFERENCES t, UNIQUE (b, a))")
    place.execute('CREATE TABLE "O" (x int, y int, CONSTRAINT down FOREIGN KEY (x, y) REFERENCES t (b, a))')
    unique = Tie(TieKind.UNIQUE, "t_b_a_key", ("a", "b"))
    assert _ties(place) == {
        unique,
        Tie(TieKind.FOREIGN_KEY, "self", ("up",), (("s", "t", "a"),)),
        Tie(TieKind.REFERENCE, "self", ("a",), (("s", "t", "up"),)),
        Tie(TieKind.REFERENCE, "down", ("a", "b"), (("s", "O", "x"), ("s", "O", "y"))),
    }
    assert _ties(place, '"O"') == {Tie(TieKind.FOREIGN_KEY, "down", ("x", "y"), (("s", "t", "a"), ("s", "t", "b")))}


def test_read_when_columns_are_generated(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int, c int GENERATED ALWAYS AS (a * b) STORED, d int DEFAULT 7)")
    place.execute("ALTER TABLE t ADD e int GENERATED ALWAYS AS IDENTITY, ADD f int GENERATED ALWAYS AS (1 + 1) STORED")
    expected = {Tie(TieKind.GENERATED, "c", ("a", "b", "c"))}
    if place.info.server_version >= 180000:
        place.execute("ALTER TABLE t ADD v int GENERATED ALWAYS AS (d + 1) VIRTUAL")
        expected.add(Tie(TieKind.GENERATED, "v", ("d", "v")))
    assert _ties(place) == expected


def test_read_when_there_are_triggers_and_rules(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int)")
    place.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    place.execute("CREATE TRIGGER iu BEFORE INSERT OR UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()")
    place.execute("CREATE TRIGGER dt AFTER DELETE OR TRUNCATE ON t EXECUTE FUNCTION f()")
    place.execute("CREATE TRIGGER truncates AFTER TRUNCATE ON t EXECUTE FUNCTION f()")
    place.execute("CREATE TRIGGER replica AFTER DELETE ON t EXECUTE FUNCTION f()")
    place.execute("ALTER TABLE t ENABLE REPLICA TRIGGER replica")
    place.execute("CREATE TRIGGER off AFTER DELETE ON t EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER off")
    place.execute("CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION f()")
    place.execute("CREATE RULE r AS ON DELETE TO t DO ALSO NOTHING; CREATE RULE x AS ON INSERT TO t DO ALSO NOTHING")
    place.execute("ALTER TABLE t DISABLE RULE x")
    assert _ties(place) == {
        Tie(TieKind.TRIGGER, "iu", ALL, events=("INSERT", "UPDATE")),
        Tie(TieKind.TRIGGER, "dt", ALL, events=("DELETE",)),
        Tie(TieKind.TRIGGER, "replica", ALL, events=("DELETE",)),
        Tie(TieKind.TRIGGER, "late", ALL, events=("UPDATE",)),
        Tie(TieKind.RULE, "r", ALL, events=("DELETE",)),
    }


def test_read_when_there_is_row_security(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int); CREATE TABLE other (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    place.execute("CREATE POLICY one ON t USING (a > 1) WITH CHECK (b > 1)")
    place.execute(
        "CREATE POLICY other ON t USING (a IN (SELECT a FROM other)); CREATE POLICY whole ON t USING (t IS NULL)"
    )
    assert _facts(place).row_security
    assert _ties(place) == {
        Tie(TieKind.POLICY, "one", ("a", "b")),
        Tie(TieKind.POLICY, "other", ALL),
        Tie(TieKind.POLICY, "whole", ALL),
    }
    place.execute("ALTER TABLE t DISABLE ROW LEVEL SECURITY")
    assert _ties(place) == set()
    assert not _facts(place).row_security


def test_read_when_there_are_partitions(place: psycopg.Connection) -> None:
    """Columns go by name, and what all partitions have is tied once, by the name that the table has for it."""
    place.execute("CREATE TABLE t (a int, b int, c int, d text) PARTITION BY RANGE (a, (b + 1))")
    place.execute("CREATE INDEX on_both ON t (b, c); ALTER TABLE t ADD CONSTRAINT bc CHECK (b < c)")
    place.execute("CREATE TABLE odd (d text, gone int, c int, b int, a int, CONSTRAINT bc CHECK (b < c))")
    place.execute("ALTER TABLE odd DROP gone; CREATE INDEX only_here ON odd (c, d); CREATE INDEX again ON odd (c, b)")
    place.execute("ALTER TABLE t ATTACH PARTITION odd FOR VALUES FROM (1, 1) TO (9, 9)")
    place.execute("CREATE TABLE sub PARTITION OF t DEFAULT PARTITION BY LIST (d)")
    place.execute("CREATE TABLE leaf PARTITION OF sub DEFAULT; CREATE INDEX deep ON leaf (a, d)")
    place.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    place.execute("CREATE TRIGGER all_rows AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    place.execute("CREATE TRIGGER here AFTER DELETE ON leaf FOR EACH ROW EXECUTE FUNCTION f()")
    place.execute("CREATE TRIGGER never AFTER DELETE ON leaf EXECUTE FUNCTION f()")
    assert _ties(place) == {
        Tie(TieKind.PARTITION_KEY, "t", ("a", "b")),
        Tie(TieKind.PARTITION_KEY, "sub", ("d",)),
        Tie(TieKind.INDEX, "on_both", ("b", "c")),
        Tie(TieKind.CHECK, "bc", ("b", "c")),
        Tie(TieKind.INDEX, "only_here", ("c", "d")),
        Tie(TieKind.INDEX, "deep", ("a", "d")),
        Tie(TieKind.TRIGGER, "all_rows", ALL, events=("INSERT",)),
        Tie(TieKind.TRIGGER, "here", ALL, events=("DELETE",)),
    }
    assert not _facts(place).is_partition
    assert _facts(place, "leaf").is_partition
    assert Tie(TieKind.TRIGGER, "never", ALL, events=("DELETE",)) in _ties(place, "leaf")
    assert Tie(TieKind.CHECK, "bc", ("b", "c")) in _ties(place, "leaf")


def test_read_when_tables_inherit(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int); CREATE TABLE child (extra int, UNIQUE (a, b)) INHERITS (t)")
    place.execute("CREATE TABLE grandchild (CHECK (a < extra)) INHERITS (child)")
    assert _ties(place) == {
        Tie(TieKind.UNIQUE, "child_a_b_key", ("a", "b")),
        Tie(TieKind.CHECK, "grandchild_check", ("a", "extra")),
    }
    assert _facts(place, "child").is_partition


def test_read_when_children_divide_the_rows(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int CHECK (b > 0)); CREATE TABLE child (CHECK (a < 7)) INHERITS (t)")
    assert _ties(place) == {Tie(TieKind.PARTITION_KEY, "child_a_check", ("a",))}


def test_read_when_rows_are_clustered(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int, b int); CREATE INDEX i ON t (b); CREATE INDEX o ON t (a); CLUSTER t USING i")
    assert _ties(place) == {Tie(TieKind.CLUSTER, "i", ("b",))}


def test_read_when_defaults_may_collide(place: psycopg.Connection) -> None:
    place.execute(
        "CREATE TABLE t (a int DEFAULT 1 UNIQUE, b int UNIQUE, c int UNIQUE NULLS NOT DISTINCT, d serial UNIQUE,"
        " e uuid DEFAULT gen_random_uuid() UNIQUE NULLS NOT DISTINCT, f tstzrange DEFAULT tstzrange(now(), NULL),"
        " g int GENERATED BY DEFAULT AS IDENTITY UNIQUE NULLS NOT DISTINCT, EXCLUDE USING gist (f WITH &&))"
    )
    assert _ties(place) == {
        Tie(TieKind.DEFAULT, name, (name[2],), events=("INSERT",)) for name in ("t_a_key", "t_c_key", "t_f_excl")
    }


def test_read_when_an_unproven_null_is_refused(place: psycopg.Connection) -> None:
    if place.info.server_version < 180000:
        pytest.skip("Only PostgreSQL 18 has NOT NULL that is not valid.")
    place.execute("CREATE TABLE t (a int, b int NOT NULL); ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID")
    assert _ties(place) == {Tie(TieKind.EVALUATED, "n", ("a",), events=("UPDATE",))}


def test_read_when_foreign_keys_cascade(place: psycopg.Connection) -> None:
    place.execute(
        "CREATE TABLE t (a int PRIMARY KEY);"
        "CREATE TABLE plain (x int CONSTRAINT plain REFERENCES t ON DELETE CASCADE);"
        "CREATE TABLE moved (x int CONSTRAINT moved REFERENCES t ON UPDATE CASCADE) PARTITION BY LIST (x);"
        "CREATE TABLE emptied (x int CONSTRAINT emptied REFERENCES t ON DELETE SET NULL);"
        "CREATE TABLE watched (x int CONSTRAINT watched REFERENCES t ON DELETE CASCADE);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';"
        "CREATE TRIGGER f BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION f();"
        "CREATE TABLE held (x int UNIQUE CONSTRAINT held REFERENCES t ON DELETE CASCADE);"
        "CREATE TABLE h (x int REFERENCES held (x))"
    )
    assert {tie for tie in _ties(place) if tie.kind is TieKind.CASCADE} == {
        Tie(TieKind.CASCADE, name, ("a",), (("s", name, "x"),), events=(event,))
        for name, event in {"moved": "UPDATE", "emptied": "DELETE", "watched": "DELETE", "held": "DELETE"}.items()
    }


def test_read_when_a_partitioned_table_is_referred_to(place: psycopg.Connection) -> None:
    place.execute("CREATE TABLE t (a int PRIMARY KEY, b int) PARTITION BY LIST (a)")
    place.execute("CREATE TABLE t1 PARTITION OF t DEFAULT")
    place.execute("CREATE TABLE o (x int CONSTRAINT fk REFERENCES t) PARTITION BY LIST (x)")
    place.execute("CREATE TABLE o1 PARTITION OF o DEFAULT")
    assert _ties(place) - {Tie(TieKind.PARTITION_KEY, "t", ("a",))} == {
        Tie(TieKind.REFERENCE, "fk", ("a",), (("s", "o", "x"),))
    }
    assert Tie(TieKind.FOREIGN_KEY, "fk", ("x",), (("s", "t", "a"),)) in _ties(place, "o")
