-- Which classified columns the given views and materialised views are built on, however deep, and by which relation.
-- pg_depend leaves out whole-row references; they stand in the rule's text as column 0.
WITH RECURSIVE
classified AS (
  SELECT c.oid AS rel, x.col, a.attnum
  FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(columns)s::text[]) AS x(schema, name, col)
  JOIN pg_namespace n ON n.nspname = x.schema::name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.name::name
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = x.col::name AND NOT a.attisdropped
),
kin(a, b) AS MATERIALIZED (
  SELECT inhparent, inhrelid FROM pg_inherits UNION ALL SELECT inhrelid, inhparent FROM pg_inherits
),
-- The same column by the names of partitions, parents and children. Not found (attnum NULL): the whole table counts.
same(rel, col, attnum) AS (
  SELECT rel, col, attnum FROM classified
  UNION
  SELECT kin.b, s.col, a.attnum
  FROM same s JOIN kin ON kin.a = s.rel JOIN pg_attribute a ON a.attrelid = kin.b AND a.attname = s.col::name
),
built(view, rel, attnum, whole) AS (
  SELECT v.oid, d.refobjid, d.refobjsubid, r.ev_action::text ~ ':varattno 0 '
  FROM unnest(%(views)s::oid[]) AS v(oid)
  JOIN pg_rewrite r ON r.ev_class = v.oid AND r.rulename = '_RETURN'
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
  UNION
  SELECT b.view, d.refobjid, d.refobjsubid, r.ev_action::text ~ ':varattno 0 '
  FROM built b JOIN pg_rewrite r ON r.ev_class = b.rel AND r.rulename = '_RETURN'
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
)
SELECT b.view, array_agg(DISTINCT format('%%s.%%s.%%s', n.nspname, c.relname, s.col)) AS columns
FROM built b JOIN same s ON s.rel = b.rel AND (b.whole OR b.attnum IN (0, s.attnum) OR s.attnum IS NULL)
JOIN pg_class c ON c.oid = b.rel JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY b.view
