-- What is left of logins on the server, by role oid: a session outlives the name of its role, its usesysid stays.
SELECT u.oid,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = u.oid) AS sessions,
       (SELECT count(*) FROM pg_prepared_xacts p WHERE p.owner = u.role) AS prepared,
       (SELECT count(*) FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = u.oid) AS objects,
       EXISTS (SELECT FROM pg_roles r WHERE r.oid = u.oid OR r.rolname = u.role) AS role
FROM unnest(%(oids)s::oid[], %(roles)s::text[]) AS u(oid, role)
