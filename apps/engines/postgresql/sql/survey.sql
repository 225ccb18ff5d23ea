-- Every login and scope role that carries this portal's mark, by whatever name; each row has the digest of all of them.
-- Where that is known no login is told: then it is a few rows, and at least one. `home`: a database in which something
-- depends on a scope role, for where its own has another name by now.
WITH ours AS MATERIALIZED (
  SELECT r.oid, r.rolname::text AS role, d.description AS comment, starts_with(d.description, %(logins)s) AS is_login,
         r.rolcanlogin AS can_login, r.rolvaliduntil AS valid_until
  FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
  WHERE d.classoid = 'pg_authid'::regclass
    AND (starts_with(d.description, %(logins)s) OR starts_with(d.description, %(scopes)s))
),
-- A row's text has quotes where they are needed, so that no two lists of rows look alike.
known AS (SELECT encode(sha256(textsend(string_agg(ours::text, ',' ORDER BY ours.oid))), 'hex') AS digest FROM ours)
SELECT coalesce(k.digest, 'nothing'), o.role, o.comment, o.is_login, o.can_login,
       -- Python has no other years; without one it works for longer than anybody was granted.
       CASE WHEN o.valid_until BETWEEN '0002-01-01' AND '9998-01-01' THEN o.valid_until END AS valid_until,
       coalesce(a.sessions, 0) AS sessions,
       CASE WHEN NOT o.is_login THEN (
         SELECT min(b.datname::text) FROM pg_shdepend s JOIN pg_database b ON b.oid = s.dbid
         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = o.oid
       ) END AS home
FROM known k
LEFT JOIN ours o ON k.digest <> %(known)s OR NOT o.is_login
LEFT JOIN (SELECT usesysid, count(*) AS sessions FROM pg_stat_activity GROUP BY 1) a ON a.usesysid = o.oid
ORDER BY 2
