-- A login as it stands, and the server's clock.
SELECT clock_timestamp(), shobj_description(oid, 'pg_authid'), rolcanlogin,
       -- psycopg refuses infinite timestamps.
       CASE WHEN isfinite(rolvaliduntil) THEN rolvaliduntil END, rolvaliduntil::text
FROM pg_roles WHERE rolname = %(login)s
