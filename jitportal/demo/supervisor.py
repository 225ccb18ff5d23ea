"""`manage.py demo`: everything on one machine, in the foreground, until Ctrl-C."""

import fcntl
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from jitportal.demo import shop
from jitportal.demo.environment import CLIENT_ID, DATABASE, Environment, Ports, is_free
from jitportal.demo.people import PEOPLE
from jitportal.demo.processes import Family, Program, end_leftovers
from jitportal.demo.terminal import Terminal
from jitportal.embedded import HOST, Cluster
from jitportal.portal_database import OWNER, WEB, WORKER, prepare

ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 180.0


class DemoError(Exception):
    """The demo cannot run; the message is a sentence with what to do."""


class Demo:
    """One run of the demo on one folder."""

    def __init__(self, folder: Path, port: int, terminal: Terminal) -> None:
        self.environment = Environment(folder)
        self.port = port
        self.terminal = terminal
        self.family = Family(folder, terminal)
        self.portal = Cluster(folder / "portal-database")
        self.target = target_cluster(folder)

    def run(self) -> None:
        """Start everything, watch over it, and stop it all on Ctrl-C or SIGTERM. Raises DemoError."""
        _let_signals_interrupt()
        with _only_one(self.environment.folder):
            try:
                self._start()
                self._wait_until_ready()
                self._say_where_to_go()
                self._watch()
            except KeyboardInterrupt:
                self.terminal.say("\nStopping everything; the next start on the same folder goes on from here.")
            finally:
                self._stop()

    def _start(self) -> None:
        if left := end_leftovers(self.environment.folder):
            self.terminal.say(f"  Ended {left} processes that an earlier run had left.")
        self._check_ports()
        with self.terminal.step("Starting the portal's own PostgreSQL"):
            self.portal.start()
            self._prepare_portal_database()
        self.environment.write(Ports(web=self.port, portal_database=self.portal.port))
        self._manage("Bringing the portal's tables up to date", "migrate", "--database", "owner", "--verbosity", "0")
        with self.terminal.step("Starting the target's PostgreSQL"):
            self.target.start()
        for database in (shop.PRODUCTION, shop.STAGING):
            with self.terminal.step(f"Filling the target database {database.name}"):
                shop.load(self.target, database)
        shop.harden(self.target)
        self._manage("Telling the portal about people, servers and rules", "demo_seed")
        for program in self._programs():
            self.family.keep(program)

    def _prepare_portal_database(self) -> None:
        passwords = self.environment.passwords
        with self.portal.connect() as superuser:
            prepare(
                superuser,
                database=DATABASE,
                owner_password=passwords[OWNER],
                web_password=passwords[WEB],
                worker_password=passwords[WORKER],
            )

    def _check_ports(self) -> None:
        if not is_free(self.port):
            raise DemoError(f"Port {self.port} is taken by another program. Choose another: make demo PORT=8001")
        identity_port = self.environment.secrets.identity_port
        if not is_free(identity_port):
            raise DemoError(
                f"Port {identity_port} is taken by another program, and people of this demo are known by it. "
                f"End that program, or start afresh with another folder: make demo DATA=.demo2"
            )

    def _manage(self, what: str, *arguments: str) -> None:
        program = Program(arguments[0], _manage_command(*arguments), self.environment.of_process("operator"))
        with self.terminal.step(what):
            if status := self.family.run(program):
                raise DemoError(f"manage.py {arguments[0]} ended with status {status}; the lines above say why.")

    def _programs(self) -> list[Program]:
        of = self.environment.of_process
        kept = self.environment.secrets
        client = {
            "JITPORTAL_SSO_CLIENT_ID": CLIENT_ID,
            "JITPORTAL_SSO_CLIENT_SECRET": kept.sso_client_secret,
        }
        identity = (sys.executable, "-m", "jitportal.demo.identity", "--port", str(kept.identity_port))
        gunicorn = (sys.executable, "-m", "gunicorn", "jitportal.wsgi", "--bind", f"{HOST}:{self.port}")
        threads = ("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--no-control-socket")
        return [
            Program("sign-on", identity, of("operator", **client)),
            Program("access", _manage_command("qcluster"), of("worker", Q_CLUSTER_NAME="access")),
            Program("bulk", _manage_command("qcluster"), of("worker", Q_CLUSTER_NAME="bulk")),
            Program("clock", _manage_command("clock"), of("clock")),
            Program("web", (*gunicorn, *threads, "--log-level", "warning"), of("web")),
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        with self.terminal.step("Waiting until web, workers and clock are at work"):
            while (answer := self._health()) != "":
                if time.monotonic() > deadline:
                    raise DemoError(f"The portal is not healthy after {_READY_SECONDS:.0f} s: {answer}")
                self.family.look_after()
                time.sleep(0.2)

    def _health(self) -> str:
        """Empty when all is well."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/healthz", timeout=5):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read(500).decode(errors='replace')}"
        except OSError as error:
            return str(error)

    def _watch(self) -> None:
        while True:
            self.family.look_after()
            time.sleep(0.2)

    def _stop(self) -> None:
        # A second Ctrl-C must not leave half of it running.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with self.terminal.step("Stopping web, workers, clock and sign-on"):
            self.family.stop()
        with self.terminal.step("Stopping both PostgreSQL servers"):
            self.target.stop()
            self.portal.stop()

    def _say_where_to_go(self) -> None:
        data = os.path.relpath(self.environment.folder)
        python = os.path.relpath(sys.executable)
        people = "\n".join(f"    {person.username:<8}{person.what}" for person in PEOPLE)
        self.terminal.say(
            f"""
The portal is ready:  http://{HOST}:{self.port}

  Sign in as one of these; the demo's sign-on asks for no password:
{people}

  Try: as alice ask for two tables of shop-staging (at once), then of shop (bob and dana decide).
  psql to use a credential with: {self.target.psql}
  API token:  JITPORTAL_DATA={data} {python} manage.py api_token alice
  Mail:       {data}/mail

Ctrl-C stops everything. The next start on the same folder goes on from there.
"""
        )


def target_cluster(folder: Path) -> Cluster:
    """The demo's target server: where `shop` and `shop-staging` live."""
    return Cluster(folder / "target")


def _manage_command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "manage.py"), *arguments)


def _let_signals_interrupt() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"A demo is running on {folder} already. Stop it, or choose another folder and port: "
                "make demo PORT=8001 DATA=.demo2"
            ) from None
        yield
