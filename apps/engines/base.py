"""The contract between the portal and a target database: what goes over, what comes back.

Plain dataclasses; no Django. An engine never sees a grant, a person or a request: only logins, scopes and
times. Every method may be called twice with the same arguments (a commit whose answer was lost is the normal
case) and then has the same result.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


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


@dataclass(frozen=True, order=True)
class TableName:
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
    kind: str  # table | partitioned table | view | materialized view | foreign table
    columns: tuple[ColumnInfo, ...]
    estimated_rows: int  # -1 when never analysed
    comment: str


@dataclass(frozen=True)
class Scope:
    """All privileges of a grant: what the content-addressed scope role holds. Tables are sorted and distinct."""

    database: str
    level: Level
    tables: tuple[TableName, ...]


@dataclass(frozen=True, kw_only=True)
class LoginSpec:
    """One login to make. `verifier` is a SCRAM-SHA-256 verifier; the plaintext never leaves the portal."""

    login: str
    verifier: str = field(repr=False)
    reference: str  # the request's id, for the role's comment
    seconds: int  # how long it lives, counted by the target's clock from the statement that opens it
    scope: Scope
    classified: frozenset[tuple[TableName, str]]  # (table, column) that must not be reachable
    # Columns of the scope's tables that somebody could have classified. Any other one is refused: it was added since,
    # or another table has taken an approved name.
    known: frozenset[tuple[TableName, str]]


@dataclass(frozen=True)
class Reach:
    """One object that a login can reach: what for (SELECT, EXECUTE, …) and through whom (role, PUBLIC, owner)."""

    object: str  # kind and quoted name: 'table sales.orders'
    privileges: tuple[str, ...]
    via: str


@dataclass(frozen=True)
class Evidence:
    """The closure of a login as the target's catalogs told it at `checked_at` (the target's clock)."""

    checked_at: datetime
    reach: tuple[Reach, ...]
    findings: tuple[str, ...]  # exposure that PUBLIC already had: sentences


@dataclass(frozen=True)
class Opened:
    """The login works. Both times are the target's; `valid_until` is what the server itself enforces."""

    opened_at: datetime
    valid_until: datetime
    scope_role: str
    evidence: Evidence


@dataclass(frozen=True)
class Closed:
    """Absence, read back: no role, no session, no prepared transaction, nothing in pg_shdepend."""

    login: str
    locked_at: datetime  # NOLOGIN was committed
    sessions_ended: int
    clean_at: datetime  # the third clean scan in a row
    dropped: bool  # False: access is zero, but the role could not be dropped yet; `leftover` says why
    leftover: str = ""


@dataclass(frozen=True)
class SessionUse:
    login: str
    live: int
    first_backend_start: datetime | None


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

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        """Scope role if new, login role locked, proof, then LOGIN and VALID UNTIL in one statement."""

    def close_logins(self, target: Target, logins: Sequence[str]) -> list[Closed]:
        """NOLOGIN for all first, then sessions until clean, then drops. One result per login that is clean.

        A login that could not be proven clean is left out: the caller tries again.
        """

    def drop_scopes(self, target: Target, scope_roles: Iterable[tuple[str, str]]) -> list[str]:
        """Drop (scope role, database) pairs that have no members; returns the roles that are gone."""

    def sessions(self, target: Target) -> list[SessionUse]:
        """Live sessions of this portal's logins, in one look at the server."""

    def now(self, target: Target) -> datetime:
        """The target's clock_timestamp(), for measuring its skew."""
