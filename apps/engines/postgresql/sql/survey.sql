-- Every login and scope role that carries this portal's mark, by whatever name. `home`: a database in which something
-- depends on a scope role, for where its own has another name by now.
SELECT r.rolname::text AS role, d.description AS comment, starts_with(d.description, %(logins)s) AS is_login,
       r.rolcanlogin AS can_login,
       -- Python has no other years; without one it works for longer than anybody was granted.
       CASE WHEN r.rolvaliduntil BETWEEN '0002-01-01' AND '9998-01-01' THEN r.rolvaliduntil END AS valid_until,
       coalesce(a.sessions, 0) AS sessions,
       CASE WHEN starts_with(d.description, %(scopes)s) THEN (
         SELECT min(b.datname::text) FROM pg_shdepend s JOIN pg_database b ON b.oid = s.dbid
         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid
       ) END AS home
FROM pg_shdescription d
JOIN pg_roles r ON r.oid = d.objoid
LEFT JOIN (SELECT usesysid, count(*) AS sessions FROM pg_stat_activity GROUP BY 1) a ON a.usesysid = r.oid
WHERE d.classoid = 'pg_authid'::regclass
  AND (starts_with(d.description, %(logins)s) OR starts_with(d.description, %(scopes)s))
ORDER BY 1
