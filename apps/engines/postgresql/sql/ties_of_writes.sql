-- More ties of %(oids)s, in the rows of ties.sql: what looks at several columns when one of them is written.
-- A whole row is in the columns of a check as number 0.
WITH RECURSIVE
tree(root, oid) AS (
  SELECT o, o FROM unnest(%(oids)s::oid[]) AS o
  UNION
  SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
),
definers AS (
  SELECT 'pg_proc'::regclass::oid AS classid, oid FROM pg_proc WHERE prosecdef
  UNION ALL
  SELECT 'pg_operator'::regclass, o.oid FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE p.prosecdef
),
running_definers AS MATERIALIZED (
  SELECT d.classid, d.objid FROM definers
  CROSS JOIN LATERAL (
    SELECT * FROM pg_depend d WHERE d.refclassid = definers.classid AND d.refobjid = definers.oid OFFSET 0) AS d
),
keyed(rel, kind, name, keys, whole, counts) AS (
  SELECT conrelid, 'check constraint', conname::text, coalesce(conkey, '{}'),
         0 = ANY (conkey) OR oid IN (SELECT objid FROM running_definers WHERE classid = 'pg_constraint'::regclass), conislocal
  FROM pg_constraint WHERE conrelid = ANY (ARRAY(SELECT oid FROM tree)) AND contype = 'c'
  UNION ALL
  SELECT p.polrelid, 'policy', p.polname::text, coalesce(d.keys, '{}'),
         concat(p.polqual, p.polwithcheck) ~ ':varattno 0 ' OR coalesce(d.elsewhere, false)
           OR p.oid IN (SELECT objid FROM running_definers WHERE classid = 'pg_policy'::regclass), false
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
  CROSS JOIN LATERAL (
    SELECT array_agg(d.refobjsubid::int2) FILTER (WHERE d.refobjid = p.polrelid) AS keys,
           bool_or(d.refobjid <> p.polrelid) AS elsewhere
    FROM pg_depend d
    WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass
  ) AS d
  WHERE p.polrelid = ANY (%(oids)s::oid[])
),
referring AS MATERIALIZED (
  SELECT DISTINCT c.confrelid AS rel, c.conname::text AS name, c.confkey AS keys, c.conrelid AS other, c.conkey AS other_keys
  FROM pg_depend d  -- confrelid has no index, what depends on a column has
  CROSS JOIN LATERAL (
    SELECT * FROM pg_constraint c
    WHERE c.oid = d.objid AND c.confrelid = d.refobjid AND c.contype = 'f' AND c.conparentid = 0 OFFSET 0) AS c
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (ARRAY(SELECT oid FROM tree)) AND d.refobjsubid > 0
    AND d.classid = 'pg_constraint'::regclass AND d.deptype = 'n'
),
found(rel, kind, name, whole, keys, counts, events, schema, other, columns) AS (
  SELECT rel, kind, name, whole, keys, counts, '{}'::text[], '', '', '{}'::text[] FROM keyed
  WHERE whole OR cardinality(keys) > 1 OR kind = 'policy'
  UNION ALL
  SELECT f.rel, 'reference', f.name, false, f.keys, true, '{}', n.nspname::text, c.relname::text, a.columns
  FROM referring f
  CROSS JOIN LATERAL (SELECT * FROM pg_class c WHERE c.oid = f.other OFFSET 0) AS c
  CROSS JOIN LATERAL (SELECT * FROM pg_namespace n WHERE n.oid = c.relnamespace OFFSET 0) AS n
  CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text) AS columns
    FROM unnest(f.other_keys) AS k
    CROSS JOIN LATERAL (SELECT * FROM pg_attribute a WHERE a.attrelid = f.other AND a.attnum = k OFFSET 0) AS a) AS a
  UNION ALL
  SELECT g.tgrelid, 'trigger', g.tgname::text, true, '{}', g.tgtype & 1 > 0,  -- a child's own fire for each row only
         array_remove(ARRAY[
           CASE WHEN g.tgtype & 4 > 0 THEN 'INSERT' END, CASE WHEN g.tgtype & 16 > 0 THEN 'UPDATE' END,
           CASE WHEN g.tgtype & 8 > 0 THEN 'DELETE' END], NULL), '', '', '{}'
  FROM pg_trigger g
  WHERE g.tgrelid = ANY (ARRAY(SELECT oid FROM tree)) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    AND g.tgtype & (4 + 8 + 16) > 0
  UNION ALL
  SELECT r.ev_class, 'rule', r.rulename::text, true, '{}', false,
         ARRAY[CASE r.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END], '', '', '{}'
  FROM pg_rewrite r
  WHERE r.ev_class = ANY (%(oids)s::oid[]) AND r.ev_type IN ('2', '3', '4') AND r.ev_enabled <> 'D'
)
SELECT t.root,
       CASE WHEN t.oid <> t.root THEN ARRAY(
         SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (f.keys) AND a.attnum > 0) END,
       f.kind, f.name, f.whole, f.keys, f.events, f.schema, f.other, f.columns
FROM tree t JOIN found f ON f.rel = t.oid AND (t.oid = t.root OR f.counts)
