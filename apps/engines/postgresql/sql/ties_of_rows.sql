-- More ties of %(oids)s, in the rows of ties.sql: what happens to whole rows when they are written.
WITH RECURSIVE
tree(root, oid) AS (
  SELECT o, o FROM unnest(%(oids)s::oid[]) AS o
  UNION
  SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
),
-- Functions that are neither the server's nor in C, and what runs them: they may say what they are given.
own AS (
  SELECT 'pg_proc'::regclass::oid AS classid, oid FROM pg_proc WHERE prolang NOT IN (12, 13) AND oid >= 16384
  UNION ALL
  SELECT 'pg_operator'::regclass, o.oid FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
  WHERE p.prolang NOT IN (12, 13) AND p.oid >= 16384
),
running_own AS MATERIALIZED (
  SELECT d.classid, d.objid FROM own CROSS JOIN LATERAL (
    SELECT * FROM pg_depend d WHERE d.refclassid = own.classid AND d.refobjid = own.oid OFFSET 0) AS d
),
indexes AS MATERIALIZED (
  SELECT i.indrelid AS rel, i.indexrelid, c.relname::text AS name, (i.indkey::int2[])[0:i.indnkeyatts - 1] AS keys,
         i.indisexclusion, i.indnullsnotdistinct,
         (i.indisunique OR i.indisexclusion) AND i.indexprs IS NULL AS plain,
         i.indexprs IS NOT NULL OR i.indpred IS NOT NULL AS expressed
  FROM pg_index i
  CROSS JOIN LATERAL (SELECT * FROM pg_class c WHERE c.oid = i.indexrelid OFFSET 0) AS c
  WHERE i.indrelid = ANY (ARRAY(SELECT oid FROM tree))
),
-- An UPDATE evaluates them again, also where it changes none of their columns.
evaluated(rel, name, keys) AS (
  SELECT conrelid, conname::text, coalesce(conkey, '{}') FROM pg_constraint
  WHERE conrelid = ANY (ARRAY(SELECT oid FROM tree))
    AND (contype IN ('c', 'n') AND NOT convalidated
         OR contype = 'c' AND oid IN (SELECT objid FROM running_own WHERE classid = 'pg_constraint'::regclass))
  UNION ALL
  SELECT i.rel, i.name, i.keys || coalesce(d.keys, '{}') FROM indexes i
  CROSS JOIN LATERAL (
    SELECT array_agg(p.refobjsubid::int2) AS keys FROM pg_depend p
    WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
      AND p.refclassid = 'pg_class'::regclass AND p.refobjid = i.rel) AS d
  WHERE i.expressed AND i.indexrelid IN (SELECT objid FROM running_own WHERE classid = 'pg_class'::regclass)
),
-- Foreign keys that change rows of their own table. Deleting tells something only where a trigger or a key sees it.
cascading AS MATERIALIZED (
  SELECT DISTINCT c.oid, c.confrelid, c.conname::text AS name, c.conrelid, c.confkey, c.confupdtype, c.confdeltype
  FROM pg_depend d  -- confrelid has no index, what depends on a column has
  CROSS JOIN LATERAL (
    SELECT * FROM pg_constraint c
    WHERE c.oid = d.objid AND c.confrelid = d.refobjid AND c.contype = 'f' AND c.conparentid = 0
      AND (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('c', 'n', 'd')) OFFSET 0) AS c
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (ARRAY(SELECT oid FROM tree)) AND d.refobjsubid > 0
    AND d.classid = 'pg_constraint'::regclass AND d.deptype = 'n'
),
-- A partition's own key: its parents' columns are masked under their names.
changed(oid, rel) AS (
  SELECT oid, conrelid FROM cascading
  UNION
  SELECT c.oid, i.inhparent FROM changed c JOIN pg_inherits i ON i.inhrelid = c.rel
),
under(oid, rel) AS (
  SELECT oid, conrelid FROM cascading
  UNION
  SELECT u.oid, i.inhrelid FROM under u JOIN pg_inherits i ON i.inhparent = u.rel
),
seen AS MATERIALIZED (
  SELECT DISTINCT u.oid FROM under u
  WHERE EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = u.rel AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 8 > 0)
     -- The keys of others that refer to it have internal triggers on it.
     OR EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = u.rel AND g.tgisinternal AND g.tgtype & 8 > 0)
),
found(rel, kind, name, whole, keys, events, schema, other, columns) AS (
  SELECT rel, 'evaluated expression', name, 0 = ANY (keys), keys, '{UPDATE}'::text[], '', '', '{}'::text[] FROM evaluated
  UNION ALL
  -- Every column gets a constant or, where nulls are alike, nothing; to overlap, it need not be a constant.
  SELECT i.rel, 'unique default', i.name, false, i.keys, '{INSERT}', '', '', '{}' FROM indexes i
  WHERE i.plain AND NOT EXISTS (
    SELECT FROM unnest(i.keys) AS k
    LEFT JOIN pg_attrdef d ON d.adrelid = i.rel AND d.adnum = k
    LEFT JOIN pg_attribute a ON a.attrelid = i.rel AND a.attnum = k
    WHERE a.attidentity <> '' OR a.attgenerated <> ''
       OR coalesce(d.adbin::text !~ '^\{CONST ' AND NOT i.indisexclusion, NOT i.indnullsnotdistinct))
  UNION ALL
  SELECT c.confrelid, 'cascading foreign key', c.name, false, c.confkey,
         array_remove(ARRAY[
           CASE WHEN c.confupdtype IN ('c', 'n', 'd') THEN 'UPDATE' END,
           CASE WHEN c.confdeltype IN ('n', 'd') OR c.confdeltype = 'c' AND c.oid IN (SELECT oid FROM seen) THEN 'DELETE' END], NULL),
         n.nspname::text, r.relname::text,
         ARRAY(SELECT a.attname::text FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
               WHERE k.oid = c.oid)
  FROM cascading c JOIN changed h ON h.oid = c.oid JOIN pg_class r ON r.oid = h.rel JOIN pg_namespace n ON n.oid = r.relnamespace
)
SELECT t.root,
       CASE WHEN t.oid <> t.root THEN ARRAY(
         SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (f.keys) AND a.attnum > 0) END,
       f.kind, f.name, f.whole, f.keys, f.events, f.schema, f.other, f.columns
FROM tree t JOIN found f ON f.rel = t.oid
WHERE f.kind <> 'cascading foreign key' OR cardinality(f.events) > 0
