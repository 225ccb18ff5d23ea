"""Many logins at once, as the engine makes them, but without a password and without a proof each."""

from collections.abc import Sequence

from psycopg import sql

from apps.engines.base import Target
from apps.engines.postgresql import names
from apps.engines.postgresql.connect import batch, makers_apply, session


def make_logins(target: Target, scope_role: str, logins: Sequence[str]) -> None:
    """The scope role is there; what is missing of makers is made."""
    with session(target, doing="making a crowd") as connection:
        is_newer = makers_apply(connection)
        there = {name for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
        scope, options = sql.Identifier(scope_role), sql.SQL(" WITH INHERIT TRUE, SET FALSE" if is_newer else "")
        for maker in sorted({names.maker_name(login) for login in logins}):
            name, parts = sql.Identifier(maker), list[sql.Composable]()
            if is_newer and maker not in there:
                batch(
                    connection,
                    [
                        sql.SQL("CREATE ROLE {} NOLOGIN CREATEROLE").format(name),
                        sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE").format(name),
                    ],
                )
            if is_newer:
                admin = sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(scope, name)
                become = sql.SQL("SET LOCAL ROLE {}").format(name)
                parts += [admin, sql.SQL("SET LOCAL createrole_self_grant = 'inherit'"), become]
            for login in [login for login in logins if names.maker_name(login) == maker]:
                role = sql.Identifier(login)
                comment = sql.Literal(names.comment(target.portal_id, f"login={login} request=crowd"))
                parts += [
                    sql.SQL("CREATE ROLE {} LOGIN VALID UNTIL '2100-01-01'").format(role),
                    sql.SQL("GRANT {} TO {}").format(scope, role) + options,
                    sql.SQL("COMMENT ON ROLE {} IS {}").format(role, comment),
                ]
            batch(connection, parts)
