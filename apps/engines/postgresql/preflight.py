"""What is missing or dangerous on a server, in a sentence each. Changes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import EngineError, Finding, Severity, Target
from apps.engines.postgresql import names
from apps.engines.postgresql.connect import Connection, SignInFailed, makers_apply, session
from apps.engines.postgresql.exposure import notifies
from apps.engines.postgresql.queries import query

_OLDEST = 15
# The minors that mend CVE-2025-8713: statistics showed hidden rows through views (field notes M12).
_MINIMUM_MINORS = {15: 14, 16: 10, 17: 6}
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.OK)
_EXAMPLES = 5
_AGAIN = "Run the bootstrap SQL of this server with psql."


@dataclass(frozen=True)
class _Kind:
    severity: Severity
    sentence: str
    fix: str = ""


_IN_DATABASE = {
    "no connect": _Kind(Severity.ERROR, f"In “{{database}}” the role {names.MASKER} cannot give CONNECT to logins."),
    "nothing offered": _Kind(Severity.WARNING, "In “{database}” no schema is open to the portal.", _AGAIN),
    "ungrantable": _Kind(
        Severity.WARNING,
        "In “{database}” {count} tables or views cannot be asked for, because the portal holds no right to grant "
        "them: {names}.",
    ),
    "no default privileges": _Kind(
        Severity.WARNING,
        "In “{database}” tables that are still to be made will not be open to the portal, for {count} pairs of "
        "schema and owner: {names}.",
    ),
    "definer": _Kind(
        Severity.WARNING,
        "In “{database}” everybody may run {count} functions with their owner's rights: {names}. Every login can.",
    ),
    "no create": _Kind(
        Severity.ERROR,
        f"In “{{database}}” the role {names.MASKER} may not create schemas, so that no column can be masked.",
    ),
    "notify": _Kind(
        Severity.WARNING,
        "In “{database}” {count} functions notify: {names}. What they send is read by whoever listens, whatever it "
        "may read otherwise: where columns are masked, direct connections need a DBA's acceptance.",
    ),
    "event trigger": _Kind(
        Severity.ERROR,
        f"In “{{database}}” {{count}} event triggers run a function of somebody who is no superuser: {{names}}. What "
        f"it does, it does as {names.MASKER} as soon as the portal makes a view or grants something there.",
    ),
    "policy": _Kind(
        Severity.WARNING,
        "In “{database}” {count} row security policies look at who asks or at a setting: {names}. That is the "
        "login, and settings are the login's to change.",
    ),
}


@dataclass(frozen=True)
class _Server:
    """The row of sql/preflight_server.sql."""

    superuser: bool
    createrole: bool
    comment: str | None
    masker: bool
    masker_too_strong: bool
    may_become_masker: bool
    may_signal: bool
    may_see_sessions: bool
    prepared_transactions: int
    databases: list[str]
    open_databases: list[str]


def findings(target: Target, databases: Sequence[str]) -> list[Finding]:
    """Worst first."""
    try:
        found = list(_all(target, databases))
    except SignInFailed as error:
        found = [_sign_in_failed(error)]
    except EngineError as error:
        found = [Finding(Severity.ERROR, error.sentence)]
    return sorted(found, key=lambda finding: _WORST_FIRST.index(finding.severity))


def _sign_in_failed(error: SignInFailed) -> Finding:
    if error.asked_for_password:
        fix = "Compare the manager's password, its CONNECT right and its connection limit with the bootstrap SQL."
        return Finding(Severity.ERROR, f"The server asked for the manager's password and then said no. {error}", fix)
    # This text is our own client's, which is not translated.
    if "require_auth" in str(error) or "authentication method requirement" in str(error):
        fix = "In pg_hba.conf give the portal's address the method scram-sha-256, and set the password again."
        return Finding(Severity.ERROR, f"The server does not ask for SCRAM, which protects the password. {error}", fix)
    return Finding(Severity.ERROR, str(error))


def _all(target: Target, databases: Sequence[str]) -> Iterator[Finding]:
    with session(target, doing="checking the server") as connection:
        yield from _version(connection)
        server = _server(connection)
        yield from _manager(target, server)
        yield from _masker(server)
        yield from _sessions(connection, server)
        yield from _server_wide(server, databases)
    for database in databases:
        if database in server.databases:
            yield from _database(target, database)
        else:
            yield Finding(Severity.ERROR, f"There is no database “{database}” on this server, or nobody may connect.")


def _server(connection: Connection) -> _Server:
    becoming = "SET" if makers_apply(connection) else "MEMBER"
    with connection.cursor(row_factory=class_row(_Server)) as cursor:
        (server,) = cursor.execute(query("preflight_server"), {"masker": names.MASKER, "becoming": becoming})
    return server


def _version(connection: Connection) -> Iterator[Finding]:
    major, minor = divmod(connection.info.server_version, 10000)
    if major < _OLDEST:
        yield Finding(Severity.ERROR, f"PostgreSQL {major} is too old; the portal needs {_OLDEST} or newer.")
    elif minor < _MINIMUM_MINORS.get(major, 0):
        yield Finding(
            Severity.WARNING,
            f"PostgreSQL {major}.{minor} shows hidden values through statistics (CVE-2025-8713): "
            f"update to {major}.{_MINIMUM_MINORS[major]} or newer.",
        )
    else:
        yield Finding(Severity.OK, f"PostgreSQL {major}.{minor} answers, and asks for SCRAM.")


def _manager(target: Target, server: _Server) -> Iterator[Finding]:
    manager = sql.Identifier(target.user).as_string(None)
    if server.superuser:
        fix = f"ALTER ROLE {manager} NOSUPERUSER;"
        yield Finding(Severity.ERROR, f"The manager “{target.user}” is a superuser, and must not be.", fix)
    if not server.createrole:
        fix = f"ALTER ROLE {manager} CREATEROLE;"
        yield Finding(Severity.ERROR, f"The manager “{target.user}” may not create roles.", fix)
    if server.comment is None:
        yield Finding(Severity.ERROR, f"The manager “{target.user}” does not carry this portal's id.", _AGAIN)
    elif not names.is_ours(target.portal_id, server.comment):
        yield Finding(
            Severity.ERROR,
            f"The manager “{target.user}” belongs to another portal (its comment says: {server.comment}). "
            "This portal touches nothing there.",
        )


def _masker(server: _Server) -> Iterator[Finding]:
    if not server.masker:
        yield Finding(Severity.ERROR, f"The role {names.MASKER} is missing.", _AGAIN)
    elif not server.may_become_masker:
        yield Finding(Severity.ERROR, f"The manager may not become {names.MASKER}, so it can grant nothing.", _AGAIN)
    if server.masker_too_strong:
        fix = f"ALTER ROLE {names.MASKER} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE;"
        yield Finding(Severity.ERROR, f"The role {names.MASKER} has attributes that it must not have.", fix)


def _sessions(connection: Connection, server: _Server) -> Iterator[Finding]:
    if makers_apply(connection):
        return
    if not server.may_signal:
        yield Finding(Severity.ERROR, "The manager may not end sessions (pg_signal_backend).", _AGAIN)
    if not server.may_see_sessions:
        yield Finding(Severity.WARNING, "The manager cannot see since when sessions are open.", _AGAIN)


def _server_wide(server: _Server, databases: Sequence[str]) -> Iterator[Finding]:
    if server.prepared_transactions:
        yield Finding(
            Severity.WARNING,
            "The server allows prepared transactions, which outlive their session and hold its locks: set "
            "max_prepared_transactions = 0 unless an application needs them.",
        )
    for database in server.open_databases:
        name = sql.Identifier(database).as_string(None)
        why = "is offered here" if database in databases else "is on the same server"
        yield Finding(
            Severity.WARNING,
            f"Everybody may connect to, or make temporary tables in, the database “{database}”, which {why}: every "
            "login can as well. Give CONNECT to its applications before you take it from PUBLIC.",
            f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;",
        )


def _database(target: Target, database: str) -> Iterator[Finding]:
    try:
        with session(target, database, doing=f"checking the database “{database}”") as connection:
            rows = connection.execute(query("preflight_database"), {"masker": names.MASKER}).fetchall()
            notifying = notifies(connection)
    except EngineError as error:
        yield Finding(Severity.ERROR, error.sentence)
        return
    if notifying:
        rows.append(("notify", len(notifying), notifying[:_EXAMPLES], ""))
    for what, count, examples, fix in rows:
        kind = _IN_DATABASE[what]
        more = f" and {count - len(examples)} more" if count > len(examples) else ""
        sentence = kind.sentence.format(database=database, count=count, names=", ".join(examples) + more)
        yield Finding(kind.severity, sentence, fix or kind.fix)
    if not any(_IN_DATABASE[what].severity is Severity.ERROR for what, *_ in rows):
        yield Finding(Severity.OK, f"Logins can be made in the database “{database}”.")
