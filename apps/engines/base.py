"""The contract between the portal and a target database: what goes over, what comes back.

Plain dataclasses; no Django. An engine never sees a grant, a person or a request: only logins, scopes and
times. Every method may be called twice with the same arguments (a commit whose answer was lost is the normal
case) and then has the same result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, Protocol

from apps.engines.masks import Mask
from apps.engines.ties import Tie


class EngineError(Exception):
    """The target did not do what was asked. `sentence` is for the person who can act; it holds no secret."""

    retry = False

    def __init__(self, sentence: str, *, sqlstate: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.sqlstate = sqlstate


class TargetUnavailable(EngineError):
    """Nobody answered, or the answer was lost: try again, nothing is known about the outcome."""

    retry = True
    answered = False  # somebody is there, who would not let us in


class TargetBusy(EngineError):
    """Another transaction was in the way (40001, 40P01, 55P03, XX000 of concurrent DDL): try again."""

    retry = True


class Refused(EngineError):
    """The target is as it should not be (a missing right, a leak, a foreign portal's login): a person must act."""


class Tls(StrEnum):
    VERIFY_FULL = "verify-full"
    # Plaintext is for loopback addresses that the operator has permitted (the embedded server has no TLS).
    LOOPBACK_PLAINTEXT = "loopback-plaintext"


class Level(StrEnum):
    """What a grant may do with its tables. `export` differs from `query` only in the console's limits."""

    QUERY = "query"
    EXPORT = "export"
    CHANGE = "change"


@dataclass(frozen=True, kw_only=True)
class Target:
    """How the manager reaches one server. `password` is the manager's and is never logged."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    maintenance_db: str = "postgres"
    tls: Tls = Tls.VERIFY_FULL
    ca_pem: str = ""
    portal_id: str  # opaque; stands in the comment of every login of this portal


class TableName(NamedTuple):
    """A tuple, as each table of a scope is compared and looked up many times before a login is opened."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class ColumnInfo:
    name: str
    type: str  # as format_type() prints it
    position: int
    not_null: bool
    comment: str


@dataclass(frozen=True)
class TableInfo:
    table: TableName
    kind: str  # table | partitioned table | partition (or inheritance child) | view | materialized view | foreign table
    columns: tuple[ColumnInfo, ...]
    estimated_rows: int  # -1 when never analysed
    comment: str
    primary_key: tuple[str, ...] = ()
    ties: tuple[Tie, ...] = ()  # also those of its partitions and children
    row_security: bool = False


class Operator(StrEnum):
    EQUAL = "="
    UNEQUAL = "<>"
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    ONE_OF = "in"
    IS_NULL = "is null"
    IS_NOT_NULL = "is not null"


@dataclass(frozen=True, order=True)
class RowFilter:
    """Rows that a grant shows. `values` are texts in the column's type: none for null, one, or any number for `in`."""

    column: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.values:
            return f"{self.column} {self.operator}"
        given = ", ".join("'" + value.replace("'", "''") + "'" for value in self.values)
        return f"{self.column} {self.operator} " + (f"({given})" if self.operator is Operator.ONE_OF else given)


@dataclass(frozen=True, order=True)
class ViewedTable:
    """A table that is reached through a view, column by column: what is not listed is not there."""

    table: TableName
    columns: tuple[str, ...]  # in the order of the table
    masks: tuple[tuple[str, Mask], ...] = ()  # of the columns that do not show their value; sorted by column
    filters: tuple[RowFilter, ...] = ()  # all must hold; sorted


@dataclass(frozen=True)
class Scope:
    """All privileges of a grant: what the content-addressed scope role holds. Tables are sorted and distinct.

    `views` are those of the tables that are not given directly. Where all tables of a schema are reached through views,
    there is no USAGE on it.
    """

    database: str
    level: Level
    tables: tuple[TableName, ...]
    views: tuple[ViewedTable, ...] = ()

    @cached_property
    def direct(self) -> tuple[TableName, ...]:
        viewed = {view.table for view in self.views}
        return tuple(table for table in self.tables if table not in viewed)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Once: names and plans are kept by scope, and asked for again and again."""
        return hash((self.database, self.level, self.tables, self.views))


@dataclass(frozen=True, kw_only=True)
class LoginSpec:
    """One login to make. `verifier` is a SCRAM-SHA-256 verifier; the plaintext never leaves the portal."""

    login: str
    verifier: str = field(repr=False)
    reference: str  # the request's id, for the role's comment
    seconds: int  # how long it lives, counted by the target's clock from the statement that opens it
    scope: Scope
    # (table, column) of the whole database that must not be reachable, but through a view of the scope that masks it
    # or that was approved to show it.
    classified: frozenset[tuple[TableName, str]]
    # Columns of the tables given directly that somebody could have classified. Any other one is refused: it was added
    # since, or another table has taken an approved name.
    known: frozenset[tuple[TableName, str]]


@dataclass(frozen=True)
class Reach:
    """One object that a login can reach: what for (SELECT, EXECUTE, …) and through whom.

    `via` is a role, PUBLIC, `definer function f`, `cascade from t`.
    """

    object: str  # kind and quoted name: 'table sales.orders', 'view jit_ab_sales.customers', 'column s.v.c'
    privileges: tuple[str, ...]
    via: str


@dataclass(frozen=True)
class ShownColumn:
    name: str
    mask: str | None  # as text; None where the value is shown
    writable: tuple[str, ...] = ()  # INSERT, UPDATE
    why_read_only: str = ""  # at level change: "is masked", "is tied to …"


@dataclass(frozen=True)
class Shown:
    """A view of the scope as it is on the target."""

    view: str  # quoted name
    table: str  # quoted name of what it shows
    columns: tuple[ShownColumn, ...]
    filters: tuple[str, ...] = ()
    ordered: bool = False  # rows come by primary key, so that no index can tell the order of a masked column


@dataclass(frozen=True)
class Evidence:
    """The closure of a login as the target's catalogs told it at `checked_at` (the target's clock)."""

    checked_at: datetime
    reach: tuple[Reach, ...]
    findings: tuple[str, ...]  # exposure that PUBLIC already had: sentences
    views: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class Drift:
    """What has changed on the target under a live login since it was proven. Sentences."""

    login: str
    opened: tuple[str, ...] = ()  # a classified column is, or may be, within reach: the access must end
    changed: tuple[str, ...] = ()  # anything else that is not as approved: told


@dataclass(frozen=True)
class Exposure:
    """What everybody (PUBLIC) may reach in a database beyond any grant, by kind."""

    kind: str  # readable | writable | definer | carried | notifies | …
    sentence: str
    count: int
    objects: tuple[str, ...]  # the first hundred
    fix: str = ""  # SQL that would close it


@dataclass(frozen=True)
class Opened:
    """The login works. Both times are the target's; `valid_until` is what the server itself enforces."""

    opened_at: datetime
    valid_until: datetime
    scope_role: str
    evidence: Evidence


@dataclass(frozen=True)
class LeftObject:
    """What an ended login owned and others need: it belongs to the login's graveyard now, a role without any right."""

    database: str
    object: str  # kind and quoted name, as pg_describe_object tells it


@dataclass(frozen=True)
class Closed:
    """Absence, read back: no role, no session, no prepared transaction, nothing in pg_shdepend."""

    login: str
    locked_at: datetime  # NOLOGIN was committed
    sessions_ended: int
    clean_at: datetime  # the third clean scan in a row
    dropped: bool  # False: access is zero, but the role could not be dropped yet; `leftover` says why
    leftover: str = ""
    left: tuple[LeftObject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SessionLimits:
    """For how many seconds a session may stand in others' way before it is ended; 0 does not look (field notes S10)."""

    blocks: int = 0  # somebody waits for a lock that it holds
    idles: int = 0  # in a transaction, doing nothing
    holds_back: int = 0  # its snapshot keeps vacuum from cleaning up


class CutWhy(StrEnum):
    BLOCKED = "blocked"
    IDLED = "idled"
    HELD_BACK = "held_back"


@dataclass(frozen=True)
class SessionCut:
    """A session that was ended because it stood in others' way, or a prepared transaction that was rolled back."""

    pid: int  # 0: a prepared transaction has no process
    why: CutWhy
    seconds: int  # for how long it had done so
    started_at: datetime  # the target's clock; together with the pid it tells sessions apart


@dataclass(frozen=True)
class SessionUse:
    login: str
    live: int
    first_backend_start: datetime | None
    cut: tuple[SessionCut, ...] = ()


class FoundLogin(NamedTuple):
    """A login of this portal as it stands on the server. There may be thousands."""

    login: str  # its name as its comment says, which a DBA may have changed on the server
    role: str  # its name on the server
    comment: str
    can_login: bool
    valid_until: datetime | None  # None: never opened, or infinite
    sessions: int


class ForeignMember(NamedTuple):
    """A member of one of the portal's logins or scope roles that is neither one of its logins nor a role of its own.

    It has the rights of a grant. Where the portal itself made it a member, it may be one of its logins, renamed and
    without its mark.
    """

    role: str  # which has the rights
    of: str  # the portal's login or scope role that it is a member of
    given_by: tuple[str, ...]  # the roles that made it a member
    given_by_portal: bool
    can_login: bool
    sessions: int


class Expelled(NamedTuple):
    """What came of taking a membership away, read back."""

    member: ForeignMember
    fix: str  # SQL that a superuser has to run; empty where the membership is gone


@dataclass(frozen=True)
class Survey:
    """Everything of this portal's that is on a server. Another portal's is not in it."""

    checked_at: datetime  # the target's clock
    logins: tuple[FoundLogin, ...] | None  # None: as they were when `digest` was `known`
    digest: str  # of everything about logins and scope roles but their sessions
    scope_roles: tuple[tuple[str, str], ...]  # (scope role, database that it is for)
    view_schemas: tuple[tuple[str, str, str], ...]  # (scope role, database, schema)
    mark: str  # what remember() left there last; empty where nothing did
    unseen: tuple[str, ...] = ()  # a sentence for each database that might hold view schemas and did not let us look
    members: tuple[ForeignMember, ...] = ()  # at each look, whatever was `known`


@dataclass(frozen=True)
class Sample:
    """Some values of one column, as text. They are never stored or logged."""

    table: TableName
    column: str
    values: tuple[str, ...] = field(repr=False)


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"  # nothing is issued on this server until it is mended


@dataclass(frozen=True)
class Finding:
    """One sentence of a preflight, and the SQL that would mend it where there is any."""

    severity: Severity
    sentence: str
    fix: str = ""


def unheard(closed: Sequence[Closed]) -> None:
    """Nobody waits for the first ones."""


class Engine(Protocol):
    """One kind of target database. Errors: EngineError and its three subclasses, nothing else."""

    def bootstrap_sql(
        self, *, databases: Sequence[str], schemas: dict[str, Sequence[str]], verifier: str, portal_id: str
    ) -> str:
        """SQL that the server's administrator runs once with psql; running it again does no harm."""

    def preflight(self, target: Target, databases: Sequence[str]) -> list[Finding]:
        """What is missing or dangerous, worst first; an unreachable server is a finding, not an exception."""

    def read_tables(self, target: Target, database: str) -> Iterator[TableInfo]:
        """Every user table, view and foreign table with its columns, ordered by schema and name."""

    def mask_fits(self, mask: Mask, column_type: str) -> bool:
        """Whether the mask can show every value of a type, as ColumnInfo.type names it."""

    def filter_fits(self, row_filter: RowFilter, column_type: str) -> bool:
        """Whether the operator and the values can be compared with a column of this type."""

    def samples(self, target: Target, database: str, columns: Sequence[tuple[TableName, str]]) -> Iterator[Sample]:
        """A bounded look at values of plain tables without row security, for classifying; the rest is left out."""

    def exposure(self, target: Target, database: str) -> list[Exposure]:
        """What PUBLIC may reach there, so that a DBA can close it."""

    def drift(self, target: Target, database: str, specs: Sequence[LoginSpec]) -> list[Drift]:
        """The proof of live logins again, in one pass; those without any drift are left out.

        `verifier` and `seconds` of the specs are not looked at.
        """

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        """Scope role if new, login role locked, proof, then LOGIN and VALID UNTIL in one statement."""

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        """NOLOGIN for all first, then sessions until clean, then drops. One result per login that is clean.

        `proven` hears of them in portions, as soon as they are; the list at the end holds them all. A login that could
        not be proven clean is left out: the caller tries again.
        """

    def drop_scopes(self, target: Target, scope_roles: Iterable[tuple[str, str]]) -> list[str]:
        """Drop (scope role, database) pairs that have no members; returns the roles that are gone."""

    def sessions(self, target: Target, limits: SessionLimits) -> list[SessionUse]:
        """Live sessions of this portal's logins, in one look at the server; it ends those that exceed the limits."""

    def extend_login(self, target: Target, login: str, reference: str, until: datetime) -> datetime:
        """Let an open login live until `until` (the target's clock) and return what the server holds by now.

        Never shortens. Refused where the login is not there, not this request's, or has ended. `reference` is that of
        the LoginSpec that opened it.
        """

    def reset_password(self, target: Target, login: str, reference: str, verifier: str) -> None:
        """Give an open login the password again of which this is the verifier. Refused as with extend_login()."""

    def set_own_password(self, target: Target, verifier: str) -> None:
        """Let the manager's own login have the password of which this is the verifier."""

    def lets_in(self, target: Target) -> bool:
        """Whether the server lets the manager in; False where it asked for the password and said no."""

    def survey(self, target: Target, known: str = "") -> Survey:
        """What of this portal's is there, in every database. `known`: the digest of a survey that need not be told
        again: where it still holds, thousands of logins are not read.
        """

    def expel(self, target: Target, members: Sequence[ForeignMember]) -> list[Expelled]:
        """Take their memberships away, and what they have passed on; one result for each, read back."""

    def remember(self, target: Target, mark: str) -> None:
        """Leave a word of at most 200 letters on the server for the portal itself, in the place of the last one."""

    def recall(self, target: Target) -> str:
        """The last word that remember() left; empty where there is none."""

    def now(self, target: Target) -> datetime:
        """The target's clock_timestamp(), for measuring its skew."""
