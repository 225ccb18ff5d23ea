"""What the runtime roles may do in the portal's own database (design §6, §7; field notes S1, S4, W1).

Runs as the owner after every migrate, because new tables come without rights for anybody else. First it gives
rights on ordinary tables, then it reads back what holds around the record and refuses to go on if that is more,
or less, than it should be.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from apps.audit.actions import WORKER_ROLE

OWNER_ALIAS: Final = "owner"
OWNER_ROLE: Final = "jitportal_owner"
WEB_ROLE: Final = "jitportal_web"
# django-q2 runs what its rows name and unpickles what they hold: whoever writes them runs code in the worker (S1).
QUEUE_TABLES: Final = "django_q_"
# Access is made, prolonged and closed by clock and workers alone: whoever takes over the web cannot make it last.
# So it is with what is signed about the record.
GRANT_TABLES: Final = "grants_"
SIGNED_TABLES: Final = "audit_"
_WRITTEN_ONCE: Final = ("audit_checkpoint", "audit_signingkey")
_ENDED_BY_WEB: Final = "grants_grant"  # and by nothing else: a trigger of apps.grants holds the web to ending
_ONLY_READ: Final = "django_migrations"

_GRANT_TABLES: Final = sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {names} TO {role}")
_GRANT_SEQUENCES: Final = sql.SQL("GRANT USAGE, SELECT ON SEQUENCE {names} TO {role}")
_GRANT_READING: Final = sql.SQL("GRANT SELECT ON TABLE {names} TO {role}")
_GRANT_ADDING: Final = sql.SQL("GRANT SELECT, INSERT ON TABLE {names} TO {role}")
_GRANT_ENDING: Final = sql.SQL(
    "GRANT UPDATE (status, end_cause, end_reason, ended_by_id, ending_since, next_try_at, tries, problem) "
    "ON TABLE {names} TO {role}"
)
_REVOKE: Final = sql.SQL("REVOKE ALL ON TABLE {names} FROM {role}")

_TABLES = """
SELECT c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
  AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
"""

# Every right on the record that anybody but its owner holds, one word each.
_RIGHTS = """
SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END, o.what, a.privilege_type
FROM (
  SELECT 'schema', n.nspacl, n.nspowner FROM pg_namespace n WHERE n.nspname = 'audit'
  UNION ALL
  SELECT c.relname::text, coalesce(c.relacl, acldefault('r', c.relowner)), c.relowner
  FROM pg_class c WHERE c.relnamespace = 'audit'::regnamespace
  UNION ALL
  SELECT c.relname || '.' || t.attname, t.attacl, c.relowner
  FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid WHERE c.relnamespace = 'audit'::regnamespace
  UNION ALL
  SELECT p.proname || '()', coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
  FROM pg_proc p WHERE p.pronamespace = 'audit'::regnamespace
) o (what, acl, owner) CROSS JOIN LATERAL aclexplode(o.acl) a
WHERE a.grantee <> o.owner
"""
_OWNED_BY_OTHERS = """
SELECT format('%%s %%s', what, name) FROM (
  SELECT 'schema', nspname::text, nspowner FROM pg_namespace WHERE nspname = 'audit'
  UNION ALL SELECT 'relation', relname, relowner FROM pg_class WHERE relnamespace = 'audit'::regnamespace
  UNION ALL SELECT 'function', proname, proowner FROM pg_proc WHERE pronamespace = 'audit'::regnamespace
) o (what, name, owner) WHERE pg_get_userbyid(owner) <> %s
"""
_TRIGGERS = """
SELECT c.relname || '.' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'audit'::regnamespace AND NOT t.tgisinternal AND t.tgenabled = 'A'
"""
_ALWAYS = {
    "entry.seal_entry",
    "entry.refuse_change",
    "seal.refuse_change",
    "disclosure.check_disclosure",
    "disclosure.refuse_change",
    "disclosure.refuse_deletion",
    "head.refuse_change",
    "head.refuse_step_back",
}
_WANTED = {
    ("schema", "USAGE"),
    *((table, "SELECT") for table in ("entry", "seal", "head", "disclosure", "reading")),
    ("entry.body", "INSERT"),
    *((f"disclosure.{column}", "INSERT") for column in ("entry_id", "field", "salt", "value")),
    *((f"reading.{column}", "INSERT") for column in ("reader", "hour")),
}
_STRONG = """
SELECT r.rolname FROM pg_roles r WHERE r.rolname = ANY(%s) AND (
  r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
  OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid
             AND m.roleid NOT IN ('pg_monitor'::regrole, 'pg_signal_backend'::regrole))
  OR has_schema_privilege(r.oid, 'public', 'CREATE') OR has_database_privilege(r.oid, current_database(), 'CREATE'))
"""


def grant_runtime_rights(connection: BaseDatabaseWrapper) -> None:
    """Give web and worker their rights on the portal's tables. Raises ImproperlyConfigured, in sentences."""
    with transaction.atomic(using=connection.alias):
        _grant(connection)
        found = problems(connection)
    if found:
        raise ImproperlyConfigured(" ".join(found))


def problems(connection: BaseDatabaseWrapper) -> list[str]:
    """What is not as it should be around the record, in sentences; empty when all is well."""
    others = _rows(connection, _OWNED_BY_OTHERS, OWNER_ROLE)
    wrong = [
        *_wrong_rights(set(_rows(connection, _RIGHTS))),
        *(f"The {what} of the record must belong to {OWNER_ROLE}." for (what,) in others),
    ]
    always = {name for (name,) in _rows(connection, _TRIGGERS)}
    wrong += [f"The trigger audit.{name} is missing or not ENABLE ALWAYS." for name in sorted(_ALWAYS - always)]
    for (role,) in _rows(connection, _STRONG, [WEB_ROLE, WORKER_ROLE]):
        wrong.append(
            f"The database role {role} must be a plain login: no attributes, no membership of roles but pg_monitor "
            "and pg_signal_backend, no right to create in the portal's database."
        )
    ((prepared,),) = _rows(connection, "SELECT current_setting('max_prepared_transactions')")
    if prepared != "0":
        wrong.append(
            "max_prepared_transactions must be 0: a prepared transaction could lock the record for everybody, "
            "with nobody to disconnect."
        )
    return wrong


def _grant(connection: BaseDatabaseWrapper) -> None:
    found = [(str(name), kind) for name, kind in _rows(connection, _TABLES)]
    tables = {name for name, kind in found if kind != "S"} - {_ONLY_READ}
    sequences = {name for name, kind in found if kind == "S"}
    queue = {name for name in tables | sequences if name.startswith(QUEUE_TABLES)}
    grants = {name for name in tables | sequences if name.startswith((GRANT_TABLES, SIGNED_TABLES))}
    once = tables & set(_WRITTEN_ONCE)
    closed = queue | grants
    web, worker, public = sql.Identifier(WEB_ROLE), sql.Identifier(WORKER_ROLE), sql.SQL("PUBLIC")
    for statement, names, role in (
        (_REVOKE, closed, web),
        (_REVOKE, queue, public),
        (_GRANT_TABLES, tables - closed, web),
        (_REVOKE, once, worker),
        (_GRANT_TABLES, tables - once, worker),
        (_GRANT_ADDING, once, worker),
        (_GRANT_SEQUENCES, sequences - closed, web),
        (_GRANT_SEQUENCES, sequences, worker),
        (_GRANT_READING, {_ONLY_READ}, web),
        (_GRANT_READING, {_ONLY_READ}, worker),
        (_GRANT_READING, grants & tables, web),
        (_GRANT_ENDING, tables & {_ENDED_BY_WEB}, web),
    ):
        if names:
            listed = sql.SQL(", ").join(sql.Identifier("public", name) for name in sorted(names))
            with connection.cursor() as cursor:
                cursor.execute(statement.format(names=listed, role=role))


def _wrong_rights(held: set[tuple[str, str, str]]) -> Iterator[str]:
    wanted = {(role, what, right) for role in (WEB_ROLE, WORKER_ROLE) for what, right in _WANTED}
    for role, what, right in sorted(held - wanted):
        yield f"{role} holds {right} on {what} of the record. Take it away: nobody may more than add and read."
    for role, what, right in sorted(wanted - held):
        yield f"{role} lacks {right} on {what} of the record."


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
