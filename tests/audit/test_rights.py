"""What is found, and refused, when the rights around the record are not as they should be."""

from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, transaction

from apps.audit.rights import grant_runtime_rights, problems
from jitportal.portal_database import OWNER, WEB
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@pytest.fixture
def in_vain() -> Iterator[None]:
    """What the owner does in the test has not happened in the end."""
    with transaction.atomic(using="owner"):
        yield
        transaction.set_rollback(True, using="owner")


def run(statement: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement)


def test_problems_when_freshly_migrated_are_none() -> None:
    assert problems(connections["owner"]) == []


@pytest.mark.usefixtures("in_vain")
@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("GRANT UPDATE ON audit.seal TO jitportal_web", "jitportal_web holds UPDATE on seal"),
        ("GRANT INSERT ON audit.entry TO jitportal_worker", "jitportal_worker holds INSERT on entry"),
        ("GRANT INSERT (id) ON audit.entry TO jitportal_web", "jitportal_web holds INSERT on entry.id"),
        ("GRANT SELECT ON audit.disclosure TO PUBLIC", "PUBLIC holds SELECT on disclosure"),
        ("GRANT CREATE ON SCHEMA audit TO jitportal_web", "jitportal_web holds CREATE on schema"),
        ("GRANT EXECUTE ON FUNCTION audit.seal_entry() TO PUBLIC", "PUBLIC holds EXECUTE on seal_entry()"),
        ("GRANT USAGE ON SEQUENCE audit.entry_id_seq TO jitportal_web", "jitportal_web holds USAGE on entry_id_seq"),
        ("REVOKE INSERT (body) ON audit.entry FROM jitportal_worker", "jitportal_worker lacks INSERT on entry.body"),
        ("ALTER TABLE audit.entry DISABLE TRIGGER seal_entry", "audit.entry.seal_entry is missing"),
        ("ALTER TABLE audit.seal ENABLE TRIGGER refuse_change", "audit.seal.refuse_change is missing"),
        ("DROP TRIGGER check_disclosure ON audit.disclosure", "audit.disclosure.check_disclosure is missing"),
        ("GRANT CREATE ON DATABASE jitportal TO jitportal_web", "jitportal_web must be a plain login"),
    ],
)
def test_grant_runtime_rights_when_the_record_is_open_refuses(statement: str, sentence: str) -> None:
    run(statement)
    with pytest.raises(ImproperlyConfigured, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        grant_runtime_rights(connections["owner"])


@pytest.mark.usefixtures("in_vain")
def test_grant_runtime_rights_when_a_table_is_new_gives_both_roles_theirs() -> None:
    run("CREATE TABLE public.novelty (id serial); CREATE TABLE public.django_q_novelty (id serial)")
    run("GRANT ALL ON public.django_q_novelty TO jitportal_web, PUBLIC")
    grant_runtime_rights(connections["owner"])
    with connections["owner"].cursor() as cursor:
        cursor.execute("""
            SELECT r, t, has_table_privilege(r, t, 'SELECT') AND has_table_privilege(r, t, 'DELETE')
                   AND has_sequence_privilege(r, t || '_id_seq', 'USAGE'),
                   has_table_privilege(r, t, 'SELECT') OR has_table_privilege(r, t, 'TRUNCATE')
                   OR has_sequence_privilege(r, t || '_id_seq', 'SELECT')
            FROM unnest(ARRAY['jitportal_web', 'jitportal_worker']) r,
                 unnest(ARRAY['novelty', 'django_q_novelty']) t""")
        held = {(role, table): (every, some) for role, table, every, some in cursor.fetchall()}
    assert held == {
        ("jitportal_web", "novelty"): (True, True),
        ("jitportal_web", "django_q_novelty"): (False, False),
        ("jitportal_worker", "novelty"): (True, True),
        ("jitportal_worker", "django_q_novelty"): (True, True),
    }


def test_migrate_when_run_again_changes_nothing() -> None:
    call_command("migrate", database="owner", verbosity=0)
    assert problems(connections["owner"]) == []


def test_problems_when_a_role_was_made_strong_name_it(portal_database: PortalDatabase) -> None:
    with portal_database.superuser() as superuser:
        superuser.execute("GRANT jitportal_owner TO jitportal_worker; ALTER ROLE jitportal_web CREATEROLE")
        try:
            found = "\n".join(problems(connections["owner"]))
        finally:
            superuser.execute("REVOKE jitportal_owner FROM jitportal_worker; ALTER ROLE jitportal_web NOCREATEROLE")
    assert "jitportal_web must be a plain login" in found
    assert "jitportal_worker must be a plain login" in found


@pytest.mark.parametrize(
    ("preparation", "role", "sentence"),
    [
        ("ALTER ROLE jitportal_web RENAME TO somebody", OWNER, "jitportal_web do not exist"),
        ("", WEB, "run as jitportal_owner, not as jitportal_web"),
    ],
)
def test_first_migration_when_roles_are_missing_or_wrong_says_so(
    portal_database: PortalDatabase, preparation: str, role: str, sentence: str
) -> None:
    script = settings.BASE_DIR / "apps/audit/migrations/0001_initial.sql"
    with portal_database.superuser() as superuser, superuser.transaction(force_rollback=True):
        superuser.execute(f"{preparation}; SET LOCAL ROLE {role}".encode())
        with pytest.raises(psycopg.errors.RaiseException, match=sentence):
            superuser.execute(script.read_bytes())
