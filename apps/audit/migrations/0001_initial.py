from pathlib import Path

from django.db import migrations, models


class Migration(migrations.Migration):
    """The record. There is no way back: it outlives the code that wrote it."""

    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
            ],
            options={"verbose_name_plural": "entries", "db_table": '"audit"."entry"', "managed": False, "default_permissions": ("view",)},
        ),
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("index", models.BigIntegerField(primary_key=True, serialize=False)),
                ("recorded_at", models.DateTimeField()),
                ("recorded_by", models.TextField()),
                ("hash", models.BinaryField()),
                ("action", models.TextField()),
                ("actor", models.TextField()),
                ("subject", models.TextField()),
            ],
            options={"db_table": '"audit"."seal"', "managed": False, "default_permissions": ("view",)},
        ),
        migrations.CreateModel(
            name="Disclosure",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "entry_id", "field", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("field", models.TextField()),
                ("salt", models.BinaryField()),
                ("value", models.TextField()),
            ],
            options={"db_table": '"audit"."disclosure"', "managed": False, "default_permissions": ("view",)},
        ),
    ]
