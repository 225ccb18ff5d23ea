-- Of the given logins those that exist, by whatever name, and whether they are locked for good. A renamed one is
-- known by its comment: "jitportal portal=… login=… request=…".
WITH wanted AS (SELECT unnest(%(logins)s::text[]) AS login),
there AS (
  SELECT login, r.oid FROM wanted JOIN pg_roles r ON r.rolname = login::name
  UNION
  SELECT login, d.objoid FROM wanted JOIN pg_shdescription d ON split_part(d.description, ' ', 3) = 'login=' || login
  WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, %(mark)s)
)
SELECT there.login, r.rolname::text AS role, r.oid, shobj_description(r.oid, 'pg_authid') AS comment,
       NOT r.rolcanlogin AND r.rolvaliduntil = '-infinity' AS locked
FROM there JOIN pg_roles r USING (oid)
