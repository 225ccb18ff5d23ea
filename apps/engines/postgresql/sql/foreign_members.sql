-- Members of the logins and scope roles that carry this portal's mark, which are neither its logins nor roles of its own:
-- whoever they are, they have the rights of a grant. A few at most. One row for each pair, with all who gave it.
WITH own AS MATERIALIZED (
  SELECT oid FROM pg_roles WHERE rolname = current_user OR rolname = ANY (%(own)s::text[]::name[])
),
-- Whatever else comes after a mark is no login: it would not be found as one either. Each is matched once.
logins AS MATERIALIZED (
  SELECT d.objoid AS oid FROM pg_shdescription d
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(logins)s)
    AND substr(d.description, length(%(logins)s) + 1) ~ %(login)s
),
scopes AS MATERIALIZED (
  SELECT r.oid FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(scopes)s) AND r.rolname::text ~ %(scope)s
),
foreign_members AS (
  SELECT m.roleid, m.member, m.grantor FROM pg_auth_members m
  WHERE m.member NOT IN (SELECT oid FROM logins) AND m.member NOT IN (SELECT oid FROM own)
    AND m.roleid IN (SELECT oid FROM logins UNION ALL SELECT oid FROM scopes)
)
SELECT r.rolname::text, o.rolname::text, array_remove(array_agg(DISTINCT g.rolname::text), NULL),
       bool_or(f.grantor IN (SELECT oid FROM own)) AS given_by_portal, r.rolcanlogin,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = f.member) AS sessions
FROM foreign_members f
JOIN pg_roles r ON r.oid = f.member JOIN pg_roles o ON o.oid = f.roleid LEFT JOIN pg_roles g ON g.oid = f.grantor
GROUP BY f.roleid, f.member, o.rolname, r.rolname, r.rolcanlogin
ORDER BY 4 DESC, 1, 2
