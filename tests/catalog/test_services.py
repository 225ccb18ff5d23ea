"""Verbs of the catalog: who may call them, what they refuse, what the record says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.conf import settings as django_settings

from apps.accounts.models import User
from apps.catalog import services
from apps.catalog.models import Classification, Column, Database, Server
from apps.catalog.rights import groups_with
from apps.catalog.targets import target_for
from apps.core.errors import Invalid, NotAllowed, NotFound, PortalError
from tests.catalog.said import last_entry, said
from tests.factories import Cast, TableFactory, cast, fresh

pytestmark = pytest.mark.django_db

SECRET = "a-long-random-password"


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def server() -> Server:
    return services.add_server(
        actor="operator", name="eu-1", host="127.0.0.1", port=5433, tls=Server.TlsMode.LOOPBACK_PLAINTEXT
    )


def new_server(actor: User | str = "operator", **fields: Any) -> Server:
    given = {"name": "eu-2", "host": "db.example.com"} | fields
    return services.add_server(actor=actor, **given)  # type: ignore[arg-type]


# Who -----------------------------------------------------------------------------------------------------------


def every_verb(people: Cast) -> list[Callable[[Any], object]]:
    server, database = people.shop.server.pk, people.shop.pk
    column = Column.objects.get(table__database=people.shop, name="email").pk
    return [
        new_server,
        lambda actor: services.change_server(actor=actor, server_id=server, port=5555),
        lambda actor: services.set_manager_secret(actor=actor, server_id=server, secret=SECRET),
        lambda actor: services.new_manager_secret(actor=actor, server_id=server),
        lambda actor: services.make_bootstrap(actor=actor, server_id=server),
        lambda actor: services.want_preflight(actor=actor, server_id=server),
        lambda actor: services.want_sync(actor=actor, database_id=database),
        lambda actor: services.add_database(
            actor=actor, server_id=server, slug="crm", datname="crm", environment="staging"
        ),
        lambda actor: services.change_database(actor=actor, database_id=database, environment="staging"),
        lambda actor: services.set_rights(
            actor=actor, database_id=database, permission="own_database", group=people.security, present=True
        ),
        lambda actor: services.classify(actor=actor, column_id=column, classification="public"),
        lambda actor: services.classify_many(actor=actor, column_ids=[column], classification="internal"),
    ]


def test_every_verb_when_not_a_dba(people: Cast) -> None:
    people.alice.is_superuser = people.alice.is_staff = True  # exempt from nothing
    people.alice.save()
    leaver = people.dana
    leaver.is_active = False
    leaver.save()
    for call in every_verb(people):
        for actor in (people.alice, people.sam, people.audrey, fresh(leaver), "worker", ""):
            with pytest.raises(NotAllowed):
                call(actor)
    assert last_entry() is None


@pytest.mark.usefixtures("seconded")
def test_every_verb_when_a_dba(people: Cast) -> None:
    for call in every_verb(people):
        call(people.dana)
    assert last_entry().actor == people.dana.audit_id


# Servers -------------------------------------------------------------------------------------------------------


def test_add_server_when_well_formed() -> None:
    server = new_server(port=6432)
    assert (server.tls, server.manager, server.manager_secret) == ("verify-full", "jitportal", None)
    entry = last_entry()
    assert (entry.action, entry.actor, entry.subject) == ("server.added", "operator", f"server:{server.pk}")
    limits = {"block_seconds": 30, "idle_seconds": 300, "snapshot_seconds": 1800}
    assert entry.facts == {"kind": "postgresql", "port": 6432, "tls": "verify-full"} | limits
    assert entry.texts == {"name": "eu-2", "host": "db.example.com"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "EU 1"}, "name"),
        ({"name": "eu-1\n"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"kind": "oracle"}, "kind"),
        ({"host": "a,b"}, "host"),
        ({"host": "/tmp"}, "host"),
        ({"host": "db options=-crole=postgres"}, "host"),
        ({"host": "postgres://u:p@db/x"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"port": True}, "port"),
        ({"port": "5432"}, "port"),
        ({"tls": "disable"}, "tls"),
        ({"tls": "loopback-plaintext"}, "tls"),
        ({"tls": "loopback-plaintext", "host": "10.0.0.1"}, "tls"),
        ({"tls": "loopback-plaintext", "host": "169.254.1.1"}, "tls"),
        ({"tls": "loopback-plaintext", "host": "localhost.example.com"}, "tls"),
        ({"maintenance_database": ""}, "maintenance_database"),
        ({"maintenance_database": "x" * 64}, "maintenance_database"),
        ({"maintenance_database": "host=evil"}, "maintenance_database"),
        ({"maintenance_database": "postgresql://evil/"}, "maintenance_database"),
        ({"maintenance_database": "a\0b"}, "maintenance_database"),
        ({"manager": ""}, "manager"),
        ({"manager": 'x"; DROP ROLE y; --'}, "manager"),
        ({"ca_certificate": "no certificate"}, "ca_certificate"),
        ({"ca_certificate": "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----"}, "ca_certificate"),
        ({"ca_certificate": "x" * 300_000}, "ca_certificate"),
    ],
)
def test_add_server_when_malformed(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        new_server(**fields)
    assert refusal.value.field == field
    assert not Server.objects.exists()
    assert last_entry() is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0"])
def test_add_server_when_loopback_is_not_permitted(host: str, settings: Any) -> None:
    settings.LOOPBACK_TARGETS = False
    with pytest.raises(Invalid, match="JITPORTAL_LOOPBACK_TARGETS"):
        new_server(host=host)
    with pytest.raises(Invalid):
        new_server(host=host, tls="loopback-plaintext")


def test_add_server_when_the_name_is_taken(server: Server) -> None:
    with pytest.raises(Invalid, match="eu-1 already") as refusal:
        new_server(name="eu-1")
    assert refusal.value.field == "name"


def test_add_server_when_it_has_a_certificate_authority() -> None:
    pem = certificate()
    assert new_server(ca_certificate=pem).ca_certificate == pem


def certificate() -> str:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    ).sign(key, None)
    return made.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize("change", [{"host": "localhost"}, {"port": 5434}, {"host": "localhost", "port": 5434}])
def test_change_server_when_it_moves(server: Server, change: dict[str, Any]) -> None:
    """A password is shown only to the machine that it was made for."""
    services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)
    moved = services.change_server(actor="operator", server_id=server.pk, **change)
    moved.refresh_from_db()
    assert (moved.manager_secret, moved.manager_verifier) == (None, "")
    entry = last_entry()
    assert entry.facts["secret_cleared"] is True
    assert entry.facts["changed"] == sorted(change)
    with pytest.raises(PortalError, match="no password for its manager"):
        target_for(moved)


def test_change_server_when_it_stays_where_it_is(server: Server) -> None:
    services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)
    changed = services.change_server(actor="operator", server_id=server.pk, name="eu-9", is_active=False)
    assert target_for(changed).password == SECRET
    entry = last_entry()
    assert entry.facts == {"changed": ["is_active", "name"], "is_active": [True, False], "secret_cleared": False}
    assert entry.texts == {"name": "eu-1 → eu-9"}


def test_change_server_when_it_is_the_limits_of_sessions(server: Server) -> None:
    server.check_wanted_at = None
    server.save()
    changed = services.change_server(actor="operator", server_id=server.pk, block_seconds=5, idle_seconds=0)
    assert (changed.block_seconds, changed.idle_seconds, changed.snapshot_seconds) == (5, 0, 1800)
    assert changed.check_wanted_at is None  # nothing of it is to be looked at on the server
    assert last_entry().facts == {
        "changed": ["block_seconds", "idle_seconds"],
        "block_seconds": [30, 5],
        "idle_seconds": [300, 0],
        "secret_cleared": False,
    }


@pytest.mark.parametrize("limit", ["block_seconds", "idle_seconds", "snapshot_seconds"])
@pytest.mark.parametrize("value", [-1, 604_801, 1.5, True, None, "30"])
def test_change_server_when_a_limit_is_none(server: Server, limit: str, value: Any) -> None:
    with pytest.raises(Invalid, match="whole number of seconds"):
        services.change_server(actor="operator", server_id=server.pk, **{limit: value})
    with pytest.raises(Invalid, match="whole number of seconds"):
        new_server(**{limit: value})


def test_add_server_when_a_limit_is_given(people: Cast) -> None:
    assert new_server(people.dana, block_seconds=7).block_seconds == 7
    assert last_entry().facts["block_seconds"] == 7
    with pytest.raises(Invalid):
        new_server(name="eu-3", patience=7)


def test_change_server_when_nothing_differs(server: Server) -> None:
    before = last_entry()
    services.change_server(actor="operator", server_id=server.pk, name="eu-1", port=5433)
    assert last_entry() == before


@pytest.mark.parametrize(
    "fields", [{"host": "a,b"}, {"tls": "off"}, {"port": 0}, {"manager_secret": b"x"}, {"id": "x"}, {"kind": "mysql"}]
)
def test_change_server_when_malformed(server: Server, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        services.change_server(actor="operator", server_id=server.pk, **fields)
    server.refresh_from_db()
    assert (server.host, server.port, server.tls) == ("127.0.0.1", 5433, "loopback-plaintext")


def test_change_server_when_there_is_none() -> None:
    with pytest.raises(NotFound):
        services.change_server(actor="operator", server_id="nothing", port=1)


# Secrets -------------------------------------------------------------------------------------------------------


def test_set_manager_secret_when_copied_to_another_row(server: Server) -> None:
    """The sealed bytes open only for the server and the address that they were sealed for."""
    services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)
    server.refresh_from_db()
    assert target_for(server).password == SECRET
    assert SECRET.encode() not in bytes(server.manager_secret or b"")
    other = new_server(host="localhost", port=5433)
    other.manager_secret = server.manager_secret
    with pytest.raises(PortalError, match="does not open"):
        target_for(other)
    server.host = "localhost"
    with pytest.raises(PortalError, match="does not open"):
        target_for(server)


@pytest.mark.parametrize("secret", ["", "short", "with a space in the middle", "ünicode-password-of-length", "x" * 201])
def test_set_manager_secret_when_malformed(server: Server, secret: str) -> None:
    with pytest.raises(Invalid) as refusal:
        services.set_manager_secret(actor="operator", server_id=server.pk, secret=secret)
    assert refusal.value.field == "secret"


def test_set_manager_secret_when_there_is_no_key(server: Server, settings: Any) -> None:
    settings.MANAGER_PUBLIC_KEY = ""
    with pytest.raises(PortalError, match="JITPORTAL_MANAGER_PUBLIC_KEY"):
        services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)


@pytest.mark.parametrize(
    ("name", "sentence"), [("MANAGER_PRIVATE_KEY", "only a worker"), ("PORTAL_ID", "another portal's")]
)
def test_target_for_when_not_in_a_worker(server: Server, settings: Any, name: str, sentence: str) -> None:
    server = services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)
    setattr(settings, name, "")
    with pytest.raises(PortalError, match=sentence):
        target_for(server)


def test_target_for_when_all_is_there(server: Server) -> None:
    server = services.set_manager_secret(actor="operator", server_id=server.pk, secret=SECRET)
    target = target_for(server)
    assert (target.host, target.port, target.user) == ("127.0.0.1", 5433, "jitportal")
    assert target.portal_id == django_settings.PORTAL_ID
    assert SECRET not in repr(target)


def test_make_bootstrap_when_printed_again(server: Server) -> None:
    """The first time a password is made; later the same SQL comes again and nothing changes."""
    services.add_database(actor="operator", server_id=server.pk, slug="crm", datname="crm", environment="staging")
    first = services.make_bootstrap(actor="operator", server_id=server.pk)
    entry = last_entry()
    assert (entry.action, entry.facts) == ("server.changed", {"changed": ["manager_secret"]})
    server.refresh_from_db()
    password = target_for(server).password
    assert len(password) >= 40
    assert password not in first
    assert server.manager_verifier in first
    assert services.make_bootstrap(actor="operator", server_id=server.pk) == first
    assert last_entry() == entry
    second = services.new_manager_secret(actor="operator", server_id=server.pk)
    server.refresh_from_db()
    assert server.manager_verifier in second
    assert target_for(server).password != password


def test_make_bootstrap_when_there_is_no_database(server: Server) -> None:
    with pytest.raises(Invalid, match="no database here yet"):
        services.make_bootstrap(actor="operator", server_id=server.pk)
    server.refresh_from_db()
    assert server.manager_secret is None


def test_want_preflight_when_asked(server: Server) -> None:
    services.want_preflight(actor="operator", server_id=server.pk)
    server.refresh_from_db()
    assert server.check_wanted_at is not None


# Databases -----------------------------------------------------------------------------------------------------


def new_database(server: Server, **fields: Any) -> Database:
    given = {"slug": "crm", "datname": "crm", "environment": "staging", "description": ""} | fields
    return services.add_database(actor="operator", server_id=server.pk, **given)


def test_add_database_when_well_formed(server: Server) -> None:
    database = new_database(server, datname="Odd.Name", description="Who buys.")
    assert database.sync_wanted_at is not None
    entry = last_entry()
    assert (entry.action, entry.facts) == (
        "database.added",
        {
            "server": server.pk,
            "environment": "staging",
            "hides_unclassified": False,
            "console_rows": 1000,
            "console_seconds": 600,
            "keeps_literals": True,
        },
    )
    assert entry.texts == {"slug": "crm", "datname": "Odd.Name", "description": "Who buys."}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"slug": ""}, "slug"),
        ({"slug": "-crm"}, "slug"),
        ({"slug": "crm; drop"}, "slug"),
        ({"datname": ""}, "datname"),
        ({"datname": "é" * 32}, "datname"),
        ({"datname": "dbname=x host=evil"}, "datname"),
        ({"environment": "prod"}, "environment"),
        ({"environment": ""}, "environment"),
        ({"description": "x" * 201}, "description"),
        ({"description": "two\nlines"}, "description"),
    ],
)
def test_add_database_when_malformed(server: Server, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        new_database(server, **fields)
    assert refusal.value.field == field


def test_add_database_when_it_is_there(server: Server) -> None:
    new_database(server)
    with pytest.raises(Invalid, match="eu-1 has crm here already") as refusal:
        new_database(server, slug="other")
    assert refusal.value.field == "datname"
    with pytest.raises(Invalid, match="database called crm already") as refusal:
        new_database(server, datname="other")
    assert refusal.value.field == "slug"


@pytest.mark.usefixtures("seconded")
def test_change_database_when_the_environment_changes(people: Cast) -> None:
    services.change_database(
        actor=people.dana, database_id=people.shop.pk, environment="staging", description="The shop."
    )
    entry = last_entry()
    assert entry.facts == {"changed": ["description", "environment"], "environment": ["production", "staging"]}
    with pytest.raises(Invalid, match="datname"):
        services.change_database(actor=people.dana, database_id=people.shop.pk, datname="other")


# Rights --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("seconded")
def test_set_rights_when_given_and_taken(people: Cast) -> None:
    def change(present: bool) -> bool:
        return services.set_rights(
            actor=people.dana,
            database_id=people.shop.pk,
            permission="request_database",
            group=people.security,
            present=present,
        )

    assert not Database.objects.askable_by(people.sam).exists()
    assert change(True) is True
    assert list(Database.objects.askable_by(people.sam)) == [people.shop]
    entry = last_entry()
    assert (entry.action, entry.texts) == ("rights.changed", {"group": "security"})
    assert entry.facts == {"permission": "request_database", "group": people.security.pk, "present": True}
    assert change(True) is False
    assert last_entry() == entry
    assert people.security in groups_with(people.shop, "request_database")
    assert change(False) is True
    assert not Database.objects.askable_by(people.sam).exists()


def test_set_rights_when_unknown(people: Cast) -> None:
    with pytest.raises(Invalid):
        services.set_rights(
            actor=people.dana, database_id=people.shop.pk, permission="delete_database", group=people.dba, present=True
        )


def test_askable_by_when_a_superuser_or_a_leaver(people: Cast) -> None:
    people.audrey.is_superuser = True
    people.audrey.save()
    assert not Database.objects.visible_to(people.audrey).exists()
    people.alice.is_active = False
    assert not Database.objects.visible_to(people.alice).exists()


# Classification ------------------------------------------------------------------------------------------------


def test_classify_when_said_again(people: Cast) -> None:
    column = Column.objects.get(table__database=people.shop, table__name="orders", name="placed_at")
    services.classify(actor=people.dana, column_id=column.pk, classification="internal", data_class="location")
    column.refresh_from_db()
    assert (column.classification, column.data_class, column.mask_override) == ("internal", "location", "")
    entry = last_entry()
    assert (entry.action, entry.subject) == ("column.classified", people.shop.audit_id)
    assert entry.facts == {
        "classification": "internal",
        "data_class": "location",
        "columns": 1,
        "before": {"none": 1},
        "databases": [people.shop.pk],
        "ids": [column.pk],
    }
    assert entry.texts == {"columns": "sales.orders.placed_at: none → internal location"}
    services.classify(actor=people.dana, column_id=column.pk, classification="internal", data_class="location")
    assert last_entry() == entry


@pytest.mark.usefixtures("seconded")
def test_classify_when_only_the_mask_changes(people: Cast) -> None:
    """An auditor can tell from the record alone what was shown before, and what is shown since."""
    email = Column.objects.get(table__database=people.shop, name="email")
    for mask in ("hidden", "partial(4,4)"):
        services.classify(
            actor=people.dana, column_id=email.pk, classification="confidential", data_class="email", mask=mask
        )
    entry = last_entry()
    assert entry.facts["before"] == {"confidential email hidden": 1}
    line = "sales.customers.email: confidential email hidden → confidential email partial(4,4)"
    assert entry.texts == {"columns": line}


@pytest.mark.parametrize(
    ("classification", "data_class"), [("secret", ""), ("public", "E-Mail"), ("public", "x" * 33), ("public", "a b")]
)
def test_classify_when_malformed(people: Cast, classification: str, data_class: str) -> None:
    column = Column.objects.first()
    assert column is not None
    with pytest.raises(Invalid):
        services.classify(actor=people.dana, column_id=column.pk, classification=classification, data_class=data_class)


def test_classify_many_when_there_are_many(people: Cast) -> None:
    """One entry, small enough for the record, whatever is selected; the data class stays as it was."""
    table = TableFactory(database=people.staging, columns=[f"c{n}" for n in range(300)])
    ids = [*table.columns.values_list("pk", flat=True), Column.objects.filter(data_class="email")[0].pk]
    entries = said()
    assert services.classify_many(actor=people.dana, column_ids=ids, classification="restricted") == 301
    assert len(said()) == len(entries) + 1
    entry = last_entry()
    assert entry.subject == "catalog"
    assert (entry.facts["columns"], len(entry.facts["ids"])) == (301, 200)
    assert entry.facts["before"] == {"none": 300, "confidential email": 1}
    assert entry.facts["databases"] == sorted([people.shop.pk, people.staging.pk])
    assert Column.objects.filter(classification=Classification.RESTRICTED, data_class="email").exists()


def test_classify_many_when_one_is_unknown(people: Cast) -> None:
    column = Column.objects.filter(classification="")[0]
    with pytest.raises(NotFound):
        services.classify_many(actor=people.dana, column_ids=[column.pk, 10**9], classification="public")
    column.refresh_from_db()
    assert column.classification == ""
