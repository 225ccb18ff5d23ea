-- A scope role's comment, and how many logins are its members.
SELECT shobj_description(s.oid, 'pg_authid'),
       (SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
        WHERE m.roleid = s.oid AND starts_with(r.rolname::text, 'jit_'))
FROM pg_roles s WHERE s.rolname = %(scope_role)s
