"""Other ways out of the database, and back in."""

from tests.bypass.attack import family

ATTACKS = family(
    "side door",
    (
        "dblink",
        "CREATE EXTENSION dblink",
        "SELECT * FROM dblink('dbname=' || current_database(), 'SELECT ssn FROM app.people') AS t(x text)",
    ),
    (
        "postgres_fdw",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
        "IMPORT FOREIGN SCHEMA app FROM SERVER s INTO public",
    ),
    (
        "file_fdw",
        "CREATE EXTENSION file_fdw",
        "CREATE FOREIGN TABLE f (x text) SERVER s OPTIONS (filename '/etc/passwd')",
    ),
    (
        "languages",
        "CREATE LANGUAGE plpython3u",
        "CREATE EXTENSION plperlu",
        "CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'libc', 'system'",
    ),
    (
        "large objects",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, convert_to((SELECT string_agg(ssn, ',') FROM people), 'UTF8'))",
        "SELECT lo_get(oid) FROM pg_largeobject_metadata",
    ),
    ("large objects of files", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/x')"),
    (
        "LISTEN",
        "LISTEN app_rows",
        'LISTEN "*"',
        "UPDATE accounts SET label = 'y' WHERE id = 1",
        "SELECT pg_listening_channels()",
        "SELECT 1",
    ),
    ("NOTIFY", "SELECT pg_notify('app_rows', string_agg(ssn, ',')) FROM people", "LISTEN app_rows", "SELECT 1"),
    ("another database", "CREATE DATABASE mine TEMPLATE template0", "SELECT * FROM other.app.people"),
    (
        "temporary objects",
        "CREATE TEMP TABLE t (x text)",
        "CREATE TEMP TABLE people (ssn text)",
        "CREATE TEMP SEQUENCE s",
    ),
    (
        "an aggregate that shows",
        "CREATE AGGREGATE seen(text) (SFUNC = array_append, STYPE = text[])",
        "SELECT seen(ssn) FROM people",
    ),
    (
        "advisory locks as a channel",
        "SELECT pg_try_advisory_lock(salary) FROM people",
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory'",
    ),
    (
        "application_name",
        "SELECT set_config('application_name', (SELECT string_agg(ssn, ',') FROM people), false)",
        "SHOW application_name",
    ),
    ("custom settings", "SELECT set_config('my.x', (SELECT ssn FROM people WHERE id = 7), false)", "SHOW my.x"),
    ("two-phase", "BEGIN", "SELECT * FROM people", "PREPARE TRANSACTION 'x'"),
    (
        "export of a snapshot",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "SELECT pg_export_snapshot()",
        "SELECT * FROM people",
        "COMMIT",
    ),
    ("several statements in one", "SELECT 1; SELECT * FROM app.people; SELECT * FROM people"),
    ("a security label", "SECURITY LABEL ON TABLE app.people IS 'x'"),
    (
        "text search configuration",
        "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple, STOPWORDS = 'x')",
        "SELECT ts_lexize('simple', ssn) FROM people",
    ),
    (
        "a cast of one's own",
        "CREATE CAST (text AS app.mood) WITH INOUT AS IMPLICIT",
        "CREATE CAST (app.people AS text) WITH INOUT",
    ),
    ("a type of one's own", "CREATE TYPE mine AS (x text)", "CREATE DOMAIN mine AS text CHECK (app.told() IS NULL)"),
    (
        "a collation",
        "CREATE COLLATION mine (provider = icu, locale = 'de')",
        'SELECT ssn FROM people ORDER BY ssn COLLATE "C"',
    ),
    (
        "a module",
        "LOAD 'plpgsql'",
        "LOAD '$libdir/pg_stat_statements'",
        "SET dynamic_library_path = '/tmp'",
        "SET local_preload_libraries = 'x'",
    ),
    ("server programs", "COPY t FROM PROGRAM 'cat /etc/passwd'", "SELECT pg_execute_server_program('id')"),
    (
        "import of collations",
        "SELECT pg_import_system_collations('app')",
        "SELECT pg_stat_reset()",
        "SELECT pg_promote()",
    ),
    (
        "xml with entities",
        "SELECT xmlparse(DOCUMENT '<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>')",
    ),
    (
        "the open schema",
        "SELECT * FROM open.notes",
        "INSERT INTO open.notes (line) SELECT ssn FROM people",
        "CREATE FUNCTION open.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
)
