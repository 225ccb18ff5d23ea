-- Tables whose rows change when rows of others do: foreign keys that cascade, however far. Each start is a table whose
-- rows may be deleted, or of which some columns may be updated (all of them where none are named).
WITH RECURSIVE
starts AS MATERIALIZED (
  SELECT s.scope, s.rel, s.event, (
           SELECT array_agg(a.attnum ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = s.rel AND a.attnum > 0 AND NOT a.attisdropped
             AND (s.columns IS NULL OR a.attname = ANY (s.columns::name[]))) AS columns
  FROM jsonb_to_recordset(%(starts)s::jsonb) AS s(scope int, rel oid, event text, columns text[])
),
-- Rows of a partition are its parent's, and every one of its keys counts.
inside(scope, rel, event, columns) AS (
  SELECT scope, rel, event, columns FROM starts
  UNION
  SELECT i.scope, h.inhrelid, i.event, (
           SELECT array_agg(c.attnum ORDER BY c.attnum)
           FROM pg_attribute p JOIN pg_attribute c ON c.attrelid = h.inhrelid AND c.attname = p.attname
           WHERE p.attrelid = i.rel AND p.attnum = ANY (i.columns))
  FROM inside i JOIN pg_inherits h ON h.inhparent = i.rel
),
touched(scope, rel, event, columns, origin) AS (
  SELECT scope, rel, event, columns, NULL::oid FROM inside
  UNION
  SELECT t.scope, k.conrelid,
         CASE WHEN t.event = 'DELETE' AND k.confdeltype = 'c' THEN 'DELETE' ELSE 'UPDATE' END,
         CASE WHEN t.event = 'DELETE' THEN coalesce(k.confdelsetcols, k.conkey) ELSE k.conkey END,
         t.rel
  FROM touched t JOIN pg_constraint k ON k.confrelid = t.rel AND k.contype = 'f'
  WHERE (t.event = 'DELETE' AND k.confdeltype IN ('c', 'n', 'd'))
     OR (t.event = 'UPDATE' AND k.confupdtype IN ('c', 'n', 'd') AND k.confkey && t.columns)
)
SELECT t.scope, n.nspname::text AS schema, c.relname::text AS name, format('%%I.%%I', n.nspname, c.relname) AS object,
       array_agg(DISTINCT t.event) AS events, format('%%I.%%I', fn.nspname, f.relname) AS origin,
       NOT EXISTS (SELECT FROM inside i WHERE i.scope = t.scope AND i.rel = t.rel) AS outside,
       EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.rel AND g.tgtype & 8 > 0 AND g.tgenabled <> 'D') AS seen
FROM touched t
JOIN pg_class c ON c.oid = t.rel JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class f ON f.oid = t.origin JOIN pg_namespace fn ON fn.oid = f.relnamespace
GROUP BY t.scope, t.rel, n.nspname, c.relname, fn.nspname, f.relname ORDER BY 1, 2, 3, 6
