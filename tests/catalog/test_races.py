"""Two real connections at once: what is said of a column or a table must not be lost to a reading of the tables."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from apps.catalog import row_filters, services, sync
from apps.catalog.models import Column, Database, StandingFilter, Table
from apps.core.errors import PortalError
from tests.catalog.fakes import FakeEngine
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)

_WAITS = "SELECT count(*) > 0 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"


class Other:
    """Somebody on another connection, who acts before a function of ours goes on for the first time."""

    def __init__(self, portal: PortalDatabase, patch: pytest.MonkeyPatch) -> None:
        self._portal, self._patch = portal, patch
        self._threads: list[threading.Thread] = []
        self._refusals: list[str] = []

    def acts_before(self, module: Any, name: str, act: Callable[[], object]) -> None:
        real = getattr(module, name)

        def patched(*args: Any, **kwargs: Any) -> Any:
            if not self._threads:
                self._start(act)
            return real(*args, **kwargs)

        self._patch.setattr(module, name, patched)

    def end(self) -> list[str]:
        """What they were refused."""
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "Somebody waits for ever."
        return self._refusals

    def _start(self, act: Callable[[], object]) -> None:
        """Until they are done, or wait for us."""
        thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._threads.append(thread)
        thread.start()
        with self._portal.superuser() as superuser:
            while thread.is_alive() and superuser.execute(_WAITS).fetchone() == (False,):
                pass

    def _run(self, act: Callable[[], object]) -> None:
        try:
            act()
        except PortalError as refusal:
            self._refusals.append(refusal.sentence)
        finally:
            connections.close_all()


@pytest.fixture
def other(portal_database: PortalDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    other = Other(portal_database, monkeypatch)
    yield other
    other.end()


@pytest.fixture
def orders(database: Database, engine: FakeEngine) -> Database:
    engine.tables = {"sales.orders": ["id", "email", "note"]}
    sync.run_sync(database.pk)
    return database


def classify(column: str, level: str) -> None:
    services.classify(actor="operator", column_id=Column.objects.get(name=column).pk, classification=level)


def test_classify_when_the_tables_are_being_read(orders: Database, engine: FakeEngine, other: Other) -> None:
    """`note` takes the place of a confidential column; just then somebody says that it is restricted."""
    classify("email", "confidential")
    engine.tables = {"sales.orders": ["id", "note"]}
    other.acts_before(sync, "compare", lambda: classify("note", "restricted"))
    sync.run_sync(orders.pk)
    assert other.end() == []
    assert Column.objects.get(name="note").classification == "restricted"


def test_pause_table_when_the_tables_are_being_read(orders: Database, engine: FakeEngine, other: Other) -> None:
    """It has another name by now, under which nobody would know that it was paused."""
    pk = Table.objects.get().pk
    engine.tables = {"sales.bills": engine.tables["sales.orders"]}
    other.acts_before(
        sync, "compare", lambda: services.pause_table(actor="operator", table_id=pk, reason="A new column")
    )
    sync.run_sync(orders.pk)
    assert other.end() == ["sales.orders is gone from crm: it was there once, or has another name now."]


def test_add_filter_when_its_column_is_being_classified(orders: Database, other: Other) -> None:
    """A filter on a masked column would tell its values: one of the two is refused."""
    other.acts_before(row_filters.clock, "now", lambda: classify("note", "restricted"))
    table = Table.objects.get()
    services.add_filter(actor="operator", table_id=table.pk, column="note", operator="=", values=["x"])
    (refusal,) = other.end()
    assert "Take the filter away first" in refusal
    assert StandingFilter.objects.exists()
    assert not Column.objects.masked().exists()
