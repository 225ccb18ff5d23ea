"""The console over HTTP, on a running demo: an export against psql's \\copy, memory, and the way of `select 1`.

    make demo DATA=.demo          # in another terminal
    .venv/bin/python benchmarks/bench_console.py --port 8000 [--data .demo] [--rows 1000000] [--rounds 5]

Each export is timed in turn with `psql \\copy` of the same query by the same login. Memory is the highest that any web
process has had, before and after. `select 1` is compared with a bare client that logs in, asks and leaves, and with
one that has stayed.
"""

import argparse
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

QUERY = (
    "SELECT n AS id, 'customer ' || n AS name, n % 97 AS region, (n * 3.75)::numeric(12,2) AS total, "
    "timestamp '2026-01-01' + n * interval '1 second' AS placed_at FROM generate_series(1, {rows}) n"
)


class Person:
    """Somebody with a token."""

    def __init__(self, name: str, port: int, data: Path) -> None:
        command = [sys.executable, "manage.py", "api_token", name]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "JITPORTAL_DATA": str(data)},
            capture_output=True,
            text=True,
            check=True,
        )
        self._token, self._port = done.stdout.split()[-1], port

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)

    def open(
        self, path: str, body: Any = None, connection: http.client.HTTPConnection | None = None
    ) -> http.client.HTTPResponse:
        connection = connection or self.connection()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        method = "GET" if body is None else "POST"
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def call(self, path: str, body: Any = None, connection: http.client.HTTPConnection | None = None) -> Any:
        answer = self.open(path, body, connection)
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)


def live_grant(alice: Person, dana: Person) -> str:
    ask = {
        "database": "shop-staging",
        "level": "export",
        "tables": ["logistics.carriers"],
        "connection": "direct",
        "minutes": 60,
        "reason": "How fast is this?",
    }
    request = alice.call("/requests", ask)
    if request["status"] == "pending":
        dana.call(f"/requests/{request['id']}/approve", {})
    until = time.monotonic() + 60
    while time.monotonic() < until:
        grant = alice.call(f"/requests/{request['id']}")["grant"]
        if grant is not None and grant["status"] == "active":
            return str(grant["id"])
        time.sleep(0.05)
    raise SystemExit("The grant was not made within a minute.")


def exported(alice: Person, grant: str, query: str, file_format: str) -> tuple[float, int, str]:
    """Seconds, bytes, SHA-256."""
    began, size, digest = time.monotonic(), 0, hashlib.sha256()
    answer = alice.open(f"/grants/{grant}/export?format={file_format}", {"sql": query})
    while part := answer.read(1 << 16):
        size += len(part)
        digest.update(part)
    return time.monotonic() - began, size, digest.hexdigest()


def copied(psql: Path, url: str, query: str) -> tuple[float, int, str]:
    began, size, digest = time.monotonic(), 0, hashlib.sha256()
    command = [str(psql), "-X", "-q", url, "-c", f"\\copy ({query}) TO STDOUT (FORMAT csv, HEADER)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while part := process.stdout.read(1 << 16):  # type: ignore[union-attr]
            size += len(part)
            digest.update(part)
    return time.monotonic() - began, size, digest.hexdigest()


def peak_memory(port: int) -> int:
    """KiB, of the largest web process."""
    peaks = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if b"jitportal.wsgi" in command and f":{port}".encode() in command:
                status = (folder / "status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]))
        except OSError:
            continue
    return max(peaks, default=0)


def compare_exports(alice: Person, grant: str, arguments: argparse.Namespace, psql: Path) -> None:
    url = alice.call(f"/grants/{grant}/credential", {})["url"]
    query = QUERY.format(rows=arguments.rows)
    exported(alice, grant, QUERY.format(rows=1000), "csv")  # both processes have done it once
    exported(alice, grant, QUERY.format(rows=1000), "csv")
    before = peak_memory(arguments.port)
    ours, theirs, lines = [], [], []
    for _ in range(arguments.rounds):
        one, other = exported(alice, grant, query, "csv"), copied(psql, url, query)
        if one[1:] != other[1:]:
            raise SystemExit("The export and psql's copy are not the same bytes.")
        ours.append(one[0])
        theirs.append(other[0])
        lines.append(exported(alice, grant, query, "jsonl")[0])
    after = peak_memory(arguments.port)
    ratio = median(theirs) / median(ours)
    print(f"export of {arguments.rows} rows ({one[1] / 1e6:.0f} MB), CSV   {median(ours):6.2f} s")
    print(f"psql \\copy of the same query                {median(theirs):6.2f} s   rate of ours: {ratio:.2f} x")
    print(f"export as JSON Lines                        {median(lines):6.2f} s")
    print(f"highest memory of a web process: {before / 1024:.1f} MiB before, {after / 1024:.1f} MiB after")


def compare_round_trips(alice: Person, grant: str, number: int) -> None:
    url = alice.call(f"/grants/{grant}/credential", {})["url"]
    ours, bare, still = [], [], []
    kept = alice.connection()  # as a browser does
    with psycopg.connect(url, autocommit=True) as signed_in:
        for _ in range(number):
            began = time.monotonic()
            alice.call(f"/grants/{grant}/query", {"sql": "SELECT 1"}, kept)
            ours.append(time.monotonic() - began)
            began = time.monotonic()
            with psycopg.connect(url, autocommit=True) as client:
                client.execute("SELECT 1").fetchall()
            bare.append(time.monotonic() - began)
            began = time.monotonic()
            signed_in.execute("SELECT 1").fetchall()
            still.append(time.monotonic() - began)
            time.sleep(0.55)  # statements of one person are limited to so many a minute
    mine, its, least = (median(times) * 1000 for times in (ours, bare, still))
    print(
        f"select 1 over HTTP {mine:.1f} ms; a client that signs in for it {its:.1f} ms: {mine - its:.1f} ms over (25)"
    )
    print(f"  a client that has signed in long ago {least:.1f} ms: {mine - least:.1f} ms over")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".demo"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from jitportal.embedded_install import installed

    psql = installed()[max(installed())] / "psql"
    alice, dana = (Person(name, arguments.port, arguments.data) for name in ("alice", "dana"))
    grant = live_grant(alice, dana)
    compare_round_trips(alice, grant, 40)
    compare_exports(alice, grant, arguments, psql)
    alice.call(f"/grants/{grant}/release", {"reason": "Measured."})


if __name__ == "__main__":
    main()
