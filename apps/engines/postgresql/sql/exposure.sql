-- What a login finds open to everybody beyond its scope, counted, with a few names of each.
WITH RECURSIVE
roles(oid) AS (
  SELECT oid FROM pg_roles WHERE rolname = %(login)s
  UNION SELECT m.roleid FROM roles JOIN pg_auth_members m ON m.member = roles.oid
),
grantees AS MATERIALIZED (SELECT oid FROM roles UNION ALL SELECT 0),
given AS MATERIALIZED (SELECT unnest(%(tables)s::oid[]) AS oid),
own_schemas AS MATERIALIZED (
  SELECT oid, nspname, nspacl, nspowner FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
),
usable AS MATERIALIZED (
  SELECT DISTINCT n.oid, n.nspname FROM own_schemas n
  CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE a.privilege_type = 'USAGE'
),
definers AS MATERIALIZED (
  SELECT DISTINCT p.oid, p.pronamespace, p.proname FROM pg_proc p
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE p.prosecdef
),
-- Definer functions out of direct reach that something in a usable schema runs all the same.
carried(oid, carrier) AS (
  SELECT f.oid, 'operator ' || o.oprname FROM definers f JOIN pg_operator o ON f.oid IN (o.oprcode, o.oprrest, o.oprjoin)
  WHERE o.oprnamespace IN (SELECT oid FROM usable)
  UNION
  SELECT f.oid, 'aggregate ' || p.proname FROM definers f
  JOIN pg_aggregate a ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                   a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
  JOIN pg_proc p ON p.oid = a.aggfnoid WHERE p.pronamespace IN (SELECT oid FROM usable)
  UNION
  SELECT f.oid, 'a cast' FROM definers f JOIN pg_cast c ON c.castfunc = f.oid
  UNION
  SELECT f.oid, 'view ' || v.relname FROM definers f
  JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
  CROSS JOIN LATERAL aclexplode(v.relacl) a JOIN grantees g ON g.oid = a.grantee
  WHERE v.relnamespace IN (SELECT oid FROM usable)
),
found(what, name) AS (
  SELECT CASE a.privilege_type WHEN 'SELECT' THEN 'readable' ELSE 'writable' END, u.nspname || '.' || c.relname
  FROM pg_class c JOIN usable u ON u.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a
  WHERE a.grantee = 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid NOT IN (SELECT oid FROM given)
  UNION
  SELECT CASE a.privilege_type WHEN 'SELECT' THEN 'readable' ELSE 'writable' END, u.nspname || '.' || c.relname
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN usable u ON u.oid = c.relnamespace
  CROSS JOIN LATERAL aclexplode(t.attacl) a
  WHERE t.attacl IS NOT NULL AND a.grantee = 0 AND c.oid NOT IN (SELECT oid FROM given)
  UNION
  SELECT 'definer', u.nspname || '.' || f.proname FROM definers f JOIN usable u ON u.oid = f.pronamespace
  UNION
  SELECT 'carried', n.nspname || '.' || f.proname || ' by ' || carried.carrier
  FROM carried JOIN definers f USING (oid) JOIN pg_namespace n ON n.oid = f.pronamespace
  WHERE f.pronamespace NOT IN (SELECT oid FROM usable)
  UNION
  SELECT 'unsafe language', u.nspname || '.' || p.proname
  FROM pg_proc p JOIN usable u ON u.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a JOIN grantees g ON g.oid = a.grantee
  WHERE NOT l.lanpltrusted AND l.lanname <> 'internal' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  UNION
  SELECT 'catalog', p.proname::text FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
  WHERE p.oid < 16384 AND a.grantee = 0 AND EXISTS (
      SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
    AND NOT EXISTS (
      SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) ia
      WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND ia.grantee = 0)
  UNION
  SELECT 'create', n.nspname::text FROM own_schemas n
  CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
  WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'
  UNION
  SELECT CASE WHEN d.datname <> current_database() THEN 'database' ELSE 'temporary' END, d.datname::text
  FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
  WHERE a.grantee = 0 AND d.datallowconn
    AND a.privilege_type = CASE WHEN d.datname <> current_database() THEN 'CONNECT' ELSE 'TEMPORARY' END
  UNION
  SELECT 'foreign server', s.srvname::text FROM pg_foreign_server s
  CROSS JOIN LATERAL aclexplode(s.srvacl) a WHERE a.grantee = 0
  UNION
  SELECT 'large object', o.oid::text FROM pg_largeobject_metadata o
  CROSS JOIN LATERAL aclexplode(o.lomacl) a WHERE a.grantee = 0
  UNION
  SELECT 'parameter', p.parname FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a WHERE a.grantee = 0
  UNION
  SELECT 'definer trigger', u.nspname || '.' || c.relname || ' (' || t.tgname || ')'
  FROM pg_trigger t JOIN given ON given.oid = t.tgrelid JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_proc p ON p.oid = t.tgfoid JOIN own_schemas u ON u.oid = c.relnamespace
  WHERE p.prosecdef AND NOT t.tgisinternal AND %(writes)s
  UNION
  SELECT 'rule', u.nspname || '.' || c.relname || ' (' || r.rulename || ')'
  FROM pg_rewrite r JOIN given ON given.oid = r.ev_class JOIN pg_class c ON c.oid = r.ev_class
  JOIN own_schemas u ON u.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND %(writes)s
)
SELECT what, count(*), (array_agg(name ORDER BY name))[1:5] FROM found GROUP BY what ORDER BY what
