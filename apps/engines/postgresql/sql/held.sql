-- What roles hold themselves; PUBLIC's share is in exposure.sql.
-- Whatever names a role in an ACL or as an owner, in any database of the server, is in pg_shdepend.
WITH
held AS MATERIALIZED (
  SELECT d.classid, d.objid, d.objsubid, d.deptype, d.refobjid AS role, d.dbid,
         d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AS here
  FROM pg_shdepend d
  -- A policy that names a role ('r') gives it nothing by itself.
  WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (%(roles)s::oid[]) AND d.deptype <> 'r'
),
-- OFFSET 0: one look into an index for each, as the planner does not know how few or many there are.
relations AS MATERIALIZED (
  SELECT h.objid, h.objsubid, h.role, n.nspname::text AS schema, c.relname::text AS name, c.relacl,
         CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                        WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind
  FROM held h
  CROSS JOIN LATERAL (SELECT * FROM pg_class c WHERE c.oid = h.objid OFFSET 0) AS c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE h.classid = 'pg_class'::regclass AND h.deptype = 'a' AND h.here
),
granted(kind, schema, name, col, object, role, acl) AS (
  SELECT kind, schema, name, '', format('%%I.%%I', schema, name), role, relacl FROM relations WHERE objsubid = 0
  UNION ALL
  SELECT 'column', r.schema, r.name, a.attname::text, format('%%I.%%I.%%I', r.schema, r.name, a.attname), r.role, a.attacl
  FROM relations r
  CROSS JOIN LATERAL (
    SELECT * FROM pg_attribute a WHERE a.attrelid = r.objid AND a.attnum = r.objsubid OFFSET 0) AS a
  WHERE r.objsubid <> 0
  UNION ALL
  SELECT 'schema', '', n.nspname::text, '', quote_ident(n.nspname), h.role, n.nspacl
  FROM held h JOIN pg_namespace n ON n.oid = h.objid
  WHERE h.classid = 'pg_namespace'::regclass AND h.deptype = 'a' AND h.here
  UNION ALL
  SELECT 'database', '', d.datname::text, '', quote_ident(d.datname), h.role, d.datacl
  FROM held h JOIN pg_database d ON d.oid = h.objid
  WHERE h.classid = 'pg_database'::regclass AND h.deptype = 'a'
)
SELECT kind, schema, name, col AS "column", object, role, pg_get_userbyid(role)::text AS via,
       ARRAY(SELECT a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
             FROM aclexplode(acl) a WHERE a.grantee = role ORDER BY 1) AS privileges
FROM granted
UNION ALL
SELECT 'other', '', described.name, '', described.name, h.role, pg_get_userbyid(h.role)::text,
       ARRAY[CASE WHEN h.deptype = 'o' THEN 'OWNER' WHEN given.away THEN 'GIVEN AWAY' ELSE 'PRIVILEGE' END]
FROM held h
CROSS JOIN LATERAL (
  SELECT CASE WHEN h.here THEN pg_describe_object(h.classid, h.objid, h.objsubid)
              ELSE format('something in database %%s (%%s)', (SELECT datname FROM pg_database WHERE oid = h.dbid),
                          h.classid::regclass) END AS name
) AS described
-- Any login can make large objects and default privileges, and give rights on its own to whom it likes.
CROSS JOIN LATERAL (
  SELECT EXISTS (
    SELECT FROM pg_shdepend o JOIN pg_roles r ON r.oid = o.refobjid
    WHERE o.refclassid = 'pg_authid'::regclass AND o.deptype = 'o' AND starts_with(r.rolname::text, 'jit_')
      AND (o.dbid, o.classid, o.objid) = (h.dbid, h.classid, h.objid)
      AND h.classid IN ('pg_largeobject'::regclass, 'pg_default_acl'::regclass)) AS away
) AS given
WHERE NOT (h.deptype = 'a' AND h.here
           AND h.classid IN ('pg_class'::regclass, 'pg_namespace'::regclass, 'pg_database'::regclass))
ORDER BY 1, 2, 3, 4, 6
