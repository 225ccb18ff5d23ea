-- What ties columns of %(oids)s together for whoever reads them: [root, names, kind, name, whole, numbers, events, schema, table, columns],
-- where root is one of %(oids)s. The tie is its own and has numbers of its columns, or that of a partition or inheritance
-- child and has their names. schema, table, columns: the other side of a foreign key.
-- whole: it looks at the whole row, or runs a definer function, which may look anywhere. A node tree's whole row
-- (':varattno 0 ') is not in pg_depend. What names a single column ties nothing, but for keys and where a row lies.
-- OFFSET 0 and ARRAY(SELECT) keep the planner from reading a whole catalog where it has no statistics of it.
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
indexes AS MATERIALIZED (
  SELECT i.indrelid AS rel, i.indexrelid, c.relname::text AS name, NOT c.relispartition AS counts, i.indisunique,
         i.indisclustered, i.indisexclusion, i.indexprs, i.indpred, i.indexprs IS NULL AND i.indpred IS NULL AS plain,
         (i.indkey::int2[])[0:i.indnkeyatts - 1] AS keys, (i.indkey::int2[])[0:i.indnatts - 1] AS keys_and_included
  FROM pg_index i
  CROSS JOIN LATERAL (SELECT * FROM pg_class c WHERE c.oid = i.indexrelid OFFSET 0) AS c
  WHERE i.indrelid = ANY (ARRAY(SELECT oid FROM tree))
    AND (i.indnatts > 1 OR i.indisclustered OR i.indisexclusion OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
),
-- What is not named in the catalog's own columns: the tree to be searched, and whose dependencies tell the rest.
expressed(rel, kind, name, keys, node, classid, objid, counts) AS (
  SELECT rel, CASE WHEN indisexclusion THEN 'exclusion constraint' ELSE 'index on an expression' END, name,
         keys_and_included, concat(indexprs, indpred), 'pg_class'::regclass::oid, indexrelid, counts
  FROM indexes WHERE NOT plain OR indisexclusion
  UNION ALL
  SELECT d.adrelid, 'generated column', a.attname::text, ARRAY[a.attnum], d.adbin::text, 'pg_attrdef'::regclass, d.oid, true
  FROM pg_attrdef d
  CROSS JOIN LATERAL (
    SELECT * FROM pg_attribute a WHERE a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> '' OFFSET 0) AS a
  WHERE d.adrelid = ANY (ARRAY(SELECT oid FROM tree))
),
looked AS (
  SELECT e.rel, e.kind, e.name, e.keys || coalesce(d.keys, '{}') AS keys, e.counts,
         e.node ~ ':varattno 0 '
           OR (e.classid, e.objid) IN (SELECT classid, objid FROM running_definers) AS whole
  FROM expressed e
  CROSS JOIN LATERAL (
    SELECT array_agg(p.refobjsubid::int2) FILTER (WHERE p.refobjid = e.rel) AS keys
    FROM pg_depend p WHERE p.classid = e.classid AND p.objid = e.objid AND p.refclassid = 'pg_class'::regclass
  ) AS d
),
keyed(rel, kind, name, keys, whole, counts) AS (
  SELECT rel, kind, name, keys, whole, counts FROM looked
  UNION ALL
  SELECT rel, 'unique index', name, keys, false, counts
  FROM indexes WHERE indisunique AND plain AND cardinality(keys) > 1
  UNION ALL
  SELECT rel, 'index', name, keys_and_included, false, counts
  FROM indexes
  WHERE plain AND NOT indisexclusion AND NOT (indisunique AND cardinality(keys) = cardinality(keys_and_included))
  UNION ALL
  SELECT rel, 'clustered index', name, keys, false, true FROM indexes WHERE indisclustered
  UNION ALL
  SELECT p.partrelid, 'partition key', c.relname::text,
         ARRAY(SELECT d.objsubid::int2 FROM pg_depend d  -- a key's columns depend on their table, not the other way round
               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid > 0
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'i'
               UNION SELECT unnest(p.partattrs)),
         coalesce(p.partexprs::text ~ ':varattno 0 ', false), true
  FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
  WHERE p.partrelid = ANY (ARRAY(SELECT oid FROM tree))
),
foreign_keys(rel, kind, name, keys, other, other_keys, counts) AS MATERIALIZED (
  SELECT conrelid, 'foreign key', conname::text, conkey, confrelid, confkey, conparentid = 0
  FROM pg_constraint WHERE conrelid = ANY (ARRAY(SELECT oid FROM tree)) AND contype = 'f'
),
others AS MATERIALIZED (
  SELECT f.other, f.other_keys, n.nspname::text AS schema, c.relname::text AS name, a.columns
  FROM (SELECT DISTINCT other, other_keys FROM foreign_keys) AS f
  CROSS JOIN LATERAL (SELECT * FROM pg_class c WHERE c.oid = f.other OFFSET 0) AS c
  CROSS JOIN LATERAL (SELECT * FROM pg_namespace n WHERE n.oid = c.relnamespace OFFSET 0) AS n
  CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text) AS columns
    FROM unnest(f.other_keys) AS k
    CROSS JOIN LATERAL (SELECT * FROM pg_attribute a WHERE a.attrelid = f.other AND a.attnum = k OFFSET 0) AS a) AS a
),
found(rel, kind, name, whole, keys, counts, events, schema, other, columns) AS (
  SELECT rel, kind, name, whole, keys, counts, '{}'::text[], '', '', '{}'::text[] FROM keyed
  WHERE whole OR cardinality(keys) > 1 OR kind IN ('partition key', 'clustered index')
  UNION ALL
  SELECT f.rel, f.kind, f.name, false, f.keys, f.counts, '{}', o.schema, o.name, o.columns
  FROM foreign_keys f JOIN others o ON o.other = f.other AND o.other_keys = f.other_keys
)
SELECT t.root,
       CASE WHEN t.oid <> t.root THEN ARRAY(
         SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (f.keys) AND a.attnum > 0) END,
       f.kind, f.name, f.whole, f.keys, f.events, f.schema, f.other, f.columns
FROM tree t JOIN found f ON f.rel = t.oid AND (t.oid = t.root OR f.counts)
UNION ALL
-- How tables were divided before there were partitions.
SELECT t.root,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (k.conkey) AND a.attnum > 0),
       'partition key', k.conname::text, false, k.conkey, '{}', '', '', '{}'
FROM tree t JOIN pg_constraint k ON k.conrelid = t.oid JOIN pg_class c ON c.oid = k.conrelid
WHERE t.oid <> t.root AND k.contype = 'c' AND k.coninhcount = 0 AND cardinality(k.conkey) = 1 AND k.conkey <> '{0}'
  AND NOT c.relispartition
