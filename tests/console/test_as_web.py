"""The console as the web process runs it: with the rights of its role, and no more."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from apps.console import services as console
from apps.grants import services as grants
from apps.grants.models import Grant
from jitportal.portal_database import WEB
from tests.console.scene import failed, live, names, rows
from tests.factories import Cast
from tests.support.portal import PortalDatabase


@pytest.fixture
def made(people: Cast, portal_database: PortalDatabase) -> Iterator[list[Grant]]:
    one_off = {"statement": "UPDATE stock.products SET title = 'x' WHERE id = -1", "expected_rows": 0}
    change = {"level": "change", "tables": ("stock.products",)}
    found = [live(people, level="export"), live(people, **change), live(people, **change, **one_off)]
    before, direct = dict(connection.settings_dict), settings.DATABASE_DIRECT_URL
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    settings.DATABASE_DIRECT_URL = portal_database.urls[WEB]
    yield found
    settings.DATABASE_DIRECT_URL = direct
    connection.close()
    connection.settings_dict |= before


def test_verbs_work_when_the_web_process_calls_them(people: Cast, made: list[Grant]) -> None:
    export, change, one_off = (grant.pk for grant in made)
    who = people.alice

    assert rows(console.run(actor=who, grant_id=export, sql="SELECT 1")) == [("1",)]
    assert b"".join(console.export(actor=who, grant_id=export, sql="SELECT 1 AS n").content) == b"n\n1\n"
    run = console.begin(actor=who, grant_id=change)
    begun = next(run)
    console.beat(actor=who, transaction_id=begun.transaction)  # type: ignore[attr-defined]
    console.say(actor=who, transaction_id=begun.transaction, do="run", sql="SELECT 2")  # type: ignore[attr-defined]
    console.say(actor=who, transaction_id=begun.transaction, do="commit")  # type: ignore[attr-defined]
    assert [name for name in names(run) if name != "tick"] == ["started", "columns", "rows", "done", "ended"]
    assert names(console.explain(actor=who, grant_id=one_off))[-1] == "done"
    assert names(console.run_approved(actor=who, grant_id=one_off))[-1] == "ended"
    reading = console.run(actor=who, grant_id=export, sql="SELECT pg_sleep(100)")
    console.cancel(actor=who, statement_id=next(reading).statement)  # type: ignore[attr-defined]
    reading.close()
    assert len(console.open_console(actor=who, grant_id=export).history) == 3
    grants.reset_password(actor=who, grant_id=export)
    assert failed(console.run(actor=who, grant_id=export, sql="SELECT nothing")).sqlstate == "42703"
    console.close_lost()
