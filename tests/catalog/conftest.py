"""A database of the catalog, on a server whose engine answers from memory. Imports wait until Django is set up."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from apps.catalog.models import Database
    from tests.catalog.fakes import FakeEngine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> "FakeEngine":
    from apps.catalog import targets
    from tests.catalog.fakes import FakeEngine

    fake = FakeEngine()
    monkeypatch.setitem(targets._ENGINES, "postgresql", fake)
    return fake


@pytest.fixture
def database(db: None) -> "Database":
    """`crm` on a server with a secret."""
    from apps.catalog import services

    server = services.add_server(actor="operator", name="eu-1", host="db.example.com")
    services.set_manager_secret(actor="operator", server_id=server.pk, secret="a-long-random-password")
    return services.add_database(
        actor="operator", server_id=server.pk, slug="crm", datname="crm", environment="staging"
    )
