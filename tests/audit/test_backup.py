"""A dump of the portal's database, restored elsewhere, holds the same record, by the commands of docs/operate.md."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import transaction
from psycopg import sql

from apps.audit import services as audit
from apps.audit.actions import Action
from jitportal.embedded_install import installed
from jitportal.portal_database import WORKER
from tests.support.portal import DATABASE, PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
COPY = "restored"


def run(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(installed()[max(installed())] / program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def audit_verify(portal: PortalDatabase, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = urlsplit(portal.urls[WORKER])._replace(path=f"/{database}").geturl()
    environment = {**os.environ, **portal.environment, "DATABASE_URL": url}
    command = [sys.executable, "-W", "ignore", "manage.py", "audit_verify", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_restore_when_it_is_a_whole_dump(portal_database: PortalDatabase, tmp_path: Path) -> None:
    start = audit.head().size
    with transaction.atomic():
        for n in range(3):
            audit.record(Action.REQUEST_SUBMITTED, actor="user:a", subject=f"request:{n}", disclosed={"reason": f"{n}"})
    head, dump = audit.head(), str(tmp_path / "jitportal.dump")
    superuser = portal_database.cluster.superuser_conninfo
    with portal_database.cluster.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(COPY)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER jitportal_owner").format(sql.Identifier(COPY)))
    try:
        run("pg_dump", "--format=custom", f"--file={dump}", superuser(DATABASE))
        run("pg_restore", "--exit-on-error", f"--dbname={superuser(COPY)}", dump)
        there = [f"--from-index={start}", f"--checkpoint={head.size}:{head.hash.hex()}"]

        whole = audit_verify(portal_database, COPY, *there)
        assert whole.returncode == 0, whole.stdout + whole.stderr
        assert f"3 entries verified, head {head.size}:{head.hash.hex()}" in whole.stdout

        with transaction.atomic():
            audit.record(Action.REQUEST_CANCELLED, actor="user:a", subject="request:0")
        now = audit.head()
        behind = audit_verify(portal_database, COPY, f"--checkpoint={now.size}:{now.hash.hex()}")
        assert behind.returncode == 1
        assert "it was cut short" in behind.stdout
    finally:
        with portal_database.cluster.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(COPY)))
