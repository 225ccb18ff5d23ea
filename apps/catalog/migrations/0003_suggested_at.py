from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0002_masking'),
    ]

    operations = [
        migrations.AddField(
            model_name='database',
            name='suggested_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
