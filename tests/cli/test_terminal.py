"""The `jit` command in a real terminal, against the whole portal as `make demo` runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pexpect
import pytest
import requests

from jitportal.embedded_install import psql
from tests.cli.browser import confirm
from tests.support.demo import ROOT, RunningDemo
from tests.support.threads import waiting_for

SECONDS = 30
STYLE = r"(?:\x1b\[[0-9;]*m)*"
CODE = rf"Confirm the code {STYLE}([A-Z]{{4}}-[A-Z]{{4}}){STYLE} at\s+{STYLE}(http[^\s\x1b]+)"
YES_NO = rf"\? {STYLE}\[y/n\]"


class Person:
    """Somebody's laptop: a folder of settings and a terminal."""

    def __init__(self, name: str, demo: RunningDemo, folder: Path) -> None:
        self.name, self.demo = name, demo
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("JIT", "PG", "DATABASE_"))}
        self.env = clean | {
            "JIT_CONFIG_DIR": str(folder),
            "PYTHONPATH": str(ROOT / "cli" / "src"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "PATH": f"{psql().parent}{os.pathsep}{clean['PATH']}",
            "TERM": "xterm",
            "PSQLRC": os.devnull,
            "PAGER": "cat",
        }
        self.terminals: list[pexpect.spawn[str]] = []

    def types(self, *arguments: str) -> "pexpect.spawn[str]":
        """`jit …` in a terminal of 200 columns."""
        terminal = pexpect.spawn(
            sys.executable,
            ["-m", "jit", *arguments],
            env=self.env,
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(40, 200),
            # Tests that run in the background ignore it, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.terminals.append(terminal)
        return terminal

    def runs(self, *arguments: str, given: str = "", expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """`jit …` as a script does. `expect`: its status, or None where any will do."""
        done = subprocess.run(
            [sys.executable, "-m", "jit", *arguments],
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert expect is None or done.returncode == expect, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    def asks(self, *arguments: str) -> Any:
        return json.loads(self.runs(*arguments, "--json").stdout)

    def live(self) -> list[Any]:
        return [grant for grant in self.asks("status")["grants"] if grant["status"] == "active"]

    @cached_property
    def token(self) -> str:
        """Made on the server."""
        made = subprocess.run(
            [sys.executable, "manage.py", "api_token", self.name],
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if not key.startswith(("JITPORTAL_", "DATABASE_"))}
            | {"JITPORTAL_DATA": str(self.demo.folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.splitlines()[-1]

    def takes_a_token(self) -> None:
        self.runs("login", "--url", self.demo.url, "--token", given=self.token)

    def past(self, grant: str) -> list[Any]:
        """Statements under a grant, newest first."""
        address = f"{self.demo.url}/api/v1/grants/{grant}/statements"
        answer = requests.get(address, headers={"Authorization": f"Bearer {self.token}"}, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()["items"]  # type: ignore[no-any-return]


def ends(terminal: "pexpect.spawn[str]") -> int:
    terminal.expect(pexpect.EOF)
    terminal.close()
    return int(terminal.exitstatus if terminal.exitstatus is not None else -1)


Laptop = Callable[[str], Person]


@pytest.fixture(scope="module")
def laptop(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    people: dict[str, Person] = {}

    def of(name: str) -> Person:
        if name not in people:
            people[name] = Person(name, demo, tmp_path_factory.mktemp(name))
            if name != "alice":
                people[name].takes_a_token()
        return people[name]

    yield of
    for person in people.values():
        for terminal in person.terminals:
            terminal.close(force=True)


@pytest.fixture(scope="module")
def alice(laptop: Laptop, demo: RunningDemo) -> Person:
    """Signed in by confirming a code at the demo's identity provider."""
    alice = laptop("alice")
    terminal = alice.types("login", "--url", demo.url, "--no-browser")
    terminal.expect(CODE)
    code, address = terminal.match.groups()  # type: ignore[union-attr]
    assert address == f"{demo.url}/device/?code={code}"
    assert "is signed in" in confirm(address, "alice")
    terminal.expect(r"signed in to \S+ as alice")
    terminal.expect(r"readable by you[\s\S]{1,20}alone")  # a long path breaks the line
    assert ends(terminal) == 0
    for grant in alice.live():  # whatever others on this portal have left her
        alice.runs("release", grant["id"], expect=None)  # it may have ended by itself just now
    assert alice.live() == []
    return alice


def test_login_when_its_person_says_no(laptop: Laptop, demo: RunningDemo) -> None:
    carol = laptop("carol")
    terminal = carol.types("login", "--url", demo.url, "--no-browser")
    terminal.expect(CODE)
    confirm(terminal.match.group(2), "carol", do="deny")  # type: ignore[union-attr]
    terminal.expect("You said no in the browser")
    assert ends(terminal) == 3


def test_psql_when_a_policy_approves(alice: Person) -> None:
    terminal = alice.types("psql", "shop-staging", "-t", "logistics.carriers", "-m", "5", "-r", "Which carriers?")
    terminal.expect("approved at once by a policy")
    terminal.expect(f"Ask for this{YES_NO}")
    terminal.sendline("y")
    terminal.expect("shop-staging as (jit_alice_[a-z0-9]{10})")
    login = terminal.match.group(1)  # type: ignore[union-attr]
    terminal.expect("=> ")
    terminal.sendline("select current_user, count(*) > 0 as some from carriers;")
    terminal.expect(rf"{login}\s+\| t")
    terminal.sendline("do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$;")
    terminal.expect(r"NOTICE:\s+begun")
    terminal.sendintr()  # Ctrl-C is for psql
    terminal.expect("canceling statement due to user request")
    terminal.sendline(r"\q")
    terminal.expect("The access lives on for")
    assert ends(terminal) == 0

    ran = alice.runs("run", "--", "psql", "-XAtc", "select current_user")
    assert ran.stdout.strip() == login
    assert "PGPASSWORD" not in ran.stderr
    (row,) = alice.live()
    assert (row["database"], row["login"]) == ("shop-staging", login)

    alice.runs("release", "shop-staging", "-r", "done")
    alice.runs("run", "-a", "shop-staging", "--", "psql", "-c", "select 1", expect=7)


def test_psql_when_people_have_to_approve(alice: Person, laptop: Laptop) -> None:
    bob, dana = laptop("bob"), laptop("dana")
    terminal = alice.types("psql", "shop", "-t", "sales.customers", "-m", "10", "-r", "A customer calls", "--yes")
    terminal.expect(r"Asked: request ([a-z2-7]{10})")
    asked = terminal.match.group(1)  # type: ignore[union-attr]
    terminal.expect(r"Waiting for a peer \(bob\)")

    decides = bob.types("approve", asked)
    decides.expect("A customer calls")
    decides.expect(f"Say yes to alice{YES_NO}")
    decides.sendline("y")
    decides.expect("Your yes is recorded; the request is pending")
    assert ends(decides) == 0
    terminal.expect(r"Waiting for an owner of the database \(dana\)")
    assert dana.asks("approve", asked, "--yes")["status"] == "approved"

    terminal.expect("=> ")
    terminal.sendline(r"\x \\ select email from customers limit 1;")
    terminal.expect(r"email\s+\|\s+(\S+)")
    assert "*" in terminal.match.group(1)  # type: ignore[union-attr]
    (grant,) = (row["id"] for row in alice.live())
    dana.runs("revoke", grant, "-r", "Enough", "--yes")
    terminal.expect("terminating connection|=> ")
    terminal.sendline("select 1;")
    terminal.expect("server closed the connection|terminating connection|connection to server was lost")
    terminal.sendline(r"\q")
    assert ends(terminal) in {0, 2}


def test_wait_when_it_is_interrupted_says_what_stays(alice: Person) -> None:
    terminal = alice.types("request", "shop", "-t", "sales.orders", "-r", "Later", "--yes", "--wait")
    terminal.expect(r"Asked: request ([a-z2-7]{10})")
    asked = terminal.match.group(1)  # type: ignore[union-attr]
    terminal.expect("Waiting for a peer")
    terminal.sendintr()
    terminal.expect(f"The request {asked} stays asked")
    terminal.expect(f"jit cancel {asked}")
    assert ends(terminal) == 130
    assert alice.asks("cancel", asked)["status"] == "cancelled"
    alice.runs("wait", asked, expect=7)


def test_request_when_the_person_is_asked_everything(alice: Person) -> None:
    terminal = alice.types("request")
    terminal.expect("Database.*:")
    terminal.sendline("shop-staging")
    terminal.expect(r"logistics\.\*")
    terminal.expect("Tables.*:")
    terminal.sendline("logistics.carriers")
    terminal.expect("Level.*:")
    terminal.sendline("")
    terminal.expect("Reason.*:")
    terminal.sendline("A look")
    terminal.expect(f"Ask for this{YES_NO}")
    terminal.sendline("n")
    terminal.expect("Nothing was done")
    assert ends(terminal) == 1


def test_extend_when_a_policy_approves(alice: Person) -> None:
    granted = alice.asks(
        "request", "shop-staging", "-t", "logistics.carriers", "-m", "5", "-r", "Carriers", "--yes", "--wait"
    )
    longer = alice.asks("extend", granted["id"], "-m", "5", "-r", "Not done", "--wait")
    assert longer["extension"] == "applied"
    assert alice.asks("status", granted["id"])["expires_at"] > granted["expires_at"]
    alice.runs("release", granted["id"])


def stopped_is_cancelled(alice: Person, grant: str, command: str, *more: str) -> None:
    """Ctrl-C, and the server need not go on either."""
    terminal = alice.types(command, grant, "select pg_sleep(60)", *more)
    waiting_for(lambda: [one for one in alice.past(grant) if one["status"] == "running"])
    if command == "export":
        terminal.expect("It runs")
    terminal.sendintr()
    assert ends(terminal) == 130
    waiting_for(lambda: alice.past(grant)[0]["status"] == "cancelled")


def test_query_and_export_under_a_grant(alice: Person, laptop: Laptop, tmp_path: Path) -> None:
    asked = alice.asks(
        *("request", "shop-staging", "-t", "logistics.carriers", "--level", "export", "--console"),
        *("-m", "5", "-r", "Carriers", "--yes"),
    )
    laptop("dana").runs("approve", asked["id"], "--yes")
    granted = alice.asks("wait", asked["id"])
    answer = alice.asks("query", granted["id"], "select count(*) as n, current_user as me from carriers")
    (row,) = answer["rows"]
    assert row[1] == granted["login"]
    wrong = alice.runs("query", granted["id"], "select nme from carriers", expect=5)
    assert "\n  select nme from carriers\n         ^" in wrong.stderr

    file = tmp_path / "carriers.csv"
    alice.runs("export", granted["id"], "select * from carriers order by 1", "-o", str(file))
    assert len(file.read_text().splitlines()) == int(row[0]) + 1
    lines = alice.runs("export", granted["id"], "select * from carriers", "-f", "jsonl").stdout.splitlines()
    assert len([json.loads(line) for line in lines]) == int(row[0])
    assert [path.name for path in tmp_path.iterdir()] == ["carriers.csv"]
    late = alice.runs("export", granted["id"], "select 1/(id-2) from carriers", "-o", str(tmp_path / "no"), expect=5)
    assert "division by zero" in late.stderr
    assert not (tmp_path / "no").exists()
    many = "select repeat('x', 1000), 1 / (50000 - n) from generate_series(1, 60000) n"
    middle = alice.runs("export", granted["id"], many, "-o", str(tmp_path / "no"), expect=5)
    assert "failed before its last row. The database said no (22012)" in middle.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["carriers.csv"]
    for command, more in (("query", []), ("export", ["-o", str(tmp_path / "no")])):
        stopped_is_cancelled(alice, granted["id"], command, *more)

    alice.runs("release", granted["id"])
    alice.runs("query", granted["id"], "select 1", expect=7)


def test_apply_when_a_statement_was_approved(alice: Person, laptop: Laptop, tmp_path: Path) -> None:
    script = tmp_path / "fix.sql"
    script.write_text("UPDATE logistics.carriers SET name = name")
    asked = alice.asks(
        *(
            "request",
            "shop-staging",
            "-t",
            "logistics.carriers",
            "--level",
            "change",
            "-m",
            "5",
            "-r",
            "A fix",
            "--yes",
        ),
        *("--statement", str(script), "--expect-rows", "1"),
    )
    laptop("dana").runs("approve", asked["id"], "--yes")
    granted = alice.asks("wait", asked["id"])

    terminal = alice.types("apply", granted["id"])
    terminal.expect("UPDATE logistics.carriers SET name = name")
    terminal.expect("Update on carriers")
    terminal.expect("Rolled back unless 1 row is affected")
    terminal.expect(f"Run it, once{YES_NO}")
    terminal.sendline("y")
    terminal.expect("rolled back|Rolled back")  # there are more carriers than one
    assert ends(terminal) == 1
    assert "runs once" in alice.runs("apply", granted["id"], "--yes", expect=5).stderr
    alice.runs("release", granted["id"])


def test_apply_when_there_can_be_no_plan(alice: Person, laptop: Laptop, tmp_path: Path) -> None:
    script = tmp_path / "fix.sql"
    script.write_text("DO $$ BEGIN UPDATE logistics.carriers SET name = name; END $$")
    asked = alice.asks(
        *("request", "shop-staging", "-t", "logistics.carriers", "--level", "change"),
        *("-m", "5", "-r", "A fix", "--statement", str(script), "--yes"),
    )
    laptop("dana").runs("approve", asked["id"], "--yes")
    granted = alice.asks("wait", asked["id"])
    assert "syntax error" in alice.runs("apply", granted["id"], "--plan", expect=5).stderr
    ran = alice.runs("apply", granted["id"], "--yes")
    said = [ran.stderr.index(text) for text in ("There is no plan", "DO $$ BEGIN", "Committed")]
    assert said == sorted(said)
    alice.runs("release", granted["id"])


def test_change_when_it_is_tried_out(alice: Person, laptop: Laptop) -> None:
    asked = alice.asks(
        *("request", "shop-staging", "-t", "logistics.carriers", "--level", "change", "--console"),
        *("-m", "5", "-r", "A try", "--yes"),
    )
    laptop("dana").runs("approve", asked["id"], "--yes")
    granted = alice.asks("wait", asked["id"])
    name = "SELECT name FROM carriers WHERE id = 1"
    before = alice.asks("query", granted["id"], name)["rows"]
    change = "UPDATE carriers SET name = name || '!' WHERE id = 1"
    assert "1 row affected" in alice.runs("change", granted["id"], change).stderr
    assert alice.asks("query", granted["id"], name)["rows"] == before
    assert alice.asks("change", granted["id"], change, "--commit")["committed"] is True
    assert alice.asks("query", granted["id"], name)["rows"] == [[f"{before[0][0]}!"]]
    alice.runs("release", granted["id"])


def test_tables_and_databases(alice: Person) -> None:
    assert {"shop", "shop-staging"} <= {row["slug"] for row in alice.asks("databases")}
    shown = alice.runs("tables", "shop", "customers", "--columns").stdout
    assert re.search(r"sales\.customers\s+email\s", shown)


def test_logout_ends_the_token(demo: RunningDemo, laptop: Laptop) -> None:
    audrey = laptop("audrey")
    token = next(Path(audrey.env["JIT_CONFIG_DIR"]).glob("tokens.json")).read_text()
    audrey.runs("logout")
    audrey.runs("whoami", expect=3)
    kept = next(iter(json.loads(token).values()))
    audrey.env["JIT_TOKEN"] = kept
    assert "The API token is missing, has ended or was revoked" in audrey.runs("whoami", expect=3).stderr
