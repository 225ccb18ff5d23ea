"""The engine: each method of the contract, from the module that knows how."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from apps.engines.base import (
    Closed,
    Drift,
    Expelled,
    Exposure,
    Finding,
    ForeignMember,
    LoginSpec,
    Opened,
    RowFilter,
    Sample,
    SessionLimits,
    SessionUse,
    Survey,
    TableInfo,
    TableName,
    Target,
    unheard,
)
from apps.engines.masks import Mask
from apps.engines.postgresql import (
    bootstrap,
    drift,
    ending,
    exposure,
    extending,
    foreign_members,
    logins,
    masking,
    own_password,
    preflight,
    resetting,
    rowfilters,
    samples,
    scope_ending,
    sessions,
    surveying,
    watching,
)


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

    def mask_fits(self, mask: Mask, column_type: str) -> bool:
        return masking.fits(mask, column_type)

    def filter_fits(self, row_filter: RowFilter, column_type: str) -> bool:
        return rowfilters.fits(row_filter, column_type)

    def samples(self, target: Target, database: str, columns: Sequence[tuple[TableName, str]]) -> Iterator[Sample]:
        return samples.samples(target, database, columns)

    def exposure(self, target: Target, database: str) -> list[Exposure]:
        return exposure.exposure(target, database)

    def drift(self, target: Target, database: str, specs: Sequence[LoginSpec]) -> list[Drift]:
        return drift.drift(target, database, specs)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        return logins.open_login(target, spec)

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        return ending.close_logins(target, logins, proven)

    def drop_scopes(self, target: Target, scope_roles: Iterable[tuple[str, str]]) -> list[str]:
        return scope_ending.drop_scopes(target, scope_roles)

    def sessions(self, target: Target, limits: SessionLimits) -> list[SessionUse]:
        return sessions.sessions(target, limits)

    def extend_login(self, target: Target, login: str, reference: str, until: datetime) -> datetime:
        return extending.extend_login(target, login, reference, until)

    def reset_password(self, target: Target, login: str, reference: str, verifier: str) -> None:
        resetting.reset_password(target, login, reference, verifier)

    def set_own_password(self, target: Target, verifier: str) -> None:
        own_password.set_own_password(target, verifier)

    def lets_in(self, target: Target) -> bool:
        return own_password.lets_in(target)

    def survey(self, target: Target, known: str = "") -> Survey:
        return surveying.survey(target, known)

    def expel(self, target: Target, members: Sequence[ForeignMember]) -> list[Expelled]:
        return foreign_members.expel(target, members)

    def remember(self, target: Target, mark: str) -> None:
        surveying.remember(target, mark)

    def recall(self, target: Target) -> str:
        return surveying.recall(target)

    def now(self, target: Target) -> datetime:
        return watching.now(target)
