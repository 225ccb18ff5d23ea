from django.db import migrations, models

CLIENT_ID = 'jit'
SCOPES = ['read', 'request', 'approve', 'use', 'audit']


def add_client(apps, schema_editor):
    # Public: what is installed on every laptop keeps no secret. It can use device codes and nothing else.
    Client = apps.get_model('allauth_idp_oidc', 'Client')
    Client.objects.using(schema_editor.connection.alias).update_or_create(
        id=CLIENT_ID,
        defaults={
            'name': 'jit command',
            'secret': '!',
            'type': 'public',
            'scopes': '\n'.join(SCOPES),
            'default_scopes': '\n'.join(SCOPES[:4]),
            'grant_types': 'urn:ietf:params:oauth:grant-type:device_code',
            'response_types': '',
            'redirect_uris': '',
        },
    )


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_token_scope_use'),
        ('allauth_idp_oidc', '0003_client_allow_uri_wildcards'),
    ]

    operations = [
        migrations.CreateModel(
            name='Passing',
            fields=[
                ('key', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('value', models.TextField()),
                ('expires_at', models.DateTimeField(db_index=True)),
            ],
            options={
                'verbose_name': 'passing fact',
            },
        ),
        migrations.RunPython(add_client, migrations.RunPython.noop),
    ]
