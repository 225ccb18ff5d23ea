"""The engine: each method of the contract, from the module that knows how."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from apps.engines.base import Closed, Finding, LoginSpec, Opened, SessionUse, TableInfo, Target
from apps.engines.postgresql import bootstrap, ending, logins, preflight, scope_ending, watching


class PostgresEngine:
    """Implements apps.engines.base.Engine for PostgreSQL 15 and newer. Holds nothing: one serves all."""

    def bootstrap_sql(
        self, *, databases: Sequence[str], schemas: dict[str, Sequence[str]], verifier: str, portal_id: str
    ) -> str:
        return bootstrap.script(databases=databases, schemas=schemas, verifier=verifier, portal_id=portal_id)

    def preflight(self, target: Target, databases: Sequence[str]) -> list[Finding]:
        return preflight.findings(target, databases)

    def read_tables(self, target: Target, database: str) -> Iterator[TableInfo]:
        return watching.read_tables(target, database)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        return logins.open_login(target, spec)

    def close_logins(self, target: Target, logins: Sequence[str]) -> list[Closed]:
        return ending.close_logins(target, logins)

    def drop_scopes(self, target: Target, scope_roles: Iterable[tuple[str, str]]) -> list[str]:
        return scope_ending.drop_scopes(target, scope_roles)

    def sessions(self, target: Target) -> list[SessionUse]:
        return watching.sessions(target)

    def now(self, target: Target) -> datetime:
        return watching.now(target)
