-- Each thing a scope consists of: what it needs (wanted), what the masker cannot give (ungrantable), what the scope
-- role does not hold (missing), and what it holds on a view or its columns and should not (surplus).
-- A table that is not there has no relkind, a view or a schema of views that is not there no oid.
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
-- [{"schema", "name", "rights": […], "columns": {name: [rights]}, "source": oid, "inserts": bool, "hidden": [columns]}]
views AS (
  SELECT w.schema, w.name, w.rights, w.columns, w.source, w.inserts, w.hidden, n.oid AS namespace, n.nspacl, c.oid, c.relacl
  FROM json_to_recordset(%(views)s::json)
       AS w(schema text, name text, rights text[], columns json, source oid, inserts bool, hidden text[])
  LEFT JOIN pg_namespace n ON n.nspname = w.schema::name
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relkind = 'v'
),
columns AS (
  SELECT v.schema, v.name, w.key AS col, ARRAY(SELECT json_array_elements_text(w.value)) AS wanted, v.oid, a.attacl
  FROM views v CROSS JOIN LATERAL json_each(v.columns) AS w
  -- OFFSET 0: not all columns of the database for those of a few views.
  LEFT JOIN LATERAL (
    SELECT * FROM pg_attribute a
    WHERE a.attrelid = v.oid AND a.attname = w.key::name AND a.attnum > 0 AND NOT a.attisdropped OFFSET 0) AS a ON true
),
-- A serial column's default needs its sequence; an identity column's does not ('i' in pg_depend). Behind a view only
-- the next number is to be had.
sequences AS (
  SELECT n.nspname::text AS schema, s.relname::text AS name, s.oid, s.relacl,
         CASE WHEN bool_or(t.direct) THEN ARRAY['SELECT', 'USAGE'] ELSE ARRAY['USAGE'] END AS wanted
  FROM (
    SELECT oid, true AS direct, NULL::text[] AS hidden FROM tables WHERE 'INSERT' = ANY (%(rights)s)
    UNION ALL
    SELECT source, false, hidden FROM views WHERE inserts
  ) AS t
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid > 0
                  AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE t.direct OR a.attname::text <> ALL (t.hidden)
  GROUP BY n.nspname, s.relname, s.oid, s.relacl
),
things AS (
  SELECT 'database' AS kind, '' AS schema, datname::text AS name, '' AS col, '' AS relkind, ARRAY['CONNECT'] AS wanted,
         has_database_privilege(%(masker)s, oid, 'CONNECT WITH GRANT OPTION') AS grantable, datacl AS acl, oid
  FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT DISTINCT ON (namespace) 'schema', '', schema, '', '', ARRAY['USAGE'],
         has_schema_privilege(%(masker)s, namespace, 'USAGE WITH GRANT OPTION'), nspacl, namespace
  FROM tables WHERE namespace IS NOT NULL
  UNION ALL
  SELECT DISTINCT ON (schema) 'schema', '', schema, '', '', ARRAY['USAGE'], true, nspacl, namespace FROM views
  UNION ALL
  SELECT 'table', schema, name, '', coalesce(relkind::text, ''), %(rights)s::text[], NULL, relacl, oid FROM tables
  UNION ALL
  SELECT 'view', schema, name, '', 'v', rights, true, relacl, oid FROM views
  UNION ALL
  SELECT 'column', schema, name, col, 'v', wanted, true, attacl, oid FROM columns
  UNION ALL
  SELECT 'sequence', schema, name, '', 'S', wanted, NULL, relacl, oid FROM sequences
),
weighed AS MATERIALIZED (
  SELECT t.*, ARRAY(
    SELECT a.privilege_type FROM aclexplode(t.acl) a JOIN scope_role ON a.grantee = scope_role.oid
  ) AS held
  FROM things t
)
SELECT kind, schema, name, col AS "column", relkind, oid, wanted,
  ARRAY(
    SELECT p FROM unnest(wanted) AS p
    WHERE NOT coalesce(CASE kind
      WHEN 'table' THEN has_table_privilege(%(masker)s, weighed.oid, p || ' WITH GRANT OPTION')
      WHEN 'sequence' THEN has_sequence_privilege(%(masker)s, weighed.oid, p || ' WITH GRANT OPTION')
      ELSE grantable END, false)
  ) AS ungrantable,
  CASE WHEN wanted <@ held THEN '{}'
       ELSE ARRAY(SELECT unnest(wanted) EXCEPT SELECT unnest(held) ORDER BY 1) END AS missing,
  CASE WHEN kind NOT IN ('view', 'column') OR held <@ wanted THEN '{}'
       ELSE ARRAY(SELECT unnest(held) EXCEPT SELECT unnest(wanted) ORDER BY 1) END AS surplus
FROM weighed
WHERE kind <> 'column' OR cardinality(wanted) > 0 OR cardinality(held) > 0
ORDER BY kind, schema, name, col
