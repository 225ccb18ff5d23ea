-- All that is to be known of the server before a login is made on it, in one look.
SELECT
  me.rolsuper AS superuser,
  shobj_description(me.oid, 'pg_authid') AS manager_comment,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(masker)s) AS masker,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(lock)s) AS lock,
  EXISTS (SELECT FROM pg_roles WHERE rolname = %(maker)s) AS maker,
  scope.oid IS NOT NULL AS scope,
  shobj_description(scope.oid, 'pg_authid') AS scope_comment,
  EXISTS (
    SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
    WHERE m.roleid = scope.oid AND r.rolname = %(maker)s AND m.admin_option
  ) AS maker_may_grant_scope
FROM pg_roles me LEFT JOIN pg_roles scope ON scope.rolname = %(scope_role)s
WHERE me.rolname = current_user
