"""What the demo's portal knows from the start: people, groups, the target server, its classification, rules.

Only by verbs, each idempotent, so that a start after a kill goes on where the last one ended.
"""

import subprocess
from collections import defaultdict
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import Group

from apps.accounts import services as accounts
from apps.accounts.actors import OPERATOR
from apps.accounts.models import Duty, GroupProfile
from apps.catalog import services as catalog
from apps.catalog.models import Column, Database, Server
from apps.engines.base import Severity
from apps.policies import services as policies
from jitportal.demo import shop
from jitportal.demo.classification import CLASSIFIED, INTERNAL
from jitportal.demo.people import DATA_OWNERS, DUTIES, ON_CALL, OWNERS, PEOPLE, TEAMS
from jitportal.embedded import Cluster

_SERVER = "demo-target"
_DATABASES = (
    (shop.PRODUCTION, Database.Environment.PRODUCTION, "The shop that customers use"),
    (shop.STAGING, Database.Environment.STAGING, "The shop before a release, with made-up people"),
)


class SeedError(Exception):
    """The demo's portal could not be prepared; the message is a sentence."""


def seed(target: Cluster, say: Callable[[str], None]) -> None:
    """Bring the portal to the demo's state, whatever it was. Raises SeedError and the verbs' refusals."""
    _groups()
    _people()
    policies.ensure_default_rules()
    server = _server(target)
    databases = [_database(server, *about) for about in _DATABASES]
    _bootstrap(server, target)
    for database in databases:
        _read_tables(database)
    # Again, because only now the portal knows which schemas there are.
    _bootstrap(server, target)
    for database in databases:
        _classify(database)
        _rights(database)
        say(f"{database.slug}: {database.tables.count()} tables")
    _preflight(server, say)


def _groups() -> None:
    wanted: dict[str, tuple[bool, Duty | None]] = dict.fromkeys(TEAMS, (True, None))
    wanted |= {name: (False, Duty(name)) for name in DUTIES} | dict.fromkeys(
        (OWNERS, DATA_OWNERS, ON_CALL), (False, None)
    )
    known = {
        profile.group.name: (profile.claim, profile.is_team, profile.duty)
        for profile in GroupProfile.objects.select_related("group")
    }
    for name, (is_team, duty) in wanted.items():
        if known.get(name) != (name, is_team, duty):
            accounts.save_group(actor=OPERATOR, name=name, claim=name, is_team=is_team, duty=duty)


def _people() -> None:
    """Known before their first sign-in, so that `manage.py api_token alice` works at once."""
    for person in PEOPLE:
        accounts.provision(
            issuer=settings.SSO_ISSUER,
            subject=person.username,
            username=person.username,
            name=person.name,
            email=str(person.claims["email"]),
            groups=list(person.groups),
        )


def _server(target: Cluster) -> Server:
    server = Server.objects.filter(name=_SERVER).first()
    if server is None:
        return catalog.add_server(
            actor=OPERATOR,
            name=_SERVER,
            host=target.host,
            port=target.port,
            tls=Server.TlsMode.LOOPBACK_PLAINTEXT,
        )
    return catalog.change_server(actor=OPERATOR, server_id=server.pk, host=target.host, port=target.port)


def _database(server: Server, shop_database: shop.ShopDatabase, environment: str, description: str) -> Database:
    database = Database.objects.filter(slug=shop_database.name).first()
    if database is not None:
        return database
    return catalog.add_database(
        actor=OPERATOR,
        server_id=server.pk,
        slug=shop_database.name,
        datname=shop_database.name,
        environment=environment,
        description=description,
    )


def _bootstrap(server: Server, target: Cluster) -> None:
    done = subprocess.run(  # noqa: S603 - no shell, our own client
        [target.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", target.superuser_conninfo(), "-f", "-"],
        input=catalog.make_bootstrap(actor=OPERATOR, server_id=server.pk),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SeedError(f"The bootstrap SQL did not run on the demo's target: {done.stderr.strip()}")


def _read_tables(database: Database) -> None:
    catalog.run_sync(database.pk)
    database.refresh_from_db()
    if database.sync_error:
        raise SeedError(f"The tables of {database} could not be read: {database.sync_error}")


def _classify(database: Database) -> None:
    """Columns that nobody has classified yet; what a person has said since the first start stays."""
    wanted: dict[tuple[str, str], list[int]] = defaultdict(list)
    columns = Column.objects.filter(table__database=database, gone_at=None, classification="")
    for pk, schema, table, name in columns.values_list("pk", "table__schema", "table__name", "name"):
        wanted[CLASSIFIED.get((schema, table, name), (INTERNAL, ""))].append(pk)
    for (level, data_class), ids in wanted.items():
        catalog.classify_many(actor=OPERATOR, column_ids=ids, classification=level, data_class=data_class)


def _rights(database: Database) -> None:
    rights = [("request_database", name) for name in TEAMS]
    rights += [("own_database", OWNERS), ("own_data", DATA_OWNERS), ("break_glass", ON_CALL)]
    for permission, name in rights:
        group = Group.objects.get(name=name)
        catalog.set_rights(actor=OPERATOR, database_id=database.pk, permission=permission, group=group, present=True)


def _preflight(server: Server, say: Callable[[str], None]) -> None:
    catalog.run_preflight(server.pk)
    server.refresh_from_db()
    for finding in server.findings:
        if finding["severity"] != Severity.OK:
            say(f"Preflight, {finding['severity']}: {finding['sentence']}")
