-- What a login holds through roles of its own; PUBLIC's share is in exposure.sql.
-- Whatever names a role in an ACL or as an owner, in any database of the server, is in pg_shdepend.
WITH RECURSIVE
me AS (SELECT oid FROM pg_roles WHERE rolname = %(login)s),
-- Inherited, settable or only administered: each of them is a way in.
roles(oid) AS (SELECT oid FROM me UNION SELECT m.roleid FROM roles JOIN pg_auth_members m ON m.member = roles.oid),
held AS MATERIALIZED (
  SELECT d.classid, d.objid, d.objsubid, d.deptype, d.refobjid AS role, d.dbid,
         d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AS here
  FROM pg_shdepend d JOIN roles ON d.refobjid = roles.oid
  -- A policy that names a role ('r') gives it nothing by itself.
  WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype <> 'r'
),
granted(kind, schema, name, role, acl) AS (
  SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname::text, c.relname::text, h.role, c.relacl
  FROM held h JOIN pg_class c ON c.oid = h.objid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE h.classid = 'pg_class'::regclass AND h.objsubid = 0 AND h.deptype = 'a' AND h.here
  UNION ALL
  SELECT 'schema', '', n.nspname::text, h.role, n.nspacl
  FROM held h JOIN pg_namespace n ON n.oid = h.objid
  WHERE h.classid = 'pg_namespace'::regclass AND h.deptype = 'a' AND h.here
  UNION ALL
  SELECT 'database', '', d.datname::text, h.role, d.datacl
  FROM held h JOIN pg_database d ON d.oid = h.objid
  WHERE h.classid = 'pg_database'::regclass AND h.deptype = 'a'
)
SELECT kind, schema, name, pg_get_userbyid(role)::text AS via,
       ARRAY(SELECT a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
             FROM aclexplode(acl) a WHERE a.grantee = role ORDER BY 1) AS privileges
FROM granted
UNION ALL
SELECT 'other', '',
       CASE WHEN h.here THEN pg_describe_object(h.classid, h.objid, h.objsubid)
            ELSE format('something in database %%s (%%s)', (SELECT datname FROM pg_database WHERE oid = h.dbid),
                        h.classid::regclass) END,
       pg_get_userbyid(h.role)::text,
       ARRAY[CASE WHEN h.deptype = 'o' THEN 'OWNER' WHEN given.away THEN 'GIVEN AWAY' ELSE 'PRIVILEGE' END]
FROM held h
-- Any login can make large objects and default privileges, and give rights on its own to whom it likes.
CROSS JOIN LATERAL (
  SELECT EXISTS (
    SELECT FROM pg_shdepend o JOIN pg_roles r ON r.oid = o.refobjid
    WHERE o.refclassid = 'pg_authid'::regclass AND o.deptype = 'o' AND starts_with(r.rolname::text, 'jit_')
      AND (o.dbid, o.classid, o.objid) = (h.dbid, h.classid, h.objid)
      AND h.classid IN ('pg_largeobject'::regclass, 'pg_default_acl'::regclass)) AS away
) AS given
WHERE NOT (h.deptype = 'a' AND h.objsubid = 0 AND h.here
           AND h.classid IN ('pg_class'::regclass, 'pg_namespace'::regclass, 'pg_database'::regclass))
UNION ALL
SELECT 'role', '', r.rolname::text, 'membership', ARRAY['MEMBER']
FROM roles JOIN pg_roles r USING (oid) WHERE oid NOT IN (SELECT oid FROM me)
UNION ALL
SELECT 'attribute', '', x.attribute, r.rolname::text, ARRAY['HAS']
FROM roles JOIN pg_roles r USING (oid)
CROSS JOIN LATERAL (VALUES
  ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb),
  ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)
) AS x(attribute, has) WHERE x.has
ORDER BY 1, 2, 3, 4
