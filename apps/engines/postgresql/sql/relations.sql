-- The relations of %(oids)s that are there: row security, whether it is a partition or child, the columns of the primary
-- key by number, and all columns as a JSON array of [name, type, position].
SELECT c.oid, c.relrowsecurity, EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid),
       coalesce((p.indkey::int2[])[0:p.indnkeyatts - 1], '{}'),
       coalesce(columns.list, '[]'::json)
FROM pg_class c
LEFT JOIN pg_index p ON p.indrelid = c.oid AND p.indisprimary
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnum) ORDER BY a.attnum) AS list
  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS columns ON true
WHERE c.oid = ANY (%(oids)s::oid[])
