-- Of the given logins those that exist, by whatever name, and whether they are locked for good. A renamed one is
-- known by its comment: "jitportal portal=… login=… request=…". Compared with the whole array, which is hashed.
WITH there AS (
  SELECT r.rolname::text AS login, r.oid FROM pg_roles r WHERE r.rolname = ANY (%(logins)s::name[])
  UNION
  SELECT split_part(split_part(d.description, ' ', 3), '=', 2), d.objoid FROM pg_shdescription d
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(mark)s)
  AND split_part(d.description, ' ', 3) = ANY (%(marked)s::text[])
)
SELECT there.login, r.rolname::text AS role, r.oid, d.description AS comment,
       NOT r.rolcanlogin AND r.rolvaliduntil = '-infinity' AS locked
FROM there JOIN pg_roles r USING (oid)
LEFT JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
