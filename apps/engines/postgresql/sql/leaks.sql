-- Classified columns that some roles or PUBLIC can reach, and through what: a privilege on the table or the column; the
-- table's parents and partitions; views built on it, however deep; rules that answer a change with a query; the
-- statistics. One row for each table and way.
-- And of the relations that our own views show (sources): the classified columns that are behind them.
WITH RECURSIVE
grantees AS MATERIALIZED (SELECT unnest(%(roles)s::oid[]) AS oid UNION SELECT 0),
usable AS MATERIALIZED (
  SELECT n.oid, array_agg(DISTINCT a.grantee) AS by FROM pg_namespace n
  CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE a.privilege_type = 'USAGE' GROUP BY n.oid
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
found_same(schema, name, col, rel, attnum) AS (
  SELECT schema, name, col, rel, attnum FROM classified
  UNION
  SELECT s.schema, s.name, s.col, kin.b, a.attnum
  FROM found_same s JOIN kin ON kin.a = s.rel JOIN pg_attribute a ON a.attrelid = kin.b AND a.attname = s.col::name
),
same AS MATERIALIZED (SELECT schema, name, col, rel, attnum FROM found_same),
-- What each view reads. pg_depend leaves out whole-row references; they stand in the rule's text as column 0.
reads AS MATERIALIZED (
  SELECT DISTINCT r.ev_class AS view, r.oid AS rule, d.refobjid AS rel, d.refobjsubid AS attnum
  FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  WHERE r.rulename = '_RETURN' AND r.oid >= 16384 AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
),
whole AS MATERIALIZED (
  SELECT r.ev_class AS view FROM pg_rewrite r
  WHERE r.oid IN (SELECT rule FROM reads WHERE rel IN (SELECT rel FROM same)) AND r.ev_action::text ~ ':varattno 0 '
),
carriers(view, schema, name, col) AS MATERIALIZED (
  SELECT DISTINCT ON (reads.view, s.schema, s.name) reads.view, s.schema, s.name, s.col
  FROM same s JOIN reads ON reads.rel = s.rel
  WHERE reads.attnum IN (0, s.attnum) OR s.attnum IS NULL OR reads.view IN (SELECT view FROM whole)
  ORDER BY reads.view, s.schema, s.name, s.col
),
-- What a security_invoker view reads is checked against the login itself, so that nothing passes through it, but into
-- a materialised view, which its owner has filled.
views(oid, relkind, invoker) AS MATERIALIZED (
  SELECT v.oid, v.relkind, EXISTS (
    SELECT FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
  FROM pg_class v WHERE v.relkind IN ('v', 'm')
),
passing AS MATERIALIZED (SELECT DISTINCT view, rel FROM reads),
tainted(view, root, passes) AS (
  SELECT carriers.view, carriers.view, NOT views.invoker FROM carriers JOIN views ON views.oid = carriers.view
  UNION
  SELECT p.view, t.root, views.relkind = 'm' OR (t.passes AND NOT views.invoker)
  FROM tainted t JOIN passing p ON p.rel = t.view JOIN views ON views.oid = p.view
),
-- What a rule does, it does as the owner of its relation. The catalogs do not tell what it reads from what it writes.
rules AS MATERIALIZED (
  SELECT r.oid, r.ev_class AS rel, r.ev_action::text ~ ':varattno 0 ' AS whole,
         CASE r.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END AS event
  FROM pg_rewrite r WHERE r.rulename <> '_RETURN' AND r.oid >= 16384 AND r.ev_enabled <> 'D'
),
ruled AS MATERIALIZED (
  SELECT DISTINCT u.rel, u.event, s.schema, s.name, s.col
  FROM rules u JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = u.oid AND d.refclassid = 'pg_class'::regclass
  JOIN same s ON s.rel = d.refobjid
  WHERE d.refobjid <> u.rel AND (u.whole OR d.refobjsubid = s.attnum OR s.attnum IS NULL)
  UNION
  SELECT DISTINCT u.rel, u.event, c.schema, c.name, c.col
  FROM rules u JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = u.oid AND d.refclassid = 'pg_class'::regclass
  JOIN tainted t ON t.view = d.refobjid AND t.passes JOIN carriers c ON c.view = t.root WHERE d.refobjid <> u.rel
),
interesting AS MATERIALIZED (
  SELECT rel AS oid FROM same UNION SELECT view FROM tainted WHERE passes UNION SELECT rel FROM ruled
  UNION SELECT x FROM unnest(ARRAY['pg_statistic'::regclass, 'pg_statistic_ext_data'::regclass]::oid[]) x
),
privileges(rel, attnum, right_, grantee) AS MATERIALIZED (
  SELECT c.oid, NULL::int2, a.privilege_type, a.grantee
  FROM pg_class c JOIN interesting ON interesting.oid = c.oid
  CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a JOIN grantees g ON g.oid = a.grantee
  UNION ALL
  SELECT t.attrelid, t.attnum, a.privilege_type, a.grantee
  FROM pg_attribute t JOIN interesting ON interesting.oid = t.attrelid
  CROSS JOIN LATERAL aclexplode(t.attacl) a JOIN grantees g ON g.oid = a.grantee
  WHERE t.attacl IS NOT NULL
),
-- Without USAGE of the schema pg_stats still shows a table's values to whoever may SELECT them (field notes R19).
found(schema, name, col, gone, through, rel, grantee) AS (
  SELECT s.schema, s.name, s.col, s.attnum IS NULL, 'table', s.rel, p.grantee
  FROM same s JOIN privileges p ON p.rel = s.rel AND (p.attnum IS NULL OR p.attnum = s.attnum OR s.attnum IS NULL)
  UNION
  SELECT c.schema, c.name, c.col, false, CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, t.view, p.grantee
  FROM tainted t JOIN carriers c ON c.view = t.root JOIN privileges p ON p.rel = t.view JOIN views v ON v.oid = t.view
  WHERE p.right_ = 'SELECT' AND t.passes
  UNION
  SELECT u.schema, u.name, u.col, false, 'rule', u.rel, p.grantee
  FROM ruled u JOIN privileges p ON p.rel = u.rel AND p.right_ = u.event
  UNION
  SELECT '', '', '*', false, 'statistics', p.rel, p.grantee
  FROM privileges p WHERE p.right_ = 'SELECT' AND p.rel::regclass IN ('pg_statistic', 'pg_statistic_ext_data')
    AND EXISTS (SELECT FROM classified)
  UNION
  SELECT s.schema, s.name, s.col, s.attnum IS NULL, 'source table', s.rel, NULL
  FROM same s WHERE s.rel = ANY (%(sources)s::oid[])
  UNION
  SELECT c.schema, c.name, c.col, false, 'source view', t.view, NULL
  FROM tainted t JOIN carriers c ON c.view = t.root WHERE t.view = ANY (%(sources)s::oid[])
)
SELECT f.schema, f.name, array_agg(DISTINCT f.col ORDER BY f.col) AS columns,
       coalesce(array_agg(DISTINCT f.col) FILTER (WHERE f.gone), '{}') AS gone,
       f.through, f.rel AS oid, n.nspname::text AS through_schema, c.relname::text AS through_name,
       format('%%I.%%I', n.nspname, c.relname) AS object, f.grantee,
       CASE WHEN f.grantee = 0 THEN 'PUBLIC' ELSE coalesce(pg_get_userbyid(f.grantee)::text, '') END AS via,
       CASE WHEN f.through = 'view' THEN coalesce(u.by, '{}') END AS usage_by
FROM found f JOIN pg_class c ON c.oid = f.rel JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN usable u ON u.oid = n.oid
GROUP BY f.schema, f.name, f.through, f.rel, n.nspname, c.relname, f.grantee, u.by
ORDER BY f.schema, f.name, f.through, 7, 8, 11
