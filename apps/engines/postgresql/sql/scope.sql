-- Each thing a scope consists of: what it needs (wanted), what the masker cannot give (ungrantable) and what the
-- scope role does not hold (missing). A table that is not there has no relkind.
-- Ids come as text: a cast to name would cut a longer name to 63 bytes and find another table.
WITH
scope_role AS (SELECT max(oid) AS oid FROM pg_roles WHERE rolname = %(scope_role)s),
tables AS (
  SELECT w.schema, w.name, c.oid, c.relkind, c.relacl, n.oid AS namespace, n.nspacl, n.nspowner
  FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w(schema, name)
  LEFT JOIN pg_namespace n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
                      AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
-- A serial column's default needs its sequence; an identity column's does not ('i' in pg_depend).
sequences AS (
  SELECT DISTINCT n.nspname::text AS schema, s.relname::text AS name, s.oid, s.relacl
  FROM tables t
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid > 0
                  AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_namespace n ON n.oid = s.relnamespace
  WHERE 'INSERT' = ANY (%(rights)s)
),
things AS (
  SELECT 'database' AS kind, '' AS schema, datname::text AS name, '' AS relkind, ARRAY['CONNECT'] AS wanted,
         has_database_privilege(%(masker)s, oid, 'CONNECT WITH GRANT OPTION') AS grantable, datacl AS acl, oid
  FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT DISTINCT ON (namespace) 'schema', '', schema, '', ARRAY['USAGE'],
         has_schema_privilege(%(masker)s, namespace, 'USAGE WITH GRANT OPTION'), nspacl, namespace
  FROM tables WHERE namespace IS NOT NULL
  UNION ALL
  SELECT 'table', schema, name, coalesce(relkind::text, ''), %(rights)s::text[], NULL, relacl, oid FROM tables
  UNION ALL
  SELECT 'sequence', schema, name, 'S', ARRAY['SELECT', 'USAGE'], NULL, relacl, oid FROM sequences
)
SELECT kind, schema, name, relkind, oid, wanted,
  ARRAY(
    SELECT p FROM unnest(wanted) AS p
    WHERE NOT coalesce(CASE kind
      WHEN 'table' THEN has_table_privilege(%(masker)s, things.oid, p || ' WITH GRANT OPTION')
      WHEN 'sequence' THEN has_sequence_privilege(%(masker)s, things.oid, p || ' WITH GRANT OPTION')
      ELSE grantable END, false)
  ) AS ungrantable,
  ARRAY(
    SELECT p FROM unnest(wanted) AS p
    EXCEPT SELECT a.privilege_type FROM aclexplode(acl) a JOIN scope_role ON a.grantee = scope_role.oid
  ) AS missing
FROM things ORDER BY kind, schema, name
