-- Relations by name, as they are now, each with the sequences that its serial columns take their numbers from.
-- Ids come as text: a cast to name would cut a longer name to 63 bytes and find another table.
SELECT w.schema, w.name, c.oid,
       ARRAY(
         SELECT ARRAY[a.attname::text, sn.nspname::text, s.relname::text]
         FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
         JOIN pg_namespace sn ON sn.oid = s.relnamespace
         JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0
           AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
         ORDER BY 1
       ) AS sequences
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w(schema, name)
JOIN pg_namespace n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
                AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
