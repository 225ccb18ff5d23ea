"""The company that is attacked, the credential it is attacked with, and how an attack is run."""

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from apps.core.ids import new_id
from apps.engines.base import Level, LoginSpec, Operator, RowFilter, Scope, TableName, Target, Tls, ViewedTable
from apps.engines.masks import HIDDEN, parse
from apps.engines.postgresql import PostgresEngine, names, scram
from tests.bypass import sentinels
from tests.bypass.attack import Attack
from tests.bypass.sentinels import Recogniser, Secret
from tests.bypass.wire import Wire
from tests.engines.conftest import PORTAL, psql
from tests.support.targets import TargetServer

_MASKS: Final = {
    "name": "partial(1,0)",
    "email": "email",
    "phone": "partial(0,2)",
    "card": "partial(0,4)",
    "bonus": "bucket(1000)",
    "born": "date(year)",
    "seen": "date(month)",
    "score": "null",
    "raw": "null",
}
_HIDDEN: Final = (
    *("ssn", "salary", "ratio", "visited", "code", "doc", "tags", "marks", "mood", "pin", "blob", "addr", "span"),
    *("during", "whole", "yearly", "badge"),
)
_SHOWN: Final = ("id", "region", "grade", "team", "active", "note", "changed_at")
_ELSEWHERE: Final = (("vault", "badges", "no"), ("vault", "badges", "holder"), ("app", "absences", "person_id"))


def _view(
    name: str, *columns: str, masks: dict[str, str] | None = None, row_filter: RowFilter | None = None
) -> ViewedTable:
    masked = tuple(sorted((column, parse(mask)) for column, mask in (masks or {}).items()))
    return ViewedTable(TableName("app", name), columns, masked, (row_filter,) if row_filter else ())


VIEWS: Final = (
    _view("accounts", "id", "label", "amount", "secret", masks={"secret": "hidden"}),
    _view("events", "id", "happened", "kind", "who", masks={"who": "hidden"}),
    _view("members", "id", "team_id", "note", "flag", "oath", masks={"flag": "hidden", "oath": "hidden"}),
    _view("people", *_SHOWN, *_MASKS, *_HIDDEN, masks=_MASKS | dict.fromkeys(_HIDDEN, str(HIDDEN))),
    _view("prices", "id", "region", "cost", masks={"cost": "hidden"}),
    _view("teams", "id", "label"),
    _view("visits", "id", "person_id", "place"),
)
STAFF: Final = _view("staff", "id", "region", "level", "memo", row_filter=RowFilter("region", Operator.EQUAL, ("EU",)))


@dataclass
class Company:
    """A prepared database with sentinels in every masked column."""

    server: TargetServer
    database: str
    owner: str
    target: Target
    people: list[dict[str, Any]]
    cost: dict[int, int]
    hidden_level: int
    memos: list[str]
    badges: list[int]
    who: dict[int, str]
    secret_words: list[str]
    oaths: list[str]

    @cached_property
    def secrets(self) -> tuple[Secret, ...]:
        found = [secret for row in self.people for secret in sentinels.secrets_of(row)]
        found += [Secret(f"prices.cost of {key}", sentinels.of_number(value)) for key, value in self.cost.items()]
        found += [Secret("staff.memo", sentinels.of_text(memo)) for memo in self.memos]
        found += [Secret("events.who", sentinels.of_text(word)) for word in self.who.values()]
        found += [Secret("accounts.secret", sentinels.of_text(word)) for word in self.secret_words]
        found += [Secret("members.oath", sentinels.of_text(word)) for word in self.oaths]
        return (*found, *(Secret("badges.no", sentinels.of_number(number)) for number in self.badges))

    @cached_property
    def recognised(self) -> Recogniser:
        return Recogniser(self.secrets)

    def admin(self) -> psycopg.Connection:
        return self.server.admin(self.database)

    def spec(self, level: Level) -> LoginSpec:
        """Of a new login. Filtered rows cannot be had at level change."""
        views = VIEWS if level is Level.CHANGE else tuple(sorted((*VIEWS, STAFF)))
        notes = TableName("open", "notes")
        masked = {(view.table, column) for view in VIEWS for column, _ in view.masks}
        return LoginSpec(
            login=names.login_name("mallory", new_id()),
            verifier=scram.verifier(self.target.password),
            reference="attack",
            seconds=3600,
            scope=Scope(self.database, level, tuple(sorted([*(view.table for view in views), notes])), views),
            classified=frozenset(masked | {(TableName(schema, name), column) for schema, name, column in _ELSEWHERE}),
            known=frozenset({(notes, "id"), (notes, "line")}),
        )

    def truths(self) -> dict[str, Any]:
        """What an attacker would like to know, by the name that attacks call it."""
        rows = self.people

        def by(column: str, chosen: list[dict[str, Any]] = rows) -> list[int]:
            return [row["id"] for row in sorted(chosen, key=lambda row: row[column] or "~")]

        return {
            "yes": True,
            "suspicions": [True] * 8 + [False] * 8,
            "bracket": rows[6]["salary"] // 200_000_000 + 1,
            "hidden_level": self.hidden_level + 1,
            "prices_by_cost": sorted((key for key in self.cost if key % 2 == 0), key=lambda key: self.cost[key]),
            "people_by_card": by("card"),
            "people_by_ssn": by("ssn"),
            "active_people_by_salary": by("salary", [row for row in rows if row["active"]]),
            "masked_names_by_name": [row["name"][0] + "***" for row in sorted(rows, key=lambda row: row["name"])],
            "events_by_who": sorted(self.who, key=lambda key: self.who[key]),
            "without_ssn": [row["id"] for row in rows if row["ssn"] is None],
            "of_one_salary": [8, 9],
            "flagged": [3],
            "distinct": [(len(rows) - 1, len(rows) - 1)],
            "lengths": [row["ssn"] and len(row["ssn"]) for row in rows],
        }


@dataclass
class Attacker:
    """A login, and a client's connection through the wire."""

    company: Company
    spec: LoginSpec
    wire: Wire
    schema: str = ""  # where people is; the view schema of app unless said
    sent: list[str] = field(default_factory=list)
    connection: psycopg.Connection[Any] | None = None

    @property
    def view_schema(self) -> str:
        return self.schema or names.view_schema_name(names.scope_role_name(self.spec.scope), "app")

    @contextmanager
    def connected(self) -> Iterator[None]:
        """With the search path that the login was given, whatever an earlier attack has made of its settings."""
        self.sent, path = [], f"-c search_path={self.view_schema},open"
        self.wire.clear()
        with psycopg.connect(
            host="127.0.0.1",
            port=self.wire.port,
            user=self.spec.login,
            password=self.company.target.password,
            dbname=self.company.database,
            options=path,
            autocommit=True,
            connect_timeout=10,
        ) as self.connection:
            yield

    @cached_property
    def suspected(self) -> list[tuple[str, bool]]:
        real = [row["ssn"] for row in self.company.people if row["ssn"]][:8]
        return [(value, True) for value in real] + [(sentinels.word(), False) for _ in range(8)]

    @cached_property
    def suspected_badges(self) -> list[tuple[int, bool]]:
        return [(no, True) for no in self.company.badges[:8]] + [(sentinels.number(), False) for _ in range(8)]

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.answer(statement)

    def rows(self, statement: str, timezone: str = "") -> list[tuple[Any, ...]]:
        """Empty where the server refuses."""
        if timezone:
            self.run(f"SET timezone = '{timezone}'")
        answer = self._send(statement)
        return answer if isinstance(answer, list) else []

    def asked(self, question: str, value: str) -> str:
        """The answer to a question about a value, wherever it repeats the value."""
        return self.undone(question.replace("@x@", value)).replace(value, "@x@")

    def ok(self, statement: str) -> bool:
        return not isinstance(self._send(statement), psycopg.Error)

    def answer(self, statement: str) -> str:
        """Whatever a person would see of it, in one text; an error by its code."""
        answer = self._send(statement)
        if isinstance(answer, psycopg.Error):
            return answer.sqlstate or type(answer).__name__
        return repr(answer)

    def undone(self, statement: str) -> str:
        """The answer, of a statement whose effect is taken back."""
        self.run("BEGIN")
        answer = self.answer(statement)
        self.run("ROLLBACK")
        return answer

    def _send(self, statement: str) -> list[tuple[Any, ...]] | int | psycopg.Error:
        assert self.connection is not None
        self.sent.append(statement)
        try:
            if statement.startswith("COPY"):
                with self.connection.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[call-overload]
                    return [] if "FROM STDIN" in statement else [(bytes(block),) for block in copy]
            cursor = self.connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else cursor.rowcount
        except psycopg.Error as error:
            if self.connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                with contextlib.suppress(psycopg.Error):
                    self.connection.execute("ROLLBACK")
            return error


def leaks_of(attack: Attack, attacker: Attacker, other: str) -> list[str]:
    """Run it, and say what it got. Raises nothing that the server says."""
    company = attacker.company
    seven = next(row for row in company.people if row["id"] == 7)
    words = {
        "@v@": attacker.view_schema,
        "@login@": attacker.spec.login,
        "@login2@": other,
        "@scope@": names.scope_role_name(attacker.spec.scope),
        "@owner@": company.owner,
        "@ssn@": seven["ssn"],
        "@salary@": str(seven["salary"]),
    }
    found: list[str] = []
    with attacker.connected():
        for step in attack.steps:
            for word, value in words.items():
                step = step.replace(word, value)  # noqa: PLW2901 - filled in
            attacker.run(step)
        if attack.guess is not None and attack.guess(attacker) == company.truths()[attack.truth]:
            found.append(f"inferred {attack.truth}")
    # What the attacker said comes back in errors and plans, and tells nothing.
    sent = "\n".join(attacker.sent).encode()
    heard = company.recognised.within(attacker.wire.heard)
    told = {secret.where for secret, form in heard if form not in sent and secret.forms[0] not in sent}
    return found + [f"heard {where}" for where in sorted(told)]


@contextmanager
def founded(server: TargetServer) -> Iterator[Company]:
    """Make it, fill it, open it to the portal; take it away with everything afterwards."""
    database, owner = server.create_database(f"bypass_{new_id()}"), f"owner_bypass_{new_id()}"
    target = Target(
        host=server.host,
        port=server.port,
        user="jitportal",
        password=scram.new_password(),
        tls=Tls.LOOPBACK_PLAINTEXT,
        portal_id=PORTAL,
    )
    people = [sentinels.person(number) for number in range(1, sentinels.PEOPLE + 1)]
    people[4]["ssn"] = None
    people[8]["salary"] = people[7]["salary"]
    company = Company(
        server=server,
        database=database,
        owner=owner,
        target=target,
        people=people,
        cost={key: sentinels.number() for key in range(1, sentinels.PRICES + 1)},
        hidden_level=40_001 + secrets.randbelow(20_000),
        memos=[sentinels.word() for _ in range(5)],
        badges=[sentinels.number() for _ in range(12)],
        who={key: sentinels.word() for key in range(1, 41)},
        secret_words=[sentinels.word() for _ in range(3)],
        oaths=[sentinels.word() for _ in range(4)],
    )
    with server.admin(database) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(owner)))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (database, owner))))
        admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
        admin.execute((Path(__file__).parent / "company.sql").read_bytes())
        _fill(admin, company)
        admin.execute("RESET ROLE")
        admin.execute("ANALYZE")
    psql(
        server,
        PostgresEngine().bootstrap_sql(
            databases=[database], schemas={}, verifier=scram.verifier(target.password), portal_id=PORTAL
        ),
    )
    yield company
    server.drop_database(database)


def _fill(admin: psycopg.Connection, company: Company) -> None:
    columns = list(company.people[0])
    insert = sql.SQL("INSERT INTO app.people ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(map(sql.Placeholder, columns))
    )
    with admin.cursor() as cursor:
        cursor.executemany("INSERT INTO vault.badges VALUES (%s, 'x')", [(number,) for number in company.badges])
        cursor.executemany(insert, company.people)
        cursor.executemany(
            "INSERT INTO app.prices VALUES (%s, %s, %s)",
            [(key, "EU" if key % 2 == 0 else "US", value) for key, value in company.cost.items()],
        )
        cursor.executemany("INSERT INTO app.events VALUES (%s, '2010-05-05', 'in', %s)", list(company.who.items()))
        cursor.executemany(
            "INSERT INTO app.accounts (label, secret) VALUES ('a', %s)", [(w,) for w in company.secret_words]
        )
        cursor.executemany(
            "INSERT INTO app.staff VALUES (%s, %s, %s, %s)",
            [(key, "EU", key, "fine") for key in range(1, sentinels.STAFF)]
            + [(999 + step, "US", company.hidden_level + 7 * step, memo) for step, memo in enumerate(company.memos)],
        )
        cursor.execute("INSERT INTO app.visits (person_id, place) SELECT id, 'Bonn' FROM app.people")
        cursor.execute("INSERT INTO open.notes (line) VALUES ('hello')")
        cursor.execute("INSERT INTO app.teams SELECT n, 'team' FROM generate_series(1, 5) n")
        cursor.executemany(
            "INSERT INTO app.members VALUES (%s, %s, 'm', %s, %s)",
            [(number, number, number == 3, oath) for number, oath in enumerate(company.oaths, 1)],
        )
        cursor.execute("ALTER TABLE app.members ADD CHECK (oath::numeric > 0) NOT VALID")
