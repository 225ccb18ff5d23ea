-- For each relation of %(oids)s: [row security, is a partition or child, primary key, columns, ties]. The ties are also
-- those of its partitions and inheritance children, by names of columns: [kind, name, columns, others, events, own].
-- Columns are '*' where something looks at the whole row, or runs a definer function, which may look anywhere: what a
-- node tree says of a whole row (':varattno 0 ') is not in pg_depend. What names a single column ties nothing.
-- OFFSET 0 keeps the planner from reading a whole catalog where it has no statistics of it.
WITH RECURSIVE
tree(root, oid) AS (
  SELECT o, o FROM unnest(%(oids)s::oid[]) AS o
  UNION
  SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
),
definers AS MATERIALIZED (
  SELECT 'pg_proc'::regclass::oid AS classid, oid FROM pg_proc WHERE prosecdef
  UNION ALL
  SELECT 'pg_operator'::regclass, o.oid FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE p.prosecdef
),
indexes AS MATERIALIZED (
  SELECT t.root, t.oid, i.indexrelid, c.relname, i.indisunique, i.indisexclusion, i.indexprs, i.indpred,
         ARRAY(SELECT k FROM unnest(i.indkey) WITH ORDINALITY AS u(k, n) WHERE n <= i.indnkeyatts ORDER BY n) AS keys,
         i.indkey::int2[] AS keys_and_included
  FROM tree t
  JOIN pg_index i ON i.indrelid = t.oid
  JOIN pg_class c ON c.oid = i.indexrelid
  WHERE t.oid = t.root OR NOT c.relispartition
),
-- What has expressions: the columns that are named, the tree to be searched, and whose dependencies tell the rest.
expressed AS (
  SELECT t.root, t.oid, 'check constraint' AS kind, c.conname AS name, c.conkey AS keys, c.conbin::text AS node,
         'pg_constraint'::regclass::oid AS classid, c.oid AS objid
  FROM tree t
  CROSS JOIN LATERAL (SELECT * FROM pg_constraint WHERE conrelid = t.oid AND contype = 'c' OFFSET 0) AS c
  WHERE t.oid = t.root OR c.conislocal
  UNION ALL
  SELECT root, oid, CASE WHEN indisexclusion THEN 'exclusion constraint' ELSE 'index on an expression' END, relname,
         keys_and_included, concat(indexprs, indpred), 'pg_class'::regclass, indexrelid
  FROM indexes WHERE indexprs IS NOT NULL OR indpred IS NOT NULL OR indisexclusion
  UNION ALL
  SELECT t.root, t.oid, 'generated column', a.attname, ARRAY[a.attnum], d.adbin::text, 'pg_attrdef'::regclass, d.oid
  FROM tree t
  CROSS JOIN LATERAL (SELECT * FROM pg_attribute WHERE attrelid = t.oid AND attgenerated <> '' OFFSET 0) AS a
  JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
  UNION ALL
  SELECT t.root, t.oid, 'policy', p.polname, '{}', concat(p.polqual, p.polwithcheck), 'pg_policy'::regclass, p.oid
  FROM tree t JOIN pg_class c ON c.oid = t.root AND c.relrowsecurity JOIN pg_policy p ON p.polrelid = c.oid
  WHERE t.oid = t.root
),
looked AS MATERIALIZED (
  SELECT e.root, e.oid, e.kind, e.name, e.keys || coalesce(d.keys, '{}') AS keys,
         e.node ~ ':varattno 0 ' OR coalesce(d.anything, false) AS whole
  FROM expressed e
  LEFT JOIN LATERAL (
    SELECT array_agg(p.refobjsubid::int2) FILTER (WHERE p.refobjid = e.oid AND p.refclassid = 'pg_class'::regclass) AS keys,
           bool_or((p.refclassid, p.refobjid) IN (SELECT classid, oid FROM definers)
                   OR e.kind = 'policy' AND p.refclassid = 'pg_class'::regclass AND p.refobjid <> e.oid) AS anything
    FROM pg_depend p WHERE p.classid = e.classid AND p.objid = e.objid
  ) AS d ON true
),
keyed AS (
  SELECT root, oid, kind, name, keys, whole FROM looked
  UNION ALL
  SELECT root, oid, 'unique index', relname, keys, false
  FROM indexes WHERE indisunique AND indexprs IS NULL AND indpred IS NULL AND cardinality(keys) > 1
  UNION ALL
  SELECT root, oid, 'index', relname, keys_and_included, false
  FROM indexes
  WHERE indexprs IS NULL AND indpred IS NULL AND NOT indisexclusion AND cardinality(keys_and_included) > 1
    AND NOT (indisunique AND cardinality(keys) = cardinality(keys_and_included))
  UNION ALL
  SELECT t.root, t.oid, 'partition key', c.relname,
         ARRAY(SELECT d.objsubid::int2 FROM pg_depend d  -- a key's columns depend on their table, not the other way round
               WHERE d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.objsubid > 0
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.deptype = 'i'
               UNION SELECT unnest(p.partattrs)),
         coalesce(p.partexprs::text ~ ':varattno 0 ', false)
  FROM tree t JOIN pg_partitioned_table p ON p.partrelid = t.oid JOIN pg_class c ON c.oid = t.oid
),
named AS MATERIALIZED (
  SELECT k.root, k.oid, k.kind, k.name,
         CASE WHEN k.whole THEN ARRAY['*'] ELSE ARRAY(
           SELECT a.attname::text FROM pg_attribute a
           WHERE a.attrelid = k.oid AND a.attnum = ANY (k.keys) AND a.attnum > 0 ORDER BY 1) END AS columns
  FROM keyed k
),
foreign_keys AS (
  SELECT t.root, t.oid, 'foreign key' AS kind, c.conname, c.conkey AS keys, c.confrelid AS other, c.confkey AS other_keys
  FROM tree t
  CROSS JOIN LATERAL (SELECT * FROM pg_constraint WHERE conrelid = t.oid AND contype = 'f' OFFSET 0) AS c
  WHERE t.oid = t.root OR c.conparentid = 0
  UNION ALL
  SELECT t.root, t.oid, 'reference', c.conname, c.confkey, c.conrelid, c.conkey
  FROM tree t
  CROSS JOIN LATERAL (  -- confrelid has no index, what depends on a column has
    SELECT DISTINCT c.oid, c.conname, c.confkey, c.conrelid, c.conkey
    FROM pg_depend d
    JOIN pg_constraint c ON c.oid = d.objid AND c.confrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid > 0
      AND d.classid = 'pg_constraint'::regclass
  ) AS c
),
ties(root, oid, kind, name, columns, others, events) AS (
  SELECT root, oid, kind, name, columns, '[]'::json, '{}'::text[] FROM named
  WHERE columns = ARRAY['*'] OR cardinality(columns) > 1 OR kind IN ('partition key', 'policy')
  UNION ALL
  SELECT f.root, f.oid, f.kind, f.conname,
         ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = f.oid AND a.attnum = ANY (f.keys) ORDER BY 1),
         (SELECT json_agg(json_build_array(n.nspname, c.relname, a.attname) ORDER BY a.attname)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE c.oid = f.other AND a.attnum = ANY (f.other_keys)),
         '{}'
  FROM foreign_keys f
  UNION ALL
  SELECT t.root, t.oid, 'trigger', g.tgname, ARRAY['*'], '[]', e.events
  FROM tree t
  CROSS JOIN LATERAL (
    SELECT * FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal AND tgenabled <> 'D' OFFSET 0) AS g
  CROSS JOIN LATERAL (SELECT array_remove(ARRAY[
    CASE WHEN g.tgtype & 4 > 0 THEN 'INSERT' END, CASE WHEN g.tgtype & 16 > 0 THEN 'UPDATE' END,
    CASE WHEN g.tgtype & 8 > 0 THEN 'DELETE' END], NULL) AS events) AS e
  WHERE cardinality(e.events) > 0 AND (t.oid = t.root OR g.tgtype & 1 > 0)  -- a child's own fire for each row only
  UNION ALL
  SELECT r.ev_class, r.ev_class, 'rule', r.rulename, ARRAY['*'], '[]',
         ARRAY[CASE r.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END]
  FROM pg_rewrite r WHERE r.ev_class = ANY (%(oids)s::oid[]) AND r.ev_type IN ('2', '3', '4') AND r.ev_enabled <> 'D'
),
tied AS (
  SELECT root, json_agg(json_build_array(kind, name, columns, others, events, oid = root)) AS list FROM ties GROUP BY root
)
SELECT c.oid, c.relrowsecurity, EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid),
       ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS u(k, n)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.k
             WHERE i.indrelid = c.oid AND i.indisprimary AND u.n <= i.indnkeyatts ORDER BY u.n),
       coalesce(columns.list, '[]'::json), coalesce(tied.list, '[]'::json)
FROM pg_class c
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) AS list
  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS columns ON true
LEFT JOIN tied ON tied.root = c.oid
WHERE c.oid = ANY (%(oids)s::oid[])
