from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("grants", "0004_end_causes")]

    operations = [
        migrations.AddField("grant", "drift", models.TextField(blank=True)),
        migrations.AddField("grant", "drift_checked_at", models.DateTimeField(blank=True, null=True)),
    ]
