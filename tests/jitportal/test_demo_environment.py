"""The demo's env files: each process finds what it may hold, and nothing else (design §7)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jitportal.demo.environment import Environment, Ports, is_free

ROOT = Path(__file__).parents[2]
LOOK = (
    "import json, os; from jitportal import settings;"
    "print(json.dumps({'user': settings.DATABASES['default']['USER'], 'owner': 'owner' in settings.DATABASES,"
    "'signing': bool(settings.SIGNING_KEY_FILE),"
    "'ring': bool(settings.GRANT_PASSWORD_RING), 'manager': bool(settings.MANAGER_PRIVATE_KEY),"
    "'sso': bool(settings.SOCIALACCOUNT_PROVIDERS['openid_connect']['APPS'][0]['secret']),"
    "'port': settings.DATABASES['default']['PORT'], 'url': settings.BASE_URL}))"
)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    environment = Environment(tmp_path / "data")
    environment.write(Ports(web=8123, portal_database=54321))
    return environment


def seen_by(environment: Environment, process: str) -> dict[str, object]:
    own = environment.of_process(process)
    own = {key: value for key, value in own.items() if key != "JITPORTAL_TESTING"}
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("process", "user", "held"),
    [
        ("web", "jitportal_web", {"ring", "sso"}),
        ("worker", "jitportal_worker", {"ring", "manager", "signing"}),
        ("clock", "jitportal_worker", set()),
        ("operator", "jitportal_worker", {"owner", "ring", "manager", "signing"}),
    ],
)
def test_write_when_a_process_reads_it(environment: Environment, process: str, user: str, held: set[str]) -> None:
    seen = seen_by(environment, process)
    assert seen["user"] == user
    assert {name for name in ("owner", "ring", "manager", "signing", "sso") if seen[name]} == held
    assert (seen["port"], seen["url"]) == (54321, "http://127.0.0.1:8123")


def test_write_when_others_look_at_the_files(environment: Environment) -> None:
    files = [path for path in environment.folder.iterdir() if path.is_file()]
    assert len(files) == 7
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_environment_when_it_is_made_again_remembers(environment: Environment) -> None:
    assert Environment(environment.folder).secrets == environment.secrets
    assert "8123" in (environment.folder / "common.env").read_text()


def test_of_process_when_our_own_environment_knows_more(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgres://owner")
    monkeypatch.setenv("JITPORTAL_MANAGER_PRIVATE_KEY", "private")
    monkeypatch.setenv("JITPORTAL_LOG_LEVEL", "DEBUG")
    given = environment.of_process("web")
    assert not {"DATABASE_OWNER_URL", "JITPORTAL_MANAGER_PRIVATE_KEY"} & given.keys()
    assert (given["JITPORTAL_LOG_LEVEL"], given["JITPORTAL_PROCESS"]) == ("DEBUG", "web")
    assert given["PATH"] == os.environ["PATH"]


def test_is_free_when_somebody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free(taken.getsockname()[1])
