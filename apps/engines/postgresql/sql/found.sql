-- Of the given logins those that exist, and whether they are locked for good.
SELECT rolname::text AS login, oid, shobj_description(oid, 'pg_authid') AS comment,
       NOT rolcanlogin AND rolvaliduntil = '-infinity' AS locked
FROM pg_roles WHERE rolname = ANY (%(logins)s::text[]::name[])
