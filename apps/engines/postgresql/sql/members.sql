-- Each of the logins that is there, and every role that it is, inherits, may become or may give itself.
WITH RECURSIVE
logins AS MATERIALIZED (SELECT oid FROM pg_roles WHERE rolname = ANY (%(logins)s::text[]::name[])),
reached(login, oid, member) AS (
  SELECT oid, oid, NULL::oid FROM logins
  UNION
  SELECT r.login, m.roleid, r.oid FROM reached r JOIN pg_auth_members m ON m.member = r.oid
)
SELECT l.rolname::text AS login, NOT l.rolcanlogin AS locked, coalesce(c.description, '') AS comment,
       r.oid, r.rolname::text AS role, m.rolname::text AS member,
       array_remove(ARRAY[
         CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
         CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes
FROM reached
JOIN pg_roles l ON l.oid = reached.login JOIN pg_roles r ON r.oid = reached.oid
LEFT JOIN pg_roles m ON m.oid = reached.member
LEFT JOIN pg_shdescription c ON c.classoid = 'pg_authid'::regclass AND c.objoid = l.oid
ORDER BY 1, 5, 6
