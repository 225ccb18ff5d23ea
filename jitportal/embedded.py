"""PostgreSQL servers of our own for the demo and the tests, from the binaries of a wheel.

Passwords (SCRAM) for everybody but the local superuser, who is whoever started the server or runs it.
The folder: `data/` (the cluster), `conf/`, `socket/`, `port`, `postgresql.log`.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from jitportal.embedded_install import (
    EmbeddedError,
    ServerUser,
    binaries,
    digest,
    own_folder,
    place_for,
    psql,
    server_user,
)
from jitportal.embedded_processes import cluster_name, dies_with_us, end_cluster

HOST = "127.0.0.1"
SUPERUSER = "postgres"
_START_SECONDS = 60.0
# sockaddr_un holds 107 bytes; the socket is <folder>/.s.PGSQL.<port>.
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535")

_HBA = """\
local all postgres peer map=ours
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""
_SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "200",
    "max_prepared_transactions": "0",
    # Nobody replicates from these servers, and tables filled where they are made then need no log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "logging_collector": "off",
}
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "autovacuum_naptime": "10min",
}


@dataclass
class Cluster:
    """One server. `fast` gives up durability, for tests; `settings` go over the defaults.

    Start it from the main thread: where setpriv exists the server is told to stop when the starting thread dies.
    """

    folder: Path
    version: int = 18
    fast: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    host = HOST

    @property
    def port(self) -> int:
        """The TCP port, chosen at the first start and kept while it is free."""
        return int((self.folder / "port").read_text())

    @property
    def psql(self) -> Path:
        """The client that came with the server."""
        return psql(self.version)

    @property
    def log(self) -> Path:
        return self.folder / "postgresql.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def superuser_conninfo(self, database: str = "postgres") -> str:
        """A libpq string over the local socket; works for whoever started the server, without a password."""
        return make_conninfo(host=str(self._socket_folder()), port=self.port, user=SUPERUSER, dbname=database)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection as the superuser."""
        return psycopg.connect(self.superuser_conninfo(database), autocommit=True, connect_timeout=10)

    def start(self) -> None:
        """Start the server, creating its cluster if there is none; returns when it answers. Raises EmbeddedError."""
        if self.running:
            return
        user = server_user()
        place = place_for(self.folder, user, discard=_discard)
        end_cluster(place)
        bin_folder = binaries(self.version, user)
        if not (place / "data" / "PG_VERSION").exists():
            self._create_cluster(place, bin_folder, user)
        own_folder(self._socket_folder(), uid=user.uid, gid=user.gid)
        self._write_configuration(place, user)
        self._launch(place, bin_folder, user)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Fast shutdown: sessions are cut, nothing committed is lost. Stopping twice is fine."""
        if self.folder.exists():
            end_cluster(self.folder.resolve())
        if self._process is not None:
            self._process.wait()
            self._process = None

    def destroy(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        real = self.folder.resolve()
        shutil.rmtree(self._socket_folder(), ignore_errors=True)
        shutil.rmtree(real, ignore_errors=True)
        if self.folder.is_symlink():
            self.folder.unlink()

    def _socket_folder(self) -> Path:
        inside = self.folder.resolve() / "socket"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER:
            return inside
        return Path(tempfile.gettempdir()) / f"jitportal-{digest(str(inside))}"

    def _create_cluster(self, place: Path, bin_folder: Path, user: ServerUser) -> None:
        fresh = place / "data.new"  # renamed when whole, so that a killed start leaves nothing half made
        shutil.rmtree(fresh, ignore_errors=True)
        own_folder(fresh, uid=user.uid, gid=user.gid)
        # Version 17 has a UTF-8 locale of its own; before, C is the only one that every machine has.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.version >= 17 else []
        command: list[str | Path] = [
            bin_folder / "initdb",
            "-D",
            fresh,
            "-U",
            SUPERUSER,
            "--encoding=UTF8",
            "--locale=C",
        ]
        command += [*locale, "--auth-local=peer", "--auth-host=reject", "--no-instructions"]
        command += ["--no-sync"] if self.fast else []
        done = user.run(*command, env={"PATH": os.defpath, "LC_ALL": "C"})
        if done.returncode != 0:
            raise EmbeddedError(f"initdb of PostgreSQL {self.version} failed in {fresh}:\n{done.stdout}")
        fresh.rename(place / "data")

    def _write_configuration(self, place: Path, user: ServerUser) -> None:
        (place / "port").write_text(str(_free_port(place / "port")))
        conf = place / "conf"
        conf.mkdir(exist_ok=True)
        starter = psutil.Process().username()
        names = sorted({user.name, starter})
        settings = {
            **_SETTINGS,
            **(_FAST if self.fast else {}),
            **self.settings,
            "port": str(self.port),
            "unix_socket_directories": str(self._socket_folder()),
            "cluster_name": cluster_name(place),
            "hba_file": str(conf / "pg_hba.conf"),
            "ident_file": str(conf / "pg_ident.conf"),
        }
        (conf / "pg_hba.conf").write_text(_HBA)
        (conf / "pg_ident.conf").write_text("".join(f'ours "{name}" {SUPERUSER}\n' for name in names))
        quoted = {key: value.replace("'", "''") for key, value in settings.items()}
        (conf / "postgresql.conf").write_text("".join(f"{key} = '{value}'\n" for key, value in quoted.items()))
        for path in (conf, *conf.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _launch(self, place: Path, bin_folder: Path, user: ServerUser) -> None:
        # pg_ctl would detach; a child of ours is waited for.
        command = [bin_folder / "postgres", "-D", place / "data", "-c", f"config_file={place / 'conf/postgresql.conf'}"]
        with (place / "postgresql.log").open("ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self._process = subprocess.Popen(  # noqa: S603 - no shell, fixed programs
                [str(part) for part in (*dies_with_us("INT"), *command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C in the terminal is for the one who started us
                user=user.uid if user.switch else None,
                group=user.gid if user.switch else None,
                extra_groups=[] if user.switch else None,
                umask=0o077,
            )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if self.running and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                answer = f"it did not answer within {_START_SECONDS:.0f} s" if self.running else "it ended at once"
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                self.stop()
                raise EmbeddedError(
                    f"PostgreSQL {self.version} in {self.folder} did not start: {answer} ({error}). "
                    f"Its log {self.log} ends with:\n{tail}"
                ) from error


def new_password() -> str:
    """A password of 32 characters that needs no quoting in a URL."""
    return secrets.token_urlsafe(24)


def _discard(place: Path) -> None:
    end_cluster(place)
    shutil.rmtree(place)


def _free_port(remembered: Path) -> int:
    """The remembered port while it is free, else any free one."""
    wanted = int(remembered.read_text()) if remembered.exists() and remembered.read_text().isdigit() else 0
    for port in dict.fromkeys((wanted, 0)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError("No free TCP port on 127.0.0.1.")
