"""manage.py server_bootstrap"""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.catalog import services
from apps.catalog.models import Database, Server
from tests.catalog.said import last_entry

pytestmark = pytest.mark.django_db


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("server_bootstrap", *arguments, stdout=out)
    return out.getvalue()


def test_server_bootstrap_when_called_again(database: Database) -> None:
    first = printed("eu-1")
    server = Server.objects.get()
    assert server.manager_verifier in first
    assert printed("eu-1") == first
    assert printed("eu-1", "--new-password") != first
    assert (last_entry().action, last_entry().actor) == ("server.changed", "operator")


def test_server_bootstrap_when_refused(db: None) -> None:
    with pytest.raises(CommandError, match="no server called eu-1; known: none"):
        printed("eu-1")
    services.add_server(actor="operator", name="eu-1", host="db.example.com")
    with pytest.raises(CommandError, match="no database here yet"):
        printed("eu-1")
