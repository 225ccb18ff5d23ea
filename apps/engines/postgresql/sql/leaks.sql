-- Classified columns that a login can reach, and through what: a privilege on the table or the column, its own or
-- PUBLIC's; the table's parents and partitions; views built on it, however deep. One row for each table and way.
WITH RECURSIVE
roles(oid) AS (
  SELECT oid FROM pg_roles WHERE rolname = %(login)s
  UNION SELECT m.roleid FROM roles JOIN pg_auth_members m ON m.member = roles.oid
),
grantees AS MATERIALIZED (SELECT oid FROM roles UNION ALL SELECT 0),
usable AS MATERIALIZED (
  SELECT DISTINCT n.oid FROM pg_namespace n
  CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE a.privilege_type = 'USAGE'
),
classified AS MATERIALIZED (
  SELECT x.schema, x.name, x.col, c.oid AS rel, a.attnum
  FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(columns)s::text[]) AS x(schema, name, col)
  JOIN pg_namespace n ON n.nspname = x.schema::name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.name::name
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = x.col::name AND a.attnum > 0 AND NOT a.attisdropped
),
kin(a, b) AS MATERIALIZED (
  SELECT inhparent, inhrelid FROM pg_inherits UNION ALL SELECT inhrelid, inhparent FROM pg_inherits
),
-- The same column by other tables' names. A classified column that is no longer there has attnum NULL: renamed, so
-- that the whole table counts.
same(schema, name, col, rel, attnum) AS (
  SELECT schema, name, col, rel, attnum FROM classified
  UNION
  SELECT s.schema, s.name, s.col, kin.b, a.attnum
  FROM same s JOIN kin ON kin.a = s.rel JOIN pg_attribute a ON a.attrelid = kin.b AND a.attname = s.col::name
),
-- pg_depend leaves out whole-row references; they stand in the rule's text as column 0. OFFSET 0 has the views of
-- one table after the other looked up: thousands of columns compared with all dependencies would take minutes.
carriers(view, schema, name, col) AS (
  SELECT DISTINCT ON (v.ev_class, s.schema, s.name) v.ev_class, s.schema, s.name, s.col
  FROM same s CROSS JOIN LATERAL (
    SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN'
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = s.rel AND d.classid = 'pg_rewrite'::regclass
      AND r.ev_class <> s.rel
      AND (d.refobjsubid IN (0, s.attnum) OR s.attnum IS NULL OR r.ev_action::text ~ ':varattno 0 ')
    OFFSET 0
  ) AS v
),
-- What a security_invoker view reads is checked against the login itself, so nothing passes through it.
views(oid, relnamespace, relkind, relacl) AS MATERIALIZED (
  SELECT v.oid, v.relnamespace, v.relkind, v.relacl FROM pg_class v
  WHERE v.relkind IN ('v', 'm') AND NOT EXISTS (
    SELECT FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
),
tainted(view, root) AS (
  SELECT view, view FROM carriers JOIN views ON views.oid = carriers.view
  UNION
  SELECT v.ev_class, t.root
  FROM tainted t CROSS JOIN LATERAL (
    SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN'
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = t.view AND d.classid = 'pg_rewrite'::regclass
      AND r.ev_class <> t.view
    OFFSET 0
  ) AS v
  JOIN views ON views.oid = v.ev_class
),
privileges(rel, attnum, right_, grantee) AS MATERIALIZED (
  SELECT c.oid, NULL::int2, a.privilege_type, a.grantee
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN grantees g ON g.oid = a.grantee
  WHERE c.oid IN (SELECT rel FROM same UNION SELECT view FROM tainted)
  UNION ALL
  SELECT t.attrelid, t.attnum, a.privilege_type, a.grantee
  FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a JOIN grantees g ON g.oid = a.grantee
  WHERE t.attacl IS NOT NULL AND t.attrelid IN (SELECT rel FROM same UNION SELECT view FROM tainted)
),
-- Without USAGE of the schema pg_stats still shows a table's values to whoever may SELECT them (field notes R19).
found(schema, name, col, gone, through, rel, grantee) AS (
  SELECT s.schema, s.name, s.col, s.attnum IS NULL, 'table', s.rel, p.grantee
  FROM same s JOIN privileges p ON p.rel = s.rel AND (p.attnum IS NULL OR p.attnum = s.attnum OR s.attnum IS NULL)
  UNION
  SELECT c.schema, c.name, c.col, false, 'view', t.view, p.grantee
  FROM tainted t JOIN carriers c ON c.view = t.root JOIN privileges p ON p.rel = t.view JOIN views v ON v.oid = t.view
  WHERE p.right_ = 'SELECT' AND (v.relkind = 'm' OR v.relnamespace IN (SELECT oid FROM usable))
)
SELECT f.schema, f.name, array_agg(DISTINCT f.col ORDER BY f.col) AS columns, bool_or(f.gone) AS gone, f.through,
       n.nspname::text AS through_schema, c.relname::text AS through_name,
       CASE WHEN f.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(f.grantee)::text END AS grantee
FROM found f JOIN pg_class c ON c.oid = f.rel JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY f.schema, f.name, f.through, n.nspname, c.relname, f.grantee
ORDER BY f.schema, f.name, f.through, 6, 7, 8
