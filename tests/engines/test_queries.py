"""How questions go to a target: long lists, answers that are waited for later, and how many there are."""

from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.rows import scalar_row

from apps.engines.base import Level, LoginSpec, Scope, TableName, ViewedTable
from apps.engines.masks import parse
from apps.engines.postgresql import PostgresEngine, connect, names
from apps.engines.postgresql.queries import oid_array, text_array
from tests.engines.conftest import ODD_NAMES, Shop
from tests.engines.viewing import a_view_spec, make_crm, viewed

ODD_TEXTS = (
    "",
    "NULL",
    "null",
    "a,b",
    "{}",
    "{x}",
    '"',
    '""',
    "\\",
    '\\"',
    "\\\\N",
    "new\nline\ttab\x01",
    " ",
    "é表🙂",
)


@pytest.mark.parametrize("texts", [(), ("a",), ODD_TEXTS, ODD_NAMES, tuple(f"t{n}" for n in range(1000))])
def test_text_array_when_the_texts_are_odd(newest: Shop, texts: tuple[str, ...]) -> None:
    assert newest.value("SELECT %s::text[]", [text_array(texts)]) == list(texts)


def test_text_array_when_there_is_a_nul(newest: Shop) -> None:
    with pytest.raises(psycopg.DataError):
        newest.value("SELECT %s::text[]", [text_array(["a\0b"])])


@pytest.mark.parametrize("oids", [(), (1,), (0, 16384, 2**32 - 1), tuple(range(1000))])
def test_oid_array_when_there_are_any(newest: Shop, oids: tuple[int, ...]) -> None:
    assert newest.value("SELECT %s::oid[]", [oid_array(oids)]) == list(oids)


def test_ask_when_the_answer_is_read_after_the_block(newest: Shop) -> None:
    with connect.session(newest.target, newest.database, doing="asking") as connection:
        with connection.pipeline():
            first = connect.ask(connection, b"SELECT generate_series(1, %(to)s)", {"to": 3}, scalar_row)
        assert connection.info.transaction_status is pq.TransactionStatus.IDLE
        with connection.pipeline():
            second = connect.ask(connection, b"SELECT %(what)s::text", {"what": "more"}, scalar_row)
            assert first() == [1, 2, 3]
        assert second() == ["more"]


def test_ask_when_the_server_refuses(newest: Shop) -> None:
    """Nothing goes on as if it had been answered."""
    secret = b"SELECT rolpassword FROM pg_authid WHERE rolname <> %(who)s"
    with connect.session(newest.target, newest.database, doing="asking") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline():
            connect.ask(connection, secret, {"who": ""}, scalar_row)
        assert asked(connection, b"SELECT %(one)s::int", {"one": 1}) == [1]


def test_ask_when_something_changes_in_between(newest: Shop) -> None:
    """Each block sees what has been committed before it, with the server's own functions as well."""
    may = b"SELECT has_table_privilege('jitportal_masker', %(table)s::oid, 'SELECT')"
    table, seen = {"table": newest.value("SELECT 'sales.orders'::regclass::oid")}, []
    with connect.session(newest.target, newest.database, doing="asking") as connection:
        for change in ("GRANT SELECT ON sales.orders TO", "REVOKE SELECT ON sales.orders FROM") * 2:
            newest.run(f"{change} jitportal_masker")
            seen += asked(connection, may, table)
    assert seen == [True, False] * 2


def asked(connection: connect.Connection, statement: bytes, parameters: dict[str, object]) -> list[Any]:
    with connection.pipeline():
        told = connect.ask(connection, statement, parameters, scalar_row)
    return told()


def test_scope_role_name_when_equal_scopes_are_made_apart() -> None:
    def scope(column: str = "ssn") -> Scope:
        table = TableName("crm", "people")
        view = ViewedTable(table, ("id", column), ((column, parse("hidden")),))
        return Scope("shop", Level.QUERY, (table, TableName("sales", "orders")), (view,))

    assert scope() == scope()
    assert hash(scope()) == hash(scope())
    assert names.scope_role_name(scope()) == names.scope_role_name(scope())
    assert scope() != scope("email")
    assert names.scope_role_name(scope()) != names.scope_role_name(scope("email"))
    assert scope().direct == (TableName("sales", "orders"),)


def test_open_login_when_a_scope_of_many_tables_is_there(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as many questions as a scope of one table."""
    monkeypatch.setattr(names, "MAKERS", 1)  # each comes with statements of its own
    make_crm(newest)
    newest.run(
        *[f"CREATE TABLE {schema}.t{n} (id int PRIMARY KEY, ssn text)" for schema in ("crm", "sales") for n in range(9)]
    )
    newest.bootstrap()
    masked = [viewed(newest, TableName("crm", f"t{n}"), {"ssn": "hidden"}) for n in range(9)]
    direct = [TableName("sales", f"t{n}") for n in range(9)]
    counts = []
    for level in (Level.QUERY, Level.CHANGE):
        few = a_view_spec(newest, masked[0], direct=direct[:1], level=level)
        many = a_view_spec(newest, *masked, direct=direct, level=level)
        for spec in (few, many):
            engine.open_login(newest.target, spec)
            again = a_view_spec(newest, *spec.scope.views, direct=spec.scope.direct, level=level)
            counts.append(counted(engine, newest, again, monkeypatch))
    assert counts[0] == counts[1]
    assert counts[2] == counts[3]


def counted(engine: PostgresEngine, shop: Shop, spec: LoginSpec, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many statements open it."""
    given, sent = connect._parameters, list[Any]()

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            sent.append(args[0])
            return super().execute(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(connect, "_parameters", lambda *args: given(*args) | {"cursor_factory": Counting})
        engine.open_login(shop.target, spec)
    return len(sent)
