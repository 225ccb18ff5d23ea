-- All that is to be known of the server before a login is made on it, in one look. Comments are read where they are, as
-- in views.sql.
SELECT
  me.rolsuper AS superuser,
  (SELECT description FROM pg_shdescription
   WHERE objoid = me.oid AND classoid = 'pg_authid'::regclass) AS manager_comment,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(masker)s) AS masker,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(lock)s) AS lock,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(maker)s) AS maker,
  scope.oid IS NOT NULL AS scope,
  (SELECT description FROM pg_shdescription
   WHERE objoid = scope.oid AND classoid = 'pg_authid'::regclass) AS scope_comment,
  EXISTS (
    SELECT FROM pg_auth_members m
    WHERE m.roleid = scope.oid AND m.member = (SELECT oid FROM pg_roles WHERE rolname = %(maker)s) AND m.admin_option
  ) AS maker_may_grant_scope
FROM pg_roles me LEFT JOIN pg_roles scope ON scope.rolname = %(scope_role)s
WHERE me.rolname = current_user
