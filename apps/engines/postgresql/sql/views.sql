-- The views of a scope as they stand. What is not there has no oid; what a view shows is told by its rule, not by its
-- name. `writes`: column -> rights that the scope role holds on it. Comments are read where they are: obj_description()
-- is SQL, which is planned and started anew each time.
SELECT w.schema, w.name, n.oid AS namespace, pg_get_userbyid(n.nspowner) = %(masker)s AS schema_ours,
       (SELECT description FROM pg_description
        WHERE objoid = n.oid AND classoid = 'pg_namespace'::regclass AND objsubid = 0) AS schema_comment,
       c.oid, c.relkind = 'v' AND pg_get_userbyid(c.relowner) = %(masker)s AS ours,
       (SELECT description FROM pg_description
        WHERE objoid = c.oid AND classoid = 'pg_class'::regclass AND objsubid = 0) AS comment, pg_get_viewdef(c.oid) AS definition,
       ARRAY(SELECT unnest(c.reloptions) ORDER BY 1) AS options,
       (SELECT count(*) FROM pg_rewrite r WHERE r.ev_class = c.oid)
         + (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = c.oid) AS rules,
       source.oids AS sources, source.kind AS source_kind,
       coalesce(writes.by_column, '{}') AS writes
FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w(schema, name)
LEFT JOIN pg_namespace n ON n.nspname = w.schema::name AND n.nspname::text = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name AND c.relname::text = w.name
LEFT JOIN LATERAL (
  SELECT array_agg(DISTINCT s.oid) AS oids, min(s.relkind::text) AS kind
  FROM pg_rewrite r
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
  JOIN pg_class s ON s.oid = d.refobjid
  WHERE r.ev_class = c.oid
) AS source ON true
LEFT JOIN LATERAL (
  SELECT json_object_agg(x.attname, x.rights) AS by_column
  FROM (
    SELECT t.attname, array_agg(a.privilege_type ORDER BY 1) AS rights
    FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a JOIN pg_roles g ON g.oid = a.grantee
    WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL AND g.rolname = %(scope_role)s
    GROUP BY t.attname
  ) AS x
) AS writes ON true
