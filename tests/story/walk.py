"""The whole way against a running demo, over the API and psql: ask, approve, log in, lose it on the second.

    .venv/bin/python tests/story/walk.py [--url http://127.0.0.1:8000] [--data .demo] [--minutes 1]

Prints each step as it is seen; exits 1 with a sentence at the first thing that is not as it should be.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DONE = {"ended", "failed"}
_OURS = ("JITPORTAL_", "DATABASE_", "EMAIL_", "DJANGO_")  # of whoever runs this, and not of the demo


class Broken(Exception):
    """Something was not as the story says."""


def manage(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A manage.py command on the running demo."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**clean, "JITPORTAL_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


class Person:
    """One of the cast, with an API token."""

    def __init__(self, name: str, url: str, data: Path) -> None:
        self.name, self.url = name, url
        made = manage(data, "api_token", name)
        if made.returncode:
            raise Broken(f"No token for {name}: {made.stderr.strip()}")
        self.token = made.stdout.strip().splitlines()[-1]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, expect: int = 200) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        if status != expect:
            raise Broken(f"{self.name}: {method} {path} answered {status}, not {expect}: {text.decode()[:500]}")
        return json.loads(text)


def say(line: str) -> None:
    print(f"  {line}", flush=True)


def check(condition: object, line: str) -> None:
    if not condition:
        raise Broken(f"Not so: {line}")
    say(f"✓ {line}")


def wait_for(what: str, look: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise Broken(f"Waited {seconds:.0f} s in vain: {what}")


class Psql:
    """psql from the wheel, with an issued credential."""

    def __init__(self, credential: dict[str, Any]) -> None:
        sys.path.insert(0, str(ROOT))
        from jitportal.embedded_install import psql

        self.program = [str(psql()), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        self.env = {
            **os.environ,
            "PGHOST": credential["host"],
            "PGPORT": str(credential["port"]),
            "PGDATABASE": credential["database"],
            "PGUSER": credential["username"],
            "PGPASSWORD": credential["password"],
            "PGCONNECT_TIMEOUT": "5",
        }

    def run(self, sql: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.program, "-c", sql], env={**self.env, **env}, capture_output=True, text=True, check=False, timeout=60
        )

    def open(self, sql: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.program, "-c", sql], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def unclassified(person: Person, slug: str) -> tuple[list[str], str]:
    """Two tables without a classified column, and one more that will not be asked for."""
    tables = person.call("GET", f"/databases/{slug}/tables")["items"]
    plain = [t for t in tables if not any(column["mask"] for column in t["columns"])]
    names = [f"{t['schema']}.{t['name']}" for t in plain]
    check(len(names) >= 3, f"{slug} has {len(tables)} tables, {len(names)} of them without a classified column")
    return names[:2], names[2]


def ask(slug: str, tables: list[str], minutes: int) -> dict[str, Any]:
    return {
        "database": slug,
        "level": "query",
        "tables": tables,
        "connection": "direct",
        "minutes": minutes,
        "reason": "Checking why two reports differ",
    }


def use(alice: Person, slug: str, request_id: str, tables: list[str], other: str) -> tuple[dict[str, Any], Psql]:
    """Wait for the grant and read with it what was asked for, and nothing else."""

    def ready() -> Any:
        reference = alice.call("GET", f"/requests/{request_id}")["grant"]
        return reference if reference and reference["status"] == "active" else None

    grant_id = wait_for("the grant to become usable", ready)["id"]
    credential = alice.call("POST", f"/grants/{grant_id}/credential")
    psql = Psql(credential)
    for table in tables:
        # By its own name, whether it is reached directly or through a view.
        answer = psql.run(f"SELECT count(*) FROM {table.split('.')[-1]}")
        check(
            answer.returncode == 0, f"{slug}: psql reads {table}: {answer.stdout.strip()} rows {answer.stderr.strip()}"
        )
    refused = psql.run(f"SELECT 1 FROM {other} LIMIT 1")
    check("permission denied" in refused.stderr, f"{slug}: psql is refused {other}: {refused.stderr.strip()}")
    check(psql.run("SELECT 1", PGDATABASE="postgres").returncode != 0, f"{slug}: no other database lets it in")
    check(psql.run("CREATE TEMP TABLE t (a int)").returncode != 0, f"{slug}: no temporary tables")
    return alice.call("GET", f"/grants/{grant_id}"), psql


def lose(alice: Person, slug: str, grant: dict[str, Any], psql: Psql) -> None:
    """The open session is cut when the time is up, and nobody gets in any more."""
    session = psql.open("SELECT pg_sleep(3600)")
    due = datetime.fromisoformat(grant["expires_at"])
    say(f"… {slug}: an open psql session waits for {due:%H:%M:%S} UTC")
    left = due.timestamp() - time.time()
    try:
        _, errors = session.communicate(timeout=left + 30)
    except subprocess.TimeoutExpired as error:
        session.kill()
        raise Broken(f"{slug}: the open session outlived the grant by 30 s") from error
    late = time.time() - due.timestamp()
    check(late >= 0 and session.returncode != 0, f"{slug}: the session was cut {late:.2f} s after the due instant")
    check("terminat" in errors or "closed" in errors, f"{slug}: {errors.strip().splitlines()[0]}")
    check(psql.run("SELECT 1").returncode != 0, f"{slug}: a new login is refused")
    ended = wait_for(
        "the grant to be over",
        lambda: (g := alice.call("GET", f"/grants/{grant['id']}")) and g["status"] in DONE and g,
    )
    check(ended["status"] == "ended" and ended["end_cause"] == "expired", f"{slug}: the grant is {ended['status']}")
    alice.call("POST", f"/grants/{grant['id']}/credential", expect=409)


def staging(alice: Person, minutes: int) -> tuple[dict[str, Any], Psql]:
    tables, other = unclassified(alice, "shop-staging")
    preview = alice.call("POST", "/requests/preview", ask("shop-staging", tables, minutes))
    check(preview["outcome"] == "approve", f"the preview says: {preview['reasons'][0]}")
    made = alice.call("POST", "/requests", ask("shop-staging", tables, minutes), expect=201)
    check(made["status"] == "approved", "the policy approved it at once")
    return use(alice, "shop-staging", made["id"], tables, other)


def production(alice: Person, bob: Person, carol: Person, dana: Person, minutes: int) -> tuple[dict[str, Any], Psql]:
    tables, other = unclassified(alice, "shop")
    preview = alice.call("POST", "/requests/preview", ask("shop", tables, minutes))
    kinds = [step["kind"] for step in preview["route"]]
    check(kinds == ["peer", "owner"], f"the preview says who: {' '.join(preview['reasons'])}")
    made = alice.call("POST", "/requests", ask("shop", tables, minutes), expect=201)
    path = f"/requests/{made['id']}"
    alice.call("POST", f"{path}/approve", {"comment": "me"}, expect=403)
    say("✓ she cannot approve it herself")
    carol.call("POST", f"{path}/approve", {"comment": "not my team"}, expect=404)
    say("✓ carol of another team does not even see it")
    bob.call("POST", f"{path}/approve", {"comment": "We pair on this."})
    check(bob.call("GET", path)["status"] == "pending", "after bob (peer) it still waits for an owner")
    bob.call("POST", f"{path}/approve", {"comment": "again"}, expect=409)
    dana.call("POST", f"{path}/approve", {"comment": "Fine for a minute."})
    check(alice.call("GET", path)["status"] == "approved", "after dana (owner) it is approved")
    return use(alice, "shop", made["id"], tables, other)


def approved(asker: Person, approvers: list[Person], slug: str, body: dict[str, Any]) -> tuple[dict[str, Any], Psql]:
    """Ask, let people say yes one after the other, and wait until psql may be used."""
    made = asker.call("POST", "/requests", body, expect=201)
    for person in approvers:
        person.call("POST", f"/requests/{made['id']}/approve", {"comment": "Fine."})
    status = asker.call("GET", f"/requests/{made['id']}")["status"]
    check(status == "approved", f"{slug}: {', '.join(p.name for p in approvers)} said yes: {status}")

    def ready() -> Any:
        reference = asker.call("GET", f"/requests/{made['id']}")["grant"]
        return reference if reference and reference["status"] not in {"queued"} else None

    grant = asker.call("GET", f"/grants/{wait_for('the grant to become usable', ready)['id']}")
    check(grant["status"] == "active", f"{slug}: the grant is {grant['status']} {grant['problem']}")
    return grant, Psql(asker.call("POST", f"/grants/{grant['id']}/credential"))


def masked(alice: Person, bob: Person, dana: Person, sam: Person, data: Path) -> None:
    """Customers are masked by the database; an e-mail address is shown once its data owner has agreed."""
    customers = ask("shop", ["sales.customers"], 10)
    preview = alice.call("POST", "/requests/preview", customers | {"unmask": ["sales.customers.email"]})
    kinds = [step["kind"] for step in preview["route"]]
    check(kinds == ["peer", "owner", "data_owner"], f"to show a masked column needs: {kinds}")
    grant, hidden = approved(alice, [bob, dana], "shop", customers)
    rows = hidden.run("TABLE customers LIMIT 3")
    check(rows.returncode == 0, f"table customers is masked: {rows.stdout.splitlines()[0]}")
    check(hidden.run("SELECT 1 FROM sales.customers").returncode != 0, "the table itself is out of reach")
    unmask = customers | {"unmask": ["sales.customers.email"]}
    shown_grant, shown = approved(alice, [bob, dana, sam], "shop", unmask)
    real = shown.run("SELECT email FROM customers WHERE id = 1").stdout.strip()
    check("@" in real and "*" not in real, f"after an approved unmask the column is shown: {real}")
    query = f"SELECT count(*) FROM customers WHERE email = '{real}'"
    check(shown.run(query).stdout.strip() == "1", "there the real value is found")
    check(hidden.run(query).stdout.strip() == "0", "and where it is masked, the real value finds nothing")
    for one in (grant, shown_grant):
        same_reach(one, data)
        alice.call("POST", f"/grants/{one['id']}/release", {"reason": "seen"})


def same_reach(grant: dict[str, Any], data: Path) -> None:
    """What the API says that the login holds is what the target's catalogs say, asked independently."""
    from jitportal.embedded import Cluster

    said = {
        (row["object"], privilege)
        for row in grant["evidence"]["reach"]
        if row["via"].startswith("jitscope_") and row["object"].split()[0] in {"view", "table", "column", "schema"}
        for privilege in row["privileges"]
    }
    with Cluster(data / "target").connect("shop") as admin:
        found = admin.execute(
            """
            WITH held AS (
              SELECT m.roleid FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s
            )
            SELECT CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || format('%%I.%%I', n.nspname, c.relname),
                   a.privilege_type
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) a
            WHERE a.grantee IN (SELECT roleid FROM held) AND c.relkind IN ('r', 'p', 'v', 'm')
            UNION
            SELECT 'column ' || format('%%I.%%I.%%I', n.nspname, c.relname, t.attname), a.privilege_type
            FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN aclexplode(t.attacl) a WHERE a.grantee IN (SELECT roleid FROM held)
            UNION
            SELECT 'schema ' || quote_ident(n.nspname), a.privilege_type
            FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a WHERE a.grantee IN (SELECT roleid FROM held)
            """,
            [grant["login"]],
        ).fetchall()
    check(said == set(found), f"the evidence equals the target's own catalogs: {sorted(said)}")


def record(audrey: Person, grant: dict[str, Any], data: Path) -> None:
    """The auditor sees each step in order, and the chain verifies."""
    import base64

    actions, after = [], -1
    while True:
        page = audrey.call("GET", f"/audit/entries?after={after}&limit=500")
        for entry in page["items"]:
            body = json.loads(base64.b64decode(entry["body"]))
            if body["subject"] in {f"request:{grant['request']}", f"grant:{grant['id']}"}:
                actions.append(body["action"])
            after = entry["index"]
        if page["next"] is None:
            break
    say("the record: " + " → ".join(actions))
    story = ["request.submitted", "decision.approved", "decision.approved", "request.approved", "grant.queued"]
    story += ["grant.issuing", "grant.issued", "credential.shown", "grant.ending", "grant.ended"]
    seen = iter(actions)
    check(all(step in seen for step in story), "the record holds each step in order")
    verified = manage(data, "audit_verify")
    check(verified.returncode == 0, f"audit_verify: {verified.stdout.strip().splitlines()[-1]}")


def walk(url: str, data: Path, minutes: int) -> None:
    names = ("alice", "bob", "carol", "dana", "sam", "audrey")
    alice, bob, carol, dana, sam, audrey = (Person(name, url, data) for name in names)
    first, first_psql = staging(alice, minutes)
    second, second_psql = production(alice, bob, carol, dana, minutes)
    masked(alice, bob, dana, sam, data)
    lose(alice, "shop-staging", first, first_psql)
    lose(alice, "shop", second, second_psql)
    alice.call("GET", "/audit/entries", expect=403)
    record(audrey, second, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, default=ROOT / ".demo")
    parser.add_argument("--minutes", type=int, default=1)
    given = parser.parse_args()
    try:
        walk(given.url.rstrip("/"), given.data.resolve(), given.minutes)
    except Broken as broken:
        sys.exit(f"✗ {broken}")
    print("The whole way works.")


if __name__ == "__main__":
    main()
