-- What is to be shown through views, as the masker finds it. Without oid: there is no such table.
-- Ids come as text: a cast to name would cut a longer name to 63 bytes and find another table.
SELECT w.schema, w.name, c.oid, coalesce(c.relkind::text, '') AS relkind, n.oid AS namespace,
       coalesce(pg_get_userbyid(c.relowner)::text, '') AS owner,
       coalesce(has_schema_privilege(%(masker)s, n.oid, 'USAGE'), false) AS usable,
       ARRAY(SELECT p FROM unnest(%(rights)s::text[]) AS p WHERE NOT has_table_privilege(%(masker)s, c.oid, p)) AS lacking,
       EXISTS (
         SELECT FROM pg_options_to_table(c.reloptions) o
         WHERE c.relkind = 'v' AND o.option_name = 'security_invoker' AND o.option_value::boolean) AS invoker
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w(schema, name)
LEFT JOIN pg_namespace n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
                    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
