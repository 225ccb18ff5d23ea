"""The life cycle as PostgreSQL enforces it; tests compare it with apps.grants.states.TRANSITIONS."""

from django.db import migrations

from apps.core.states import drop_trigger_sql, trigger_sql

TABLE = "grants_grant"
TRANSITIONS = {
    "queued": frozenset({"active", "ending", "failed"}),
    "active": frozenset({"ending"}),
    "ending": frozenset({"ended", "failed"}),
}


class Migration(migrations.Migration):
    dependencies = [("grants", "0001_initial")]

    operations = [
        migrations.RunSQL(trigger_sql(TABLE, TRANSITIONS, initial="queued"), drop_trigger_sql(TABLE)),
    ]
