from pathlib import Path

from django.db import migrations


class Migration(migrations.Migration):
    """There is no way back: what was sealed stays as it is."""

    dependencies = [("audit", "0005_verification_run")]
    operations = [migrations.RunSQL(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))]
