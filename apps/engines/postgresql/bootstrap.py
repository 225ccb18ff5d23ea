"""The SQL that a server's administrator runs once, with psql."""

from collections.abc import Sequence

from psycopg import sql

from apps.engines.base import Refused
from apps.engines.postgresql import names, scram

MANAGER = "jitportal"

_SERVER = """\
-- JIT portal: prepares this server. Run it with psql as a superuser; running it again does no harm, and is how new
-- schemas, tables of new owners and new databases are opened to the portal.
\\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET search_path = pg_catalog;

{roles}

ALTER ROLE {manager} LOGIN CREATEROLE PASSWORD {verifier};
COMMENT ON ROLE {manager} IS {manager_comment};
COMMENT ON ROLE {masker} IS {masker_comment};
"""

_ROLES = """
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname IN ({manager}, {masker})
             AND NOT starts_with(shobj_description(oid, 'pg_authid'), {mark})) THEN
    RAISE EXCEPTION 'The roles % and % are there and their comments say that they are not this portal''s.',
      {manager}, {masker} USING HINT = 'To take them over, remove their comments and run this again.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {manager}) THEN
    EXECUTE format('CREATE ROLE %I', {manager});
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {masker}) THEN
    EXECUTE format('CREATE ROLE %I', {masker});
  END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {manager});
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', {masker}, {manager});
  ELSE
    -- Before 16 the creator of a role may not end its sessions or see since when they are there.
    EXECUTE format('GRANT %I, pg_signal_backend, pg_read_all_stats TO %I', {masker}, {manager});
  END IF;
END"""

_DATABASE = """
\\connect -reuse-previous=on {connect}
SET search_path = pg_catalog;
-- From here on only roles that are given CONNECT can use this database. Give it back to each application:
--   GRANT CONNECT ON DATABASE {database} TO your_application;
GRANT CONNECT ON DATABASE {database} TO {manager};
GRANT CONNECT ON DATABASE {database} TO {masker} WITH GRANT OPTION;
GRANT CREATE ON DATABASE {database} TO {masker};
REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;

{schemas}
"""

_SCHEMAS = """
DECLARE
  wanted text[] := {schemas}::text[];  -- none named: all of them
  place record;
  owner name;
BEGIN
  FOR place IN
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND (cardinality(wanted) = 0 OR nspname::text = ANY (wanted))
  LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I WITH GRANT OPTION', place.nspname, {masker});
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I WITH GRANT OPTION',
                   place.nspname, {masker});
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I WITH GRANT OPTION',
                   place.nspname, {masker});
    -- Tables to come: default privileges work only for the very role that creates them.
    FOR owner IN
      SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
      WHERE c.relnamespace = place.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      UNION
      SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
      WHERE n.oid = place.oid AND r.rolname !~ '^pg_'
    LOOP
      BEGIN
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE '
                       'ON TABLES TO %I WITH GRANT OPTION', owner, place.nspname, {masker});
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT USAGE, SELECT '
                       'ON SEQUENCES TO %I WITH GRANT OPTION', owner, place.nspname, {masker});
      EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING 'New tables of % in % will not be open to the portal: run this as a superuser.',
          owner, place.nspname;
      END;
    END LOOP;
  END LOOP;
END"""


def script(*, databases: Sequence[str], schemas: dict[str, Sequence[str]], verifier: str, portal_id: str) -> str:
    """One psql script for the server and each database; all schemas of a database that `schemas` does not name."""
    parts = {
        "manager": sql.Identifier(MANAGER),
        "masker": sql.Identifier(names.MASKER),
        "verifier": sql.Literal(scram.checked(verifier)),
        "manager_comment": sql.Literal(names.comment(portal_id, "manager: makes and unmakes logins")),
        "masker_comment": sql.Literal(names.comment(portal_id, "masker: holds the grant options")),
        "roles": _block(_ROLES, mark=names.comment(portal_id, "")),
    }
    server = sql.SQL(_SERVER).format(**parts).as_string(None)
    return server + "".join(_database(name, schemas.get(name, ())) for name in databases)


def _database(database: str, schemas: Sequence[str]) -> str:
    if not database or any(character in database for character in "\0\r\n"):
        raise Refused("A database's name is empty or holds a line break; psql could not connect to it.")
    return (
        sql.SQL(_DATABASE)
        .format(
            connect=sql.Identifier(f"dbname={_conninfo_value(database)}"),
            database=sql.Identifier(database),
            manager=sql.Identifier(MANAGER),
            masker=sql.Identifier(names.MASKER),
            schemas=_block(_SCHEMAS, schemas=list(schemas)),
        )
        .as_string(None)
    )


def _block(body: str, **values: str | list[str]) -> sql.SQL | sql.Composed:
    """A DO block. Its text is quoted by a tag that occurs nowhere in it."""
    literals = {name: sql.Literal(value) for name, value in values.items()}
    fixed = {"manager": sql.Literal(MANAGER), "masker": sql.Literal(names.MASKER)}
    text = sql.SQL(body).format(**fixed, **literals).as_string(None)
    tag = "$jit$"
    while tag in text:
        tag = f"$j{tag[1:]}"
    return sql.SQL("DO {tag}{text}\n{tag};").format(tag=_verbatim(tag), text=_verbatim(text))


def _verbatim(text: str) -> sql.SQL:
    """Text that was composed and quoted before."""
    return sql.SQL(text)


def _conninfo_value(database: str) -> str:
    """Quoted for libpq: psql would take a name with “=” in it for a connection string."""
    return "'" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"
