-- What a login finds open to everybody beyond its scope, and the functions that run with others' rights: one row for
-- each object, at most %(most)s of a kind, with the count of all. Without roles: what everybody finds, in any schema.
WITH RECURSIVE
grantees AS MATERIALIZED (SELECT unnest(%(roles)s::oid[]) AS oid UNION SELECT 0),
given AS MATERIALIZED (SELECT unnest(%(given)s::oid[]) AS oid),
own_schemas AS MATERIALIZED (
  SELECT oid, nspname, nspacl, nspowner FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
),
schemas AS MATERIALIZED (
  SELECT n.oid, n.nspname, %(everywhere)s OR EXISTS (
    SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a JOIN grantees g ON g.oid = a.grantee
    WHERE a.privilege_type = 'USAGE') AS usable
  FROM own_schemas n
),
usable AS MATERIALIZED (SELECT oid, nspname FROM schemas WHERE usable),
-- PUBLIC's rights on relations and their columns, without what the server came with.
relations(oid, namespace, relkind, relname, attname, privilege) AS MATERIALIZED (
  SELECT c.oid, c.relnamespace, c.relkind, c.relname, NULL::name, a.privilege_type
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
  WHERE a.grantee = 0 AND c.relacl IS NOT NULL AND (c.oid >= 16384 OR NOT EXISTS (
    SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) ia
    WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0
      AND ia.grantee = 0 AND ia.privilege_type = a.privilege_type))
  UNION ALL
  SELECT c.oid, c.relnamespace, c.relkind, c.relname, t.attname, a.privilege_type
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid CROSS JOIN LATERAL aclexplode(t.attacl) a
  WHERE a.grantee = 0 AND t.attacl IS NOT NULL AND NOT t.attisdropped AND (c.oid >= 16384 OR NOT EXISTS (
    SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) ia
    WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = t.attnum
      AND ia.grantee = 0 AND ia.privilege_type = a.privilege_type))
),
open_relations(what, object, name, privilege, via, fix) AS (
  SELECT CASE WHEN r.relkind = 'S' THEN 'sequence'
              WHEN n.oid IS NULL THEN 'catalog relation'
              WHEN n.usable AND r.privilege = 'SELECT' THEN CASE WHEN r.oid IN (SELECT oid FROM given) THEN '' ELSE 'readable' END
              WHEN n.usable THEN CASE WHEN r.oid = ANY (%(changed)s::oid[]) THEN '' ELSE 'writable' END
              ELSE 'statistics' END,
         CASE WHEN r.attname IS NOT NULL THEN 'column '
              ELSE CASE r.relkind WHEN 'S' THEN 'sequence ' WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view '
                                  WHEN 'f' THEN 'foreign table ' ELSE 'table ' END END || full_name
           || coalesce('.' || quote_ident(r.attname), ''),
         full_name, r.privilege, 'PUBLIC',
         format('REVOKE ALL ON %%s%%s FROM PUBLIC;', CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, full_name)
  FROM relations r LEFT JOIN schemas n ON n.oid = r.namespace JOIN pg_namespace s ON s.oid = r.namespace
  CROSS JOIN LATERAL format('%%I.%%I', s.nspname, r.relname) AS full_name
  WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND s.nspname NOT LIKE 'pg\_toast%%' AND s.nspname NOT LIKE 'pg\_temp%%'
    -- Open by the standard, which pg_init_privs does not say of these.
    AND NOT (s.nspname = 'information_schema' AND r.oid < 16384 AND r.privilege = 'SELECT')
    AND (r.relkind = 'S' OR n.oid IS NULL OR n.usable OR (r.privilege = 'SELECT' AND r.relkind <> 'v'))
),
definers AS MATERIALIZED (
  SELECT p.oid, p.proowner, p.oid::regprocedure::text AS name, coalesce(n.usable, true) AS usable,
         CASE WHEN bool_or(a.grantee = 0) THEN 'PUBLIC' ELSE pg_get_userbyid(max(a.grantee))::text END AS via
  FROM pg_proc p LEFT JOIN schemas n ON n.oid = p.pronamespace
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE p.prosecdef AND p.oid >= 16384 AND p.pronamespace::regnamespace::text !~ '^pg_t'
  GROUP BY p.oid, p.proowner, n.usable
),
closed AS MATERIALIZED (SELECT oid, name, proowner FROM definers WHERE NOT usable),
-- Definer functions out of direct reach that something in a usable schema runs all the same.
running(classid, objid, oid) AS MATERIALIZED (
  SELECT 'pg_proc'::regclass, oid, oid FROM closed
  UNION
  SELECT 'pg_operator'::regclass, o.oid, f.oid FROM closed f JOIN pg_operator o ON f.oid IN (o.oprcode, o.oprrest, o.oprjoin)
  UNION
  SELECT 'pg_proc'::regclass, a.aggfnoid, f.oid FROM closed f
  JOIN pg_aggregate a ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                   a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
),
-- Views that can be read, and those that they read.
readable_views(oid) AS (
  SELECT v.oid FROM pg_class v JOIN usable ON usable.oid = v.relnamespace
  WHERE v.relkind = 'v' AND EXISTS (SELECT FROM closed) AND EXISTS (
    SELECT FROM aclexplode(v.relacl) a JOIN grantees g ON g.oid = a.grantee
    UNION ALL
    SELECT FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a JOIN grantees g ON g.oid = a.grantee
    WHERE t.attrelid = v.oid AND t.attacl IS NOT NULL)
  UNION
  SELECT d.refobjid FROM readable_views v JOIN pg_rewrite r ON r.ev_class = v.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'v'
),
carried(oid, carrier) AS MATERIALIZED (
  SELECT r.oid, format('operator %%I.%%s', n.nspname, o.oprname) FROM running r
  JOIN pg_operator o ON r.classid = 'pg_operator'::regclass AND o.oid = r.objid JOIN usable n ON n.oid = o.oprnamespace
  UNION
  SELECT r.oid, 'aggregate ' || p.oid::regprocedure::text FROM running r
  JOIN pg_proc p ON r.classid = 'pg_proc'::regclass AND p.oid = r.objid AND p.prokind = 'a' JOIN usable n ON n.oid = p.pronamespace
  UNION
  SELECT f.oid, format('cast %%s to %%s', c.castsource::regtype, c.casttarget::regtype)
  FROM closed f JOIN pg_cast c ON c.castfunc = f.oid
  UNION
  SELECT u.oid, format('view %%I.%%I', n.nspname, v.relname)
  FROM running u JOIN pg_depend d ON d.refclassid = u.classid AND d.refobjid = u.objid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
  WHERE r.ev_class IN (SELECT oid FROM readable_views)
),
functions(what, object, name, privilege, via, fix, owner) AS (
  SELECT 'definer', 'function ' || f.name, f.name, 'EXECUTE', f.via, format('REVOKE EXECUTE ON ROUTINE %%s FROM PUBLIC;', f.name), f.proowner
  FROM definers f WHERE f.usable
  UNION ALL
  SELECT 'carried', 'function ' || f.name, f.name || ' by ' || c.carrier, 'EXECUTE', c.carrier,
         format('REVOKE EXECUTE ON ROUTINE %%s FROM PUBLIC;', f.name), f.proowner
  FROM carried c JOIN closed f USING (oid)
  UNION ALL
  SELECT DISTINCT ON (p.oid) 'unsafe language', 'function ' || p.oid::regprocedure::text, p.oid::regprocedure::text, 'EXECUTE',
         CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
         format('REVOKE EXECUTE ON ROUTINE %%s FROM PUBLIC;', p.oid::regprocedure), NULL::oid
  FROM pg_proc p JOIN usable u ON u.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE NOT l.lanpltrusted AND l.lanname <> 'internal' AND NOT p.prosecdef
    AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  UNION ALL
  SELECT 'catalog', 'function ' || p.oid::regprocedure::text, p.oid::regprocedure::text, 'EXECUTE', 'PUBLIC',
         format('REVOKE EXECUTE ON ROUTINE %%s FROM PUBLIC;', p.oid::regprocedure), NULL
  FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
  WHERE p.oid < 16384 AND a.grantee = 0 AND EXISTS (
      SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
    AND NOT EXISTS (
      SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) ia
      WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND ia.grantee = 0)
),
others(what, object, name, privilege, via, fix) AS (
  SELECT CASE a.privilege_type WHEN 'CREATE' THEN 'create' ELSE '' END, 'schema ' || quote_ident(n.nspname),
         quote_ident(n.nspname), a.privilege_type, 'PUBLIC', format('REVOKE CREATE ON SCHEMA %%I FROM PUBLIC;', n.nspname)
  FROM own_schemas n CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE a.grantee = 0
  UNION ALL
  SELECT CASE WHEN d.datname <> current_database() THEN CASE a.privilege_type WHEN 'CONNECT' THEN 'database' ELSE '' END
              WHEN a.privilege_type = 'TEMPORARY' THEN 'temporary' ELSE '' END,
         'database ' || quote_ident(d.datname), quote_ident(d.datname), a.privilege_type, 'PUBLIC',
         format('REVOKE CONNECT, TEMPORARY ON DATABASE %%I FROM PUBLIC;', d.datname)
  FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  WHERE a.grantee = 0 AND d.datallowconn
  UNION ALL
  SELECT 'foreign server', 'foreign server ' || quote_ident(s.srvname), quote_ident(s.srvname), a.privilege_type, 'PUBLIC',
         format('REVOKE USAGE ON FOREIGN SERVER %%I FROM PUBLIC;', s.srvname)
  FROM pg_foreign_server s CROSS JOIN LATERAL aclexplode(s.srvacl) a WHERE a.grantee = 0
  UNION ALL
  SELECT 'foreign server', 'foreign-data wrapper ' || quote_ident(w.fdwname), quote_ident(w.fdwname), a.privilege_type,
         'PUBLIC', format('REVOKE USAGE ON FOREIGN DATA WRAPPER %%I FROM PUBLIC;', w.fdwname)
  FROM pg_foreign_data_wrapper w CROSS JOIN LATERAL aclexplode(w.fdwacl) a WHERE a.grantee = 0
  UNION ALL
  SELECT 'large object', 'large object ' || o.oid, o.oid::text, a.privilege_type, 'PUBLIC',
         format('REVOKE ALL ON LARGE OBJECT %%s FROM PUBLIC;', o.oid)
  FROM pg_largeobject_metadata o CROSS JOIN LATERAL aclexplode(o.lomacl) a WHERE a.grantee = 0
  UNION ALL
  SELECT 'parameter', 'parameter ' || p.parname, p.parname, a.privilege_type, 'PUBLIC',
         format('REVOKE ALL ON PARAMETER %%s FROM PUBLIC;', p.parname)
  FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a WHERE a.grantee = 0
  UNION ALL
  SELECT 'tablespace', 'tablespace ' || quote_ident(s.spcname), quote_ident(s.spcname), a.privilege_type, 'PUBLIC',
         format('REVOKE ALL ON TABLESPACE %%I FROM PUBLIC;', s.spcname)
  FROM pg_tablespace s CROSS JOIN LATERAL aclexplode(s.spcacl) a WHERE a.grantee = 0
  UNION ALL
  SELECT 'to come', 'default privileges of ' || quote_ident(r.rolname) || coalesce(' in ' || quote_ident(n.nspname), ''),
         quote_ident(r.rolname) || coalesce(' in ' || quote_ident(n.nspname), ''), a.privilege_type, 'PUBLIC',
         format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I%%s REVOKE ALL ON %%s FROM PUBLIC;', r.rolname,
                ' IN SCHEMA ' || quote_ident(n.nspname),
                CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' ELSE 'SCHEMAS' END)
  FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
  CROSS JOIN LATERAL aclexplode(d.defaclacl) a WHERE a.grantee = 0 AND d.defaclobjtype IN ('r', 'S', 'n')
  UNION ALL
  SELECT 'definer trigger', '', format('%%I.%%I (%%s)', u.nspname, c.relname, t.tgname), '', '', ''
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_proc p ON p.oid = t.tgfoid JOIN own_schemas u ON u.oid = c.relnamespace
  WHERE p.prosecdef AND NOT t.tgisinternal AND t.tgrelid = ANY (%(changed)s::oid[])
  UNION ALL
  SELECT 'rule', '', format('%%I.%%I (%%s)', u.nspname, c.relname, r.rulename), '', '', ''
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
  JOIN own_schemas u ON u.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND r.ev_class = ANY (%(changed)s::oid[])
),
found AS (
  SELECT *, NULL::oid AS owner FROM open_relations UNION ALL SELECT * FROM functions UNION ALL SELECT *, NULL FROM others
),
counted AS (
  SELECT what, object, name, array_agg(DISTINCT privilege ORDER BY privilege) AS privileges, via, fix, owner,
         row_number() OVER (PARTITION BY what ORDER BY name, object, via) AS place,
         count(*) OVER (PARTITION BY what) AS rows
  FROM found GROUP BY what, object, name, via, fix, owner
),
-- A relation with many columns open to PUBLIC counts once.
totals AS (SELECT what, count(DISTINCT name) AS total FROM found GROUP BY what)
SELECT what, object, name, privileges, via, fix, total, rows,
       CASE WHEN owner IS NOT NULL THEN quote_ident(pg_get_userbyid(owner)) ELSE '' END AS owner
FROM counted JOIN totals USING (what) WHERE place <= %(most)s ORDER BY what, place
