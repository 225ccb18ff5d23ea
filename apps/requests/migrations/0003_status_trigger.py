"""The life cycle as PostgreSQL enforces it; tests compare it with apps.requests.states.TRANSITIONS."""

from django.db import migrations

from apps.core.states import drop_trigger_sql, trigger_sql

TABLE = "access_requests_accessrequest"
TRANSITIONS = {
    "pending": frozenset({"approved", "denied", "cancelled", "lapsed"}),
    "approved": frozenset({"cancelled", "denied"}),
}


class Migration(migrations.Migration):
    dependencies = [("access_requests", "0002_initial")]

    operations = [
        migrations.RunSQL(trigger_sql(TABLE, TRANSITIONS, initial="pending"), drop_trigger_sql(TABLE)),
    ]
