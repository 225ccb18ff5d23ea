-- A login as it stands, and the server's clock.
SELECT clock_timestamp(),
       (SELECT description FROM pg_shdescription WHERE objoid = r.oid AND classoid = 'pg_authid'::regclass), rolcanlogin,
       -- psycopg refuses infinite timestamps.
       CASE WHEN rolvaliduntil BETWEEN '0002-01-01' AND '9998-01-01' THEN rolvaliduntil END, rolvaliduntil::text
FROM pg_roles r WHERE rolname = %(login)s
