-- What is left of logins on the server, by role oid: a session outlives the name of its role, its usesysid stays.
WITH wanted AS (SELECT * FROM unnest(%(oids)s::oid[], %(roles)s::text[]) AS u(oid, role)),
sessions AS MATERIALIZED (SELECT usesysid, count(*) AS n FROM pg_stat_activity GROUP BY usesysid),
prepared AS MATERIALIZED (SELECT owner::text AS role, count(*) AS n FROM pg_prepared_xacts GROUP BY owner),
objects AS MATERIALIZED (
  SELECT d.refobjid, count(*) AS n FROM pg_shdepend d
  WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (%(oids)s::oid[]) GROUP BY d.refobjid
)
SELECT u.oid, coalesce(s.n, 0) AS sessions, coalesce(p.n, 0) AS prepared, coalesce(o.n, 0) AS objects,
       EXISTS (SELECT FROM pg_roles r WHERE r.oid = u.oid)
       OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = u.role::name) AS role
FROM wanted u
LEFT JOIN sessions s ON s.usesysid = u.oid
LEFT JOIN prepared p ON p.role = u.role
LEFT JOIN objects o ON o.refobjid = u.oid
