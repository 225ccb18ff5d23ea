-- Live sessions of this portal's logins. Since when they are open is shown only to who may cut them.
SELECT r.rolname::text, count(*), min(a.backend_start)
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE starts_with(r.rolname::text, 'jit_')
  AND starts_with(shobj_description(r.oid, 'pg_authid'), %(mark)s)
GROUP BY 1 ORDER BY 1
