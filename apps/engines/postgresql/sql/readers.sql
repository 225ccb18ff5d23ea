-- Of the given roles those that may read a classified column, as the owners of functions that run with their rights.
WITH
classified AS MATERIALIZED (
  SELECT c.oid AS rel, a.attnum
  FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(columns)s::text[]) AS x(schema, name, col)
  JOIN pg_namespace n ON n.nspname = x.schema::name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.name::name
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = x.col::name AND NOT a.attisdropped
)
SELECT quote_ident(r.rolname) FROM pg_roles r
WHERE quote_ident(r.rolname) = ANY (%(owners)s::text[])
  AND (r.rolsuper OR EXISTS (SELECT FROM classified c WHERE has_column_privilege(r.oid, c.rel, c.attnum, 'SELECT')))
