-- Tables beyond the given ones whose rows change when rows of these do: foreign keys that cascade, however far.
WITH RECURSIVE
given AS (SELECT unnest(%(tables)s::oid[]) AS oid),
-- Rows of a partition are its parent's.
inside(oid) AS (SELECT oid FROM given UNION SELECT i.inhrelid FROM inside JOIN pg_inherits i ON i.inhparent = inside.oid),
touched(oid, origin) AS (
  SELECT oid, NULL::oid FROM inside
  UNION
  SELECT k.conrelid, k.confrelid
  FROM touched t JOIN pg_constraint k ON k.confrelid = t.oid AND k.contype = 'f'
  WHERE k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')
)
SELECT DISTINCT n.nspname::text AS schema, c.relname::text AS name
FROM touched t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.oid NOT IN (SELECT oid FROM inside) ORDER BY 1, 2
