-- What is missing or dangerous in this database: counted, a few names, and the SQL that mends it (20 lines at most).
WITH
masker AS (SELECT oid, rolname FROM pg_roles WHERE rolname = %(masker)s),
here AS (SELECT oid, datname FROM pg_database WHERE datname = current_database()),
schemas AS MATERIALIZED (
  SELECT n.oid, n.nspname, has_schema_privilege(masker.oid, n.oid, 'USAGE WITH GRANT OPTION') AS offered
  FROM pg_namespace n, masker WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
),
relations AS MATERIALIZED (
  SELECT c.oid, c.relname, c.relowner, c.relnamespace, s.nspname, c.relkind
  FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
  WHERE s.offered AND c.relkind IN ('r', 'p', 'v', 'm')
),
found(what, name, fix) AS (
  SELECT 'no connect', h.datname::text, format('GRANT CONNECT ON DATABASE %%I TO %%I WITH GRANT OPTION;', h.datname, m.rolname)
  FROM here h, masker m WHERE NOT has_database_privilege(m.oid, h.oid, 'CONNECT WITH GRANT OPTION')
  UNION ALL
  SELECT 'no create', h.datname::text, format('GRANT CREATE ON DATABASE %%I TO %%I;', h.datname, m.rolname)
  FROM here h, masker m WHERE NOT has_database_privilege(m.oid, h.oid, 'CREATE')
  UNION ALL
  SELECT 'nothing offered', h.datname::text, '' FROM here h WHERE NOT EXISTS (SELECT FROM schemas WHERE offered)
  UNION ALL
  SELECT 'ungrantable', r.nspname || '.' || r.relname,
         format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %%I TO %%I WITH GRANT OPTION;', r.nspname, m.rolname)
  FROM relations r, masker m WHERE NOT has_table_privilege(m.oid, r.oid, 'SELECT WITH GRANT OPTION')
  UNION ALL
  SELECT 'no default privileges', r.nspname || ' of ' || o.rolname,
         format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA %%I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES '
                'TO %%I WITH GRANT OPTION;', o.rolname, r.nspname, m.rolname)
  FROM (SELECT DISTINCT nspname, relnamespace, relowner FROM relations) r JOIN pg_roles o ON o.oid = r.relowner, masker m
  WHERE NOT EXISTS (
    SELECT FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a
    WHERE d.defaclrole = r.relowner AND d.defaclnamespace IN (0, r.relnamespace) AND d.defaclobjtype = 'r'
      AND a.grantee = m.oid AND a.privilege_type = 'SELECT' AND a.is_grantable)
  UNION ALL
  SELECT DISTINCT 'definer', p.oid::regprocedure::text, format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC;', p.oid::regprocedure)
  FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  WHERE p.prosecdef AND p.prokind = 'f' AND a.grantee = 0
  UNION ALL
  -- From the stored tree: 9 to 12 are CURRENT_ROLE, CURRENT_USER, USER and SESSION_USER. pg_get_expr() would wait
  -- for whoever has locked the table.
  SELECT 'policy', format('%%s on %%s.%%s', p.polname, n.nspname, c.relname), ''
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL concat(p.polqual::text, ' ', p.polwithcheck::text) AS tree
  WHERE tree ~ '\{SQLVALUEFUNCTION :op (9|10|11|12) '
     OR EXISTS (SELECT FROM pg_proc f WHERE f.oid < 16384 AND f.proname = 'current_setting'
                AND tree ~ format(':funcid %%s ', f.oid))
  UNION ALL
  -- Only a superuser makes event triggers; their function may be somebody else's, who can put anything in it.
  SELECT 'event trigger', format('%%s (%%s of %%s)', e.evtname, p.oid::regprocedure, r.rolname),
         format('ALTER EVENT TRIGGER %%I DISABLE;', e.evtname)
  FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_roles r ON r.oid = p.proowner
  WHERE e.evtenabled IN ('O', 'A') AND NOT r.rolsuper
)
SELECT what, count(*), (array_agg(name ORDER BY name))[1:5],
       array_to_string((array_agg(DISTINCT fix ORDER BY fix) FILTER (WHERE fix <> ''))[1:20], E'\n')
FROM found GROUP BY what ORDER BY what
