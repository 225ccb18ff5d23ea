"""Making a login: locked, proven, and only then opened."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from apps.engines.base import LoginSpec, Opened, Refused, Target, TargetBusy
from apps.engines.postgresql import ending, names, roles, scope_ending, scopes, scram
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.proof import Proof, prove
from apps.engines.postgresql.queries import query

# For clients that keep several connections (DBeaver), and few enough that a grant cannot use up the server's.
CONNECTION_LIMIT = 10
LONGEST = 366 * 24 * 3600  # seconds


@dataclass(frozen=True)
class Standing:
    """A login that is there. Never opened: no end. Ended: an infinite one, or one that is past."""

    now: datetime
    comment: str | None
    can_login: bool
    until: datetime | None
    until_text: str | None

    @property
    def opened(self) -> bool:
        return self.can_login and self.until is not None

    @property
    def ended(self) -> bool:
        return self.until_text is not None and (not self.opened or (self.until is not None and self.until <= self.now))


def open_login(target: Target, spec: LoginSpec) -> Opened:
    """As the contract says. What must not be opened is taken away again before Refused is raised."""
    _check(spec)
    opened, proof = retried(lambda: _prepare_and_open(target, spec))
    if opened is not None:
        return opened
    ending.close_logins(target, [spec.login])
    scope_ending.drop_scopes(target, [(names.scope_role_name(spec.scope), spec.scope.database)])
    raise Refused(f"The login {spec.login} was not opened. {' '.join(proof.problems)}")


def _check(spec: LoginSpec) -> None:
    names.checked_login(spec.login)
    names.checked_word(spec.reference, what="request's id")
    scram.checked(spec.verifier)
    if not spec.scope.tables:
        raise Refused("A login without any table is of no use to anybody.")
    if not 1 <= spec.seconds <= LONGEST:
        raise Refused(f"A login lives between a second and a year, not {spec.seconds} seconds.")


def _prepare_and_open(target: Target, spec: LoginSpec) -> tuple[Opened | None, Proof]:
    with session(target, spec.scope.database, doing=f"opening {spec.login}") as connection:
        maker = names.maker_name(spec.login)
        made = scopes.ensure(connection, target, spec.scope, maker=maker, classified=spec.classified)
        standing = _standing(connection, target, spec)
        if standing is None or not standing.opened:
            _make(connection, target, spec, exists=standing is not None)
        proof = prove(connection, spec, made.things, made.views)
        if proof.problems:
            return None, proof
        opened_at, valid_until = _unlock(connection, target, spec)
    role = names.scope_role_name(spec.scope)
    return Opened(opened_at=opened_at, valid_until=valid_until, scope_role=role, evidence=proof.evidence), proof


def _standing(connection: Connection, target: Target, spec: LoginSpec) -> Standing | None:
    """The login as it is found; refuses one that is another portal's, another request's, or has ended."""
    row = connection.execute(query("login"), {"login": spec.login}).fetchone()
    if row is None:
        return None
    standing = Standing(*row)
    if standing.comment != _comment(target, spec):
        raise Refused(f"The login {spec.login} is there and is not this request's of this portal; it was not touched.")
    if standing.ended:
        raise Refused(f"The login {spec.login} has ended; a name is never used twice.")
    return standing


def _make(connection: Connection, target: Target, spec: LoginSpec, *, exists: bool) -> None:
    try:
        batch(connection, _making(connection, target, spec, exists=exists))
    except psycopg.errors.UndefinedObject as error:
        raise TargetBusy("The scope role was dropped as unused at this very moment.", sqlstate="42704") from error


def _making(connection: Connection, target: Target, spec: LoginSpec, *, exists: bool) -> list[sql.Composable]:
    """One transaction. A login left half made by a lost connection is made up for, not made again."""
    role, scope_role = sql.Identifier(spec.login), names.scope_role_name(spec.scope)
    new = sql.SQL("ALTER ROLE {} " if exists else "CREATE ROLE {} NOLOGIN ")
    direct = sorted({table.schema for table in spec.scope.direct})
    # Views first: what is left out of a schema that is given directly is found by its bare name all the same.
    schemas = [*names.view_schemas(spec.scope).values(), *direct]
    statements: list[sql.Composable] = [
        new.format(role) + _attributes(spec),
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(scope_role), role) + _member_options(connection),
        roles.mark(spec.login, _comment(target, spec)),
        sql.SQL("ALTER ROLE {} SET search_path = {}").format(role, sql.SQL(", ").join(map(sql.Literal, schemas))),
    ]
    # A GRANT of a role that is dropped at the same time leaves a membership in nothing; a comment waits, and fails.
    lock_scope = roles.mark(scope_role, scopes.comment(target, spec.scope))
    return [*_as_creator(connection, spec), lock_scope, *statements]


def _as_creator(connection: Connection, spec: LoginSpec) -> list[sql.Composable]:
    if not makers_apply(connection):
        return []
    # The maker inherits from the login, without which it could not cut its sessions.
    return [sql.SQL("SET LOCAL createrole_self_grant = 'inherit'"), *roles.become_maker(connection, spec.login)]


def _attributes(spec: LoginSpec) -> sql.Composed:
    return sql.SQL("CONNECTION LIMIT {} PASSWORD {}").format(sql.Literal(CONNECTION_LIMIT), sql.Literal(spec.verifier))


def _member_options(connection: Connection) -> sql.SQL:
    """Where that can be said: the login may not become the scope role, in whose name it could leave things behind."""
    return sql.SQL(" WITH INHERIT TRUE, SET FALSE" if makers_apply(connection) else "")


def _unlock(connection: Connection, target: Target, spec: LoginSpec) -> tuple[datetime, datetime]:
    """LOGIN and VALID UNTIL in one statement, read back. Who comes second finds the login open and extends nothing."""
    life = timedelta(seconds=spec.seconds)
    # The comment locks the role until the transaction ends.
    locking = [*roles.become_maker(connection, spec.login), roles.mark(spec.login, _comment(target, spec))]
    with connection.transaction():
        try:
            batch(connection, locking)
        except psycopg.errors.UndefinedObject as error:
            raise Refused(f"The login {spec.login} was removed while it was being opened.") from error
        standing = _standing(connection, target, spec)
        if standing is not None and not standing.opened:
            until = sql.Literal((standing.now + life).isoformat())
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN VALID UNTIL {}").format(sql.Identifier(spec.login), until))
            standing = _standing(connection, target, spec)
        if standing is None or not standing.opened or standing.until is None:
            raise Refused(f"The server took the statement that opens {spec.login}, but the login is not open.")
    return standing.until - life, standing.until


def comment(target: Target, login: str, reference: str) -> str:
    """What stands on a login of ours."""
    return names.comment(target.portal_id, f"login={login} request={reference}")


def _comment(target: Target, spec: LoginSpec) -> str:
    return comment(target, spec.login, spec.reference)
