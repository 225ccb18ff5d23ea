"""What a worker finds on a server, and the clock that must not be off."""

from datetime import timedelta

import pytest

from apps.catalog import services
from apps.catalog.models import Database, Server
from apps.catalog.preflight import run_preflight
from apps.core.errors import NotFound
from apps.engines.base import Finding, Severity, TargetUnavailable
from tests.catalog.fakes import FakeEngine
from tests.catalog.said import last_entry

pytestmark = pytest.mark.django_db

GOOD = Finding(Severity.OK, "All is well.")
BAD = Finding(Severity.ERROR, "The masker lacks USAGE on sales.", "GRANT USAGE ON SCHEMA sales TO jitportal_masker;")
SO_SO = Finding(Severity.WARNING, "An older minor version.")


def look(database: Database) -> Server:
    run_preflight(database.server_id)
    return Server.objects.get(pk=database.server_id)


def test_run_preflight_when_something_is_missing(database: Database, engine: FakeEngine) -> None:
    engine.findings = [GOOD, SO_SO, BAD]
    server = look(database)
    assert engine.asked == [["crm"]]
    assert [finding["severity"] for finding in server.findings] == ["error", "warning", "ok"]  # worst first
    assert server.findings[0] == {"severity": "error", "sentence": BAD.sentence, "fix": BAD.fix}
    assert server.checked_at is not None
    assert server.skew_seconds == pytest.approx(0, abs=5)
    entry = last_entry()
    assert (entry.action, entry.actor, entry.subject) == ("server.preflighted", "worker", server.audit_id)
    assert (entry.facts["errors"], entry.facts["warnings"]) == (1, 1)
    assert entry.texts == {"findings": f"{BAD.sentence}\n{SO_SO.sentence}"}


def test_run_preflight_when_the_outcome_is_the_same(database: Database, engine: FakeEngine) -> None:
    """It is recorded when it differs, or when somebody asked."""
    engine.findings = [SO_SO]
    first, entry = look(database), last_entry()
    second = look(database)
    assert first.checked_at is not None
    assert second.checked_at is not None
    assert second.checked_at > first.checked_at
    assert last_entry() == entry
    services.want_preflight(actor="operator", server_id=database.server_id)
    assert look(database).check_wanted_at is None
    asked = last_entry()
    assert asked != entry
    engine.findings = [GOOD]
    look(database)
    assert last_entry().texts == {}
    assert last_entry() != asked


@pytest.mark.parametrize(("seconds", "where"), [(42, "ahead of"), (-42, "behind")])
def test_run_preflight_when_the_clock_is_off(database: Database, engine: FakeEngine, seconds: int, where: str) -> None:
    engine.findings, engine.skew = [GOOD], timedelta(seconds=seconds)
    server = look(database)
    assert server.findings[0]["severity"] == "error"
    assert where in server.findings[0]["sentence"]
    assert server.skew_seconds == pytest.approx(seconds, abs=5)
    assert last_entry().facts["errors"] == 1


def test_run_preflight_when_the_clock_is_a_little_off(database: Database, engine: FakeEngine) -> None:
    engine.findings, engine.skew = [GOOD], timedelta(seconds=20)
    assert [finding["severity"] for finding in look(database).findings] == ["ok"]


def test_run_preflight_when_nobody_answers(database: Database, engine: FakeEngine) -> None:
    engine.error = TargetUnavailable("Nobody answered at db.example.com.")
    server = look(database)
    assert server.findings == [{"severity": "error", "sentence": "Nobody answered at db.example.com.", "fix": ""}]
    assert server.skew_seconds is None
    assert last_entry().facts == {"errors": 1, "warnings": 0, "skew_ms": None}


def test_run_preflight_when_there_is_no_secret(database: Database, engine: FakeEngine) -> None:
    services.change_server(actor="operator", server_id=database.server_id, port=6432)
    server = look(database)
    assert "no password for its manager" in server.findings[0]["sentence"]
    assert engine.asked == []


def test_run_preflight_when_the_server_moved_meanwhile(
    database: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is about another server: it is dropped, and the wish stays."""
    services.want_preflight(actor="operator", server_id=database.server_id)

    def preflight(*args: object) -> list[Finding]:
        services.change_server(actor="operator", server_id=database.server_id, host="other.example.com")
        return [GOOD]

    monkeypatch.setattr(engine, "preflight", preflight)
    server = look(database)
    assert (server.findings, server.checked_at) == ([], None)
    assert server.check_wanted_at is not None


def test_run_preflight_when_there_is_no_such_server() -> None:
    with pytest.raises(NotFound):
        run_preflight("nothing")
