"""No time that a web process writes keeps clock and workers from reading on: Python has no infinite ones, and no year
below 1 or above 9999. One such row would have kept ends, reconciliations or revocations from happening.
"""

from django.db import migrations

TABLES = ("catalog_%", "access_requests_%", "accounts_%", "approvals_%", "console_%", "policies_%", "notifications_%")
_EACH = """
DO $$
DECLARE found record;
BEGIN
  FOR found IN
    SELECT c.oid::regclass AS name, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname LIKE ANY (ARRAY[{tables}])
      AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'timestamptz'::regtype
  LOOP
    {act}
  END LOOP;
END $$
"""
_ADD = (
    "EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%I BETWEEN ''1900-01-01'' AND ''9000-01-01'')',"
    " found.name, found.attname || '_can_be_read', found.attname);"
)
_DROP = "EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.name, found.attname || '_can_be_read');"


def _for_each(act: str) -> str:
    return _EACH.format(tables=", ".join(f"'{name}'" for name in TABLES), act=act)


class Migration(migrations.Migration):
    dependencies = [
        ("grants", "0010_what_waits"),
        ("accounts", "0003_device_sign_in"),
        ("approvals", "0002_not_a_second_longer"),
        ("catalog", "0007_console"),
        ("console", "0002_statement_started"),
        ("notifications", "0001_initial"),
        ("policies", "0002_unmask_classes"),
    ]

    operations = [migrations.RunSQL(_for_each(_ADD), _for_each(_DROP))]
