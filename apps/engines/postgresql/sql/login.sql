-- A login as it stands, and the server's clock.
SELECT clock_timestamp(), shobj_description(oid, 'pg_authid'), rolcanlogin,
       -- psycopg refuses infinite timestamps.
       CASE WHEN rolvaliduntil BETWEEN '0002-01-01' AND '9998-01-01' THEN rolvaliduntil END, rolvaliduntil::text
FROM pg_roles WHERE rolname = %(login)s
