-- Of the named columns, those of a plain table whose values the masker can read without anybody's code being run: heap,
-- no row security, stored columns of the server's own types, and no index or statistics with anybody's function in them:
-- for each query on a table the planner runs those that are called with constants.
SELECT w.schema, w.name, w.column, c.oid
FROM unnest(%(schemas)s::text[], %(names)s::text[], %(columns)s::text[]) AS w(schema, name, "column")
JOIN pg_namespace n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
JOIN pg_am m ON m.oid = c.relam AND m.oid = 2  -- heap
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w.column::name AND a.attname::text = w.column
WHERE c.relkind = 'r' AND NOT c.relrowsecurity AND c.relpersistence IN ('p', 'u')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND a.atttypid = ANY ('{text, varchar, bpchar, name, int2, int4, int8, numeric, float4, float8, date, timestamp,
                          timestamptz, uuid, inet, cidr}'::regtype[])
  AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE (d.classid, d.objid) IN (
        SELECT 'pg_class'::regclass::oid, i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid
        UNION ALL SELECT 'pg_statistic_ext'::regclass, e.oid FROM pg_statistic_ext e WHERE e.stxrelid = c.oid)
      AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass))
  AND has_schema_privilege(%(masker)s, n.oid, 'USAGE')
  AND has_column_privilege(%(masker)s, c.oid, a.attnum, 'SELECT')
ORDER BY 1, 2, 3
