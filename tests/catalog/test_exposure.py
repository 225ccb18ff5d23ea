"""What everybody may reach, and functions that notify."""

import pytest

from apps.catalog import services
from apps.catalog.exposure import exposures
from apps.catalog.models import Database
from apps.catalog.preflight import run_preflight
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.engines.base import Exposure, TargetUnavailable
from tests.catalog.fakes import FakeEngine
from tests.catalog.said import last_entry
from tests.factories import cast

pytestmark = pytest.mark.django_db

READABLE = Exposure("readable", "Everybody may read a table.", 1, ("table public.notes",), "REVOKE …;")
NOTIFIES = Exposure("notifies", "Functions notify.", 2, ("app.tell()", "app.shout()"))


def look(database: Database) -> Database:
    run_preflight(database.server_id)
    database.refresh_from_db()
    return database


def test_run_preflight_when_something_is_open(database: Database, engine: FakeEngine) -> None:
    engine.exposures = [READABLE, NOTIFIES]
    look(database)
    assert exposures(database) == [READABLE, NOTIFIES]
    assert database.exposure_at is not None
    engine.exposures = []
    assert exposures(look(database)) == []


def test_run_preflight_when_the_exposure_cannot_be_told(database: Database, engine: FakeEngine) -> None:
    """Until it was told once nothing is issued; later what was known stays."""
    engine.exposure_error = TargetUnavailable("It took too long.")
    look(database)
    assert database.exposure_at is None
    database.server.refresh_from_db()
    assert database.server.findings == [
        {"severity": "error", "sentence": "What everybody may reach in crm is unknown: It took too long.", "fix": ""}
    ]
    engine.exposure_error, engine.exposures = None, [READABLE]
    look(database)
    engine.exposure_error = TargetUnavailable("It took too long.")
    assert exposures(look(database)) == [READABLE]
    database.server.refresh_from_db()
    assert [finding["severity"] for finding in database.server.findings] == ["warning"]


def test_accept_notifying_when_a_new_function_comes(database: Database, engine: FakeEngine) -> None:
    assert services.notifying_unaccepted(database) == []
    engine.exposures = [READABLE, NOTIFIES]
    assert services.notifying_unaccepted(look(database)) == ["app.shout()", "app.tell()"]
    assert services.accept_notifying(actor="operator", database_id=database.pk) == ["app.shout()", "app.tell()"]
    entry = last_entry()
    assert (entry.action, entry.subject, entry.facts) == ("notifying.accepted", database.audit_id, {"functions": 2})
    assert entry.texts == {"functions": "app.shout()\napp.tell()"}
    database.refresh_from_db()
    assert services.notifying_unaccepted(database) == []
    with pytest.raises(Conflict, match="no function that notifies waits"):
        services.accept_notifying(actor="operator", database_id=database.pk)
    engine.exposures = [Exposure("notifies", "Functions notify.", 2, ("app.tell()", "app.new()"))]
    assert services.notifying_unaccepted(look(database)) == ["app.new()"]
    services.accept_notifying(actor="operator", database_id=database.pk)
    engine.exposures = [NOTIFIES]  # one that had gone is a new one when it returns
    assert services.notifying_unaccepted(look(database)) == ["app.shout()"]


def test_accept_notifying_when_not_all_are_named(database: Database, engine: FakeEngine) -> None:
    engine.exposures = [Exposure("notifies", "Functions notify.", 103, ("app.tell()",))]
    assert services.notifying_unaccepted(look(database)) == ["app.tell()", "102 more"]
    with pytest.raises(Invalid, match="cannot be accepted by name"):
        services.accept_notifying(actor="operator", database_id=database.pk)


def test_accept_notifying_when_not_a_dba() -> None:
    people = cast()
    with pytest.raises(NotAllowed):
        services.accept_notifying(actor=people.sam, database_id=people.shop.pk)
