from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0003_suggested_at'),
    ]

    operations = [
        # It made the planner look it up for each table of a database instead of reading the columns once.
        migrations.AlterField(
            model_name='column',
            name='classification',
            field=models.CharField(blank=True, choices=[('public', 'public'), ('internal', 'internal'), ('confidential', 'confidential'), ('restricted', 'restricted')], max_length=16),
        ),
    ]
