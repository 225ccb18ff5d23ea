"""Grants that end together, beside a bare psycopg loop that ends the same logins one by one; lag; idle cost.

    .venv/bin/python benchmarks/bench_ends.py [--grants 1000] [--rounds 3] [--live 1000] [--idle 10000] [--seconds 120]

A fresh portal and a fresh target (PostgreSQL 18, durable) on this machine. Grants are put there as rows and as logins,
made as the engine makes them; from their end on everything goes as in life: a worker's task, the target, the record.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jitportal.embedded import Cluster, new_password  # noqa: E402
from jitportal.portal_database import OWNER, WEB, WORKER, prepare, urls  # noqa: E402

_TABLE = "CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY, total int)"


@dataclass
class World:
    """A portal, its one target, and how its processes are started."""

    portal: Cluster
    target: Cluster
    environment: dict[str, str]
    login_password: str = field(default_factory=new_password)
    server: Any = None
    database: Any = None


@contextmanager
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o711)
        more = {"max_connections": "300"}
        portal, target = Cluster(Path(folder) / "portal"), Cluster(Path(folder) / "target", settings=more)
        try:
            portal.start()
            target.start()
            made = World(portal, target, _portal(portal))
            _fill(made)
            yield made
        finally:
            portal.destroy()
            target.destroy()


def _portal(cluster: Cluster) -> dict[str, str]:
    from apps.core.sealed import new_keypair, new_ring_key

    passwords = {role: new_password() for role in (OWNER, WEB, WORKER)}
    with cluster.connect() as superuser:
        prepare(superuser, database="bench", **{f"{r.split('_')[1]}_password": passwords[r] for r in passwords})
    found = urls(passwords, host=cluster.host, port=cluster.port, database="bench")
    private, public = new_keypair()
    environment = {
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "DATABASE_URL": found[WORKER],
        "DATABASE_DIRECT_URL": found[WORKER],
        "JITPORTAL_SECRET_KEY": "bench-only-" + "x" * 50,
        "JITPORTAL_GRANT_PASSWORD_RING": new_ring_key(),
        "JITPORTAL_MANAGER_PUBLIC_KEY": public,
        "JITPORTAL_MANAGER_PRIVATE_KEY": private,
        "JITPORTAL_PORTAL_ID": "benchportal",
        "JITPORTAL_LOOPBACK_TARGETS": "1",
        "JITPORTAL_TESTING": "1",
        "JITPORTAL_LOG_LEVEL": "ERROR",
        "EMAIL_URL": "memory://",
    }
    warnings.simplefilter("ignore")
    os.environ |= environment | {"DATABASE_OWNER_URL": found[OWNER]}
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", database="owner", verbosity=0)
    return environment


def _fill(world: World) -> None:
    """A server with one database, prepared as its administrator does."""
    from guardian.shortcuts import assign_perm

    from apps.accounts.models import User
    from apps.catalog.models import Column, Database, Server, Table
    from apps.catalog.services import make_bootstrap
    from apps.core import clock

    alice = User.objects.create(username="alice", email="alice@example.com", seen_at=clock.now())
    with world.target.connect() as superuser:
        superuser.execute("CREATE DATABASE shop")
    with world.target.connect("shop") as superuser:
        superuser.execute(_TABLE)
    world.server = Server.objects.create(
        name="bench",
        host=world.target.host,
        port=world.target.port,
        tls="loopback-plaintext",
        checked_at=clock.now(),
        skew_seconds=0.0,
    )
    world.database = Database.objects.create(
        server=world.server, slug="shop", datname="shop", environment="staging", synced_at=clock.now()
    )
    assign_perm("request_database", alice, world.database)  # otherwise her grants end at once, as a leaver's do
    table = Table.objects.create(
        database=world.database, schema="sales", name="orders", kind="table", first_seen_at=clock.now()
    )
    for position, name in enumerate(("id", "total"), start=1):
        Column.objects.create(table=table, name=name, type="integer", position=position, first_seen_at=clock.now())
    script = make_bootstrap(actor="operator", server_id=world.server.pk)
    command = [str(world.target.psql), "-X", "-q", world.target.superuser_conninfo()]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)
    world.server.refresh_from_db()


def live_grants(world: World, count: int, *, over: float, ends_in: float) -> list[Any]:
    """So many rows of live grants, which end after `ends_in` seconds, spread over `over` more."""
    from apps.accounts.models import User
    from apps.core import clock
    from apps.core.ids import new_id
    from apps.engines.base import Level, TableName
    from apps.engines.postgresql import names
    from apps.grants.models import Grant
    from apps.requests.models import AccessRequest
    from apps.requests.scope import EffectiveScope

    alice, now = User.objects.get(username="alice"), clock.now()
    effective = EffectiveScope(
        database=world.database.pk,
        level=Level.QUERY,
        connection="direct",
        minutes=60,
        starts_at=None,
        tables=(TableName("sales", "orders"),),
    )
    scope, digest = effective.to_json(), effective.digest()
    shared = {"database": world.database, "connection": "direct", "minutes": 60, "scope": scope}
    requests, grants = [], []
    for number in range(count):
        request = AccessRequest(
            **shared,
            requester=alice,
            level="query",
            reason="How fast is this?",
            asked_scope=scope,
            scope_digest=digest,
            facts={},
            verdict={},
            policy_version=1,
            submitted_at=now,
            opened_at=now,
            lapses_at=now + timedelta(days=3),
        )
        grant_id = new_id()
        grant = Grant(
            **shared,
            id=grant_id,
            request=request,
            holder=alice,
            server=world.server,
            scope_digest=digest,
            scope_role=names.scope_role_name(effective.on_target("shop")),
            login=names.login_name("alice", grant_id),
            queued_at=now,
            expires_at=now + timedelta(seconds=ends_in + over * number / count),
            evidence={"checked_at": "", "reach": [], "findings": []},
        )
        requests.append(request)
        grants.append(grant)
    AccessRequest.objects.bulk_create(requests, batch_size=500)
    Grant.objects.bulk_create(grants, batch_size=500)
    AccessRequest.objects.filter(status="pending").update(status="approved")  # the clock opens those without a grant
    Grant.objects.filter(status="queued").update(status="active", starts_at=now, warned_at=now, password=b"x")
    return grants


def make_scope(world: World) -> str:
    """By the engine, with all makers: a login of each is made and ended."""
    from apps.catalog.targets import engine_for, target_for
    from apps.core.ids import new_id
    from apps.engines.base import Level, LoginSpec, Scope, TableName
    from apps.engines.postgresql import names, scram

    engine, target = engine_for(world.server), target_for(world.server)
    table = TableName("sales", "orders")
    known = frozenset({(table, "id"), (table, "total")})
    scope = Scope("shop", Level.QUERY, (table,))
    wanted = {f"jitportal_maker_{number}" for number in range(names.MAKERS)}
    while wanted:
        login = names.login_name("alice", new_id())
        if names.maker_name(login) in wanted:
            verifier = scram.verifier(scram.new_password())
            engine.open_login(
                target,
                LoginSpec(
                    login=login,
                    verifier=verifier,
                    reference="bench",
                    seconds=60,
                    scope=scope,
                    classified=frozenset(),
                    known=known,
                ),
            )
            engine.close_logins(target, [login])
            wanted.discard(names.maker_name(login))
    return names.scope_role_name(scope)


def make_logins(world: World, scope_role: str, grants: Sequence[Any], *, with_password: int = 0) -> None:
    """As the engine makes them, but by the hundred and without a proof."""
    from apps.engines.postgresql import names, scram

    verifier = scram.verifier(world.login_password)
    by_maker: dict[str, list[Any]] = {}
    for number, grant in enumerate(grants):
        by_maker.setdefault(names.maker_name(grant.login), []).append((number < with_password, grant))
    with manager(world) as connection:
        for maker, made in by_maker.items():
            parts = [sql.SQL("SET LOCAL createrole_self_grant = 'inherit'"), _become(maker)]
            for opens, grant in made:
                parts += _making(grant, scope_role, verifier if opens else "")
            connection.execute(sql.SQL("; ").join(parts))


def _making(grant: Any, scope_role: str, verifier: str) -> list[sql.Composable]:
    from apps.engines.postgresql import names

    login = sql.Identifier(grant.login)
    comment = names.comment("benchportal", f"login={grant.login} request={grant.request_id}")
    password = sql.SQL("PASSWORD {}").format(sql.Literal(verifier)) if verifier else sql.SQL("")
    until = sql.Literal((datetime.now(UTC) + timedelta(hours=1)).isoformat())
    return [
        sql.SQL("CREATE ROLE {} LOGIN VALID UNTIL {} {}").format(login, until, password),
        sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(sql.Identifier(scope_role), login),
        sql.SQL("COMMENT ON ROLE {} IS {}").format(login, sql.Literal(comment)),
        sql.SQL("ALTER ROLE {} SET search_path = sales").format(login),
    ]


@dataclass(frozen=True)
class _Alone:
    """A login that no grant knows."""

    login: str
    request_id: str = "bench"


def logins_alone(world: World, scope_role: str, count: int) -> list[str]:
    from apps.core.ids import new_id
    from apps.engines.postgresql import names

    made = [_Alone(names.login_name("alice", new_id())) for _ in range(count)]
    make_logins(world, scope_role, made)
    return [one.login for one in made]


def manager(world: World) -> psycopg.Connection[Any]:
    from apps.catalog.targets import target_for

    target = target_for(world.server)
    return psycopg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        dbname="shop",
        autocommit=True,
        prepare_threshold=None,
    )


def _become(maker: str) -> sql.Composed:
    return sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(maker))


def bare_loop(world: World, logins: Sequence[str]) -> float:
    """Seconds of ending them one by one, on one connection, as the role that may."""
    from apps.engines.postgresql import names

    began = time.monotonic()
    with manager(world) as connection:
        for login in logins:
            role = sql.Identifier(login)
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(names.maker_name(login))))
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            connection.execute(cut, [login]).fetchall()
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))
    return time.monotonic() - began


@contextmanager
def processes(world: World, *clusters: str) -> Iterator[dict[str, psutil.Process]]:
    """A clock and workers, as in life."""
    commands = {"clock": ["clock"]} | {name: ["qcluster"] for name in clusters}
    started = {}
    try:
        for name, command in commands.items():
            kind = "clock" if name == "clock" else "worker"
            own = {"JITPORTAL_PROCESS": kind} | ({} if kind == "clock" else {"Q_CLUSTER_NAME": name})
            kept = world.environment if kind == "worker" else _without_keys(world.environment)
            started[name] = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(ROOT / "manage.py"), *command],
                env={"PATH": os.defpath, **kept, **own},
                stdout=subprocess.DEVNULL,
            )
        _until_alive(len(clusters))
        yield {name: psutil.Process(process.pid) for name, process in started.items()}
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.wait(timeout=60)


def _without_keys(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if "RING" not in name and "MANAGER" not in name}


def _until_alive(workers: int) -> None:
    from apps.grants.models import Heartbeat

    Heartbeat.objects.all().delete()
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        kinds = list(Heartbeat.objects.values_list("kind", flat=True))
        if "clock" in kinds and kinds.count("worker") >= workers:
            return
        time.sleep(0.1)
    raise SystemExit("Clock and workers did not start within three minutes.")


@dataclass(frozen=True)
class Ends:
    """Seconds after the due instant."""

    locked: float
    dropped: float
    recorded: float


def together(world: World, scope_role: str, count: int) -> Ends:
    """All in the same second, by clock and worker."""
    from apps.core.nudge import nudge
    from apps.grants.models import Grant

    grants = live_grants(world, count, over=0.0, ends_in=3600)
    make_logins(world, scope_role, grants)
    due = datetime.now(UTC) + timedelta(seconds=3)
    Grant.objects.filter(status="active").update(expires_at=due)
    nudge()  # as whoever changes an end does
    locked = dropped = 0.0
    give_up = due.timestamp() + 120
    with world.target.connect() as superuser:
        while not dropped and time.time() < give_up:
            rows = superuser.execute(
                "SELECT count(*), count(*) FILTER (WHERE rolcanlogin) FROM pg_authid WHERE rolname ~ '^jit_'"
            ).fetchall()
            ((there, may_log_in),) = rows
            locked = locked or (0.0 if may_log_in else time.time())
            dropped = 0.0 if there else time.time()
            time.sleep(0.02)
    while Grant.objects.exclude(status="ended").exists():
        if time.time() > give_up:
            raise SystemExit(f"Not ended: {Grant.objects.exclude(status='ended').first().problem}")
        time.sleep(0.01)
    return Ends(locked - due.timestamp(), dropped - due.timestamp(), time.time() - due.timestamp())


def lags(world: World, scope_role: str, live: int, used: int) -> list[float]:
    """Seconds from due until the client is cut, of the `used` ones among `live` that end one after another."""
    import select

    over = max(10.0, live / 50)
    grants = live_grants(world, live, over=over, ends_in=3600)
    step = live // used
    used_ones = grants[::step]
    make_logins(world, scope_role, used_ones, with_password=len(used_ones))
    make_logins(world, scope_role, [grant for number, grant in enumerate(grants) if number % step])
    clients = {}
    for grant in used_ones:
        client = psycopg.connect(
            host=world.target.host,
            port=world.target.port,
            user=grant.login,
            password=world.login_password,
            dbname="shop",
            autocommit=True,
        )
        clients[client.fileno()] = (client, grant)
    from django.db.models import F

    from apps.core.nudge import nudge
    from apps.grants.models import Grant

    # The first ends in a few seconds, the others follow.
    soon = datetime.now(UTC) + timedelta(seconds=4) - grants[0].expires_at
    Grant.objects.filter(status="active").update(expires_at=F("expires_at") + soon)
    nudge()
    late: list[float] = []
    give_up = time.time() + over + 60
    while clients and time.time() < give_up:
        ready, _, _ = select.select(list(clients), [], [], 1.0)
        now = time.time()
        for number in ready:
            client, grant = clients.pop(number)
            late.append(now - (grant.expires_at + soon).timestamp())
            client.close()
    late += [float("inf")] * len(clients)
    while Grant.objects.exclude(status="ended").exists() and time.time() < give_up:
        time.sleep(0.1)
    return late


def idle(world: World, scope_role: str, live: int, seconds: float) -> dict[str, float]:
    """Per cent of one core that each process takes while so many grants live and nothing happens."""
    grants = live_grants(world, live, over=3600, ends_in=7200)
    with world.target.connect() as superuser:
        for start in range(0, live, 500):
            some = grants[start : start + 500]
            superuser.execute(sql.SQL("; ").join(part for one in some for part in _making(one, scope_role, "")))
    with processes(world, "access", "bulk") as running:
        _until_caught_up()
        before = {name: _cpu(process) for name, process in running.items()}
        time.sleep(seconds)
        return {name: 100 * (_cpu(process) - before[name]) / seconds for name, process in running.items()}


def _until_caught_up() -> None:
    """The first looks at everything are over, and what was recorded before has been folded."""
    from django_q.models import OrmQ

    from apps.audit import services as audit
    from apps.notifications.models import Cursor

    def is_behind() -> bool:
        told = Cursor.objects.values_list("next_index", flat=True).first() or 0
        return OrmQ.objects.exists() or told < audit.head().size

    quiet, give_up = 0, time.monotonic() + 240
    while quiet < 40 and time.monotonic() < give_up:
        quiet = 0 if is_behind() else quiet + 1
        time.sleep(0.25)


def _cpu(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in family)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grants", type=int, default=1000, help="that end in the same second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live", type=int, default=1000, help="that end one after another; 0 leaves it out")
    parser.add_argument("--used", type=int, default=150, help="of these, with an open session")
    parser.add_argument("--idle", type=int, default=10_000, help="that live while nothing happens; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=120, help="of watching the idle processes")
    given = parser.parse_args()
    with world() as made:
        report(made, given)


def report(made: World, given: argparse.Namespace) -> None:
    scope_role = make_scope(made)
    ends, bare, late = [], [], []
    with processes(made, "access"):
        for _ in range(given.rounds):
            ends.append(together(made, scope_role, given.grants))
            bare.append(bare_loop(made, logins_alone(made, scope_role, given.grants)))
        late = lags(made, scope_role, given.live, given.used) if given.live else []
    print(f"{os.cpu_count()} cores, portal, worker and target on this machine, PostgreSQL 18, durable")
    print(f"{given.grants} grants that end in the same second, {given.rounds} rounds; seconds after it, median (most)")
    for name in ("locked", "dropped", "recorded"):
        values = [getattr(one, name) for one in ends]
        print(f"  all {name:<24}{median(values):>8.2f}{max(values):>8.2f}")
    print(f"  bare psycopg, one by one    {median(bare):>8.2f}{max(bare):>8.2f}")
    ratio = median(ours.recorded / theirs for ours, theirs in zip(ends, bare, strict=True))
    print(f"  recorded / bare psycopg: {ratio:.2f} (below 1); locked: 1 s; recorded: 5 s")
    if late:
        p99 = quantiles(late, n=100, method="inclusive")[98]
        print(f"{given.live} live grants, due → session cut: median {median(late):.3f} s, 99 % {p99:.3f} s (1 s),")
        print(f"  most {max(late):.3f} s, none early: {min(late) >= 0}")
    if given.idle:
        shares = idle(made, scope_role, given.idle, given.seconds)
        each = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
        print(f"{given.idle} live grants, idle: {each} of a core; together {sum(shares.values()):.1f} % (3 %)")


if __name__ == "__main__":
    main()
