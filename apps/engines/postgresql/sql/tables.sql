-- Every relation that can be asked for, with its columns as a JSON array of [name, type, position, not null, comment], and
-- the columns of its primary key by number.
-- Schemas of the masker are not for asking: they hold the views of grants.
SELECT c.oid, n.nspname::text, c.relname::text,
       CASE WHEN c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
            THEN 'child' ELSE c.relkind::text END,
       c.reltuples::bigint,
       coalesce(obj_description(c.oid, 'pg_class'), ''),
       coalesce(columns.list, '[]'::json), c.relrowsecurity,
       coalesce((p.indkey::int2[])[0:p.indnkeyatts - 1], '{}')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index p ON p.indrelid = c.oid AND p.indisprimary
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_array(
           a.attname, format_type(a.atttypid, a.atttypmod), a.attnum, a.attnotnull, coalesce(d.description, '')
         ) ORDER BY a.attnum) AS list
  FROM pg_attribute a
  LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = a.attnum
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS columns ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND pg_get_userbyid(n.nspowner) <> %(masker)s
ORDER BY n.nspname, c.relname
