-- The server as far as the whole of it is concerned, one row.
SELECT
  me.rolsuper AS superuser,
  me.rolcreaterole AS createrole,
  shobj_description(me.oid, 'pg_authid') AS comment,
  masker.oid IS NOT NULL AS masker,
  coalesce(masker.rolsuper OR masker.rolbypassrls OR masker.rolcanlogin OR masker.rolcreaterole, false) AS masker_too_strong,
  coalesce(pg_has_role(me.oid, masker.oid, %(becoming)s), false) AS may_become_masker,
  pg_has_role(me.oid, 'pg_signal_backend', 'USAGE') AS may_signal,
  pg_has_role(me.oid, 'pg_read_all_stats', 'USAGE') AS may_see_sessions,
  current_setting('max_prepared_transactions')::int AS prepared_transactions,
  ARRAY(SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1) AS databases,
  ARRAY(
    SELECT DISTINCT d.datname::text
    FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE d.datallowconn AND a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'TEMPORARY') ORDER BY 1
  ) AS open_databases
FROM pg_roles me LEFT JOIN pg_roles masker ON masker.rolname = %(masker)s
WHERE me.rolname = current_user
