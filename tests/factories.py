"""Rows for tests, and the cast: alice, bob (one team), carol (another), dana, sam, audrey."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import factory
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils import timezone
from factory.django import DjangoModelFactory
from guardian.models import GroupObjectPermission
from guardian.shortcuts import assign_perm

from apps.accounts.models import Duty, GroupProfile, Membership, User
from apps.catalog.models import Column, Database, Server, Table
from apps.core import clock
from apps.policies.models import Rule


class GroupFactory(DjangoModelFactory):
    """A group the portal knows; `TeamFactory` and `DutyFactory` say what for."""

    class Meta:
        model = Group
        django_get_or_create = ("name",)
        skip_postgeneration_save = True

    class Params:
        team = False
        duty = None

    name = factory.Sequence(lambda n: f"group-{n}")
    profile = factory.RelatedFactory(
        "tests.factories.GroupProfileFactory",
        factory_related_name="group",
        is_team=factory.SelfAttribute("..team"),
        duty=factory.SelfAttribute("..duty"),
    )


class GroupProfileFactory(DjangoModelFactory):
    class Meta:
        model = GroupProfile
        django_get_or_create = ("group",)

    group = factory.SubFactory(GroupFactory, profile=None)
    claim = factory.SelfAttribute("group.name")


class TeamFactory(GroupFactory):
    """People in one team are each other's peers."""

    class Params:
        team = True

    name = factory.Sequence(lambda n: f"team-{n}")


class DutyFactory(GroupFactory):
    """`DutyFactory(name="dba", duty=Duty.DBA)`"""

    name = factory.SelfAttribute("duty")


class UserFactory(DjangoModelFactory):
    """A person who signs in by SSO; `groups=[team]` puts them there, with a membership row."""

    class Meta:
        model = User
        django_get_or_create = ("username",)
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    first_name = factory.LazyAttribute(lambda user: user.username.capitalize())
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")
    issuer = "http://idp.example.org"
    subject = factory.LazyAttribute(lambda user: f"sub-{user.username}")
    seen_at = factory.LazyFunction(clock.now)  # has just signed in, whatever time a test makes it
    password = "!"

    @factory.post_generation
    def groups(self: User, create: bool, extracted: Sequence[Group] | None) -> None:
        for group in extracted or ():
            join(self, group)


class ServerFactory(DjangoModelFactory):
    class Meta:
        model = Server
        django_get_or_create = ("name",)

    name = factory.Sequence(lambda n: f"server-{n}")
    host = "127.0.0.1"
    port = 5432
    tls = Server.TlsMode.LOOPBACK_PLAINTEXT
    checked_at = factory.LazyFunction(timezone.now)
    skew_seconds = 0.0


class DatabaseFactory(DjangoModelFactory):
    """A synced database. Rights are given with `let_ask` and `let_own`."""

    class Meta:
        model = Database
        django_get_or_create = ("slug",)

    server = factory.SubFactory(ServerFactory)
    slug = factory.Sequence(lambda n: f"database-{n}")
    datname = factory.LazyAttribute(lambda database: database.slug.replace("-", "_"))
    environment = Database.Environment.PRODUCTION
    synced_at = factory.LazyFunction(timezone.now)


class ColumnFactory(DjangoModelFactory):
    class Meta:
        model = Column

    name = factory.Sequence(lambda n: f"column_{n}")
    type = "text"
    position = factory.LazyAttribute(lambda column: column.table.columns.count() + 1)
    first_seen_at = factory.LazyFunction(timezone.now)


class TableFactory(DjangoModelFactory):
    """`TableFactory(name="customers", columns=["id", {"name": "email", "classification": "confidential"}])`"""

    class Meta:
        model = Table
        django_get_or_create = ("database", "schema", "name")
        skip_postgeneration_save = True

    database = factory.SubFactory(DatabaseFactory)
    schema = "sales"
    name = factory.Sequence(lambda n: f"table_{n}")
    kind = "table"
    first_seen_at = factory.LazyFunction(timezone.now)

    @factory.post_generation
    def columns(self: Table, create: bool, extracted: Sequence[str | dict[str, Any]] | None) -> None:
        for column in ["id"] if extracted is None else extracted:
            ColumnFactory(table=self, **({"name": column} if isinstance(column, str) else column))


class RuleFactory(DjangoModelFactory):
    """A rule row, made without a version: for rules that count use policies.services.save_rule."""

    class Meta:
        model = Rule

    position = factory.Sequence(lambda n: n + 1)
    name = factory.Sequence(lambda n: f"rule {n}")
    outcome = "route"
    steps = factory.LazyFunction(lambda: [{"kind": "owner", "group": None, "needed": 1}])


def join(user: User, group: Group) -> None:
    """Put a person in a group, as single sign-on does."""
    user.groups.add(group)
    Membership.objects.get_or_create(
        user=user, group=group, source=Membership.Source.SSO, defaults={"since": timezone.now()}
    )


def leave(user: User, group: Group) -> None:
    """Take a person out of a group."""
    user.groups.remove(group)
    Membership.objects.filter(user=user, group=group).delete()


def let_ask(database: Database, who: Group | User) -> None:
    assign_perm("request_database", who, database)


def let_own(database: Database, who: Group | User) -> None:
    assign_perm("own_database", who, database)


def let_own_data(database: Database, who: Group | User) -> None:
    assign_perm("own_data", who, database)


def let_break_glass(database: Database, who: Group | User) -> None:
    assign_perm("break_glass", who, database)


def fresh(user: User) -> User:
    """The person as a new request of theirs would load them, with nothing cached."""
    return User.objects.get(pk=user.pk)


@dataclass(frozen=True)
class Cast:
    """Who is who (design §8). alice and bob are one team; dana is DBA and owner; sam security; audrey auditor."""

    alice: User
    bob: User
    carol: User
    dana: User
    sam: User
    audrey: User
    shop_team: Group  # alice, bob
    web_team: Group  # carol
    dba: Group
    security: Group
    auditor: Group
    shop: Database = field(repr=False)  # production
    staging: Database = field(repr=False)


@transaction.atomic
def cast(server: Server | None = None) -> Cast:
    """Everybody, and `shop` (production) and `shop-staging`, each with the tables of `fill`.

    Both teams may ask in both databases; the group dba owns them.
    """
    groups = shop_team, web_team, dba, security, auditor = _groups()
    server = server or ServerFactory(name="demo")
    environments = {"shop": Database.Environment.PRODUCTION, "shop-staging": Database.Environment.STAGING}
    databases = shop, staging = Database.objects.bulk_create(
        DatabaseFactory.build(slug=slug, server=server, environment=kind) for slug, kind in environments.items()
    )
    fill(*databases)
    _give({"request_database": (shop_team, web_team), "own_database": (dba,)}, databases)
    alice, bob, carol, dana, sam, audrey = _people(dict(zip(NAMES, (shop_team, *groups), strict=True)))
    return Cast(
        alice=alice,
        bob=bob,
        carol=carol,
        dana=dana,
        sam=sam,
        audrey=audrey,
        shop_team=shop_team,
        web_team=web_team,
        dba=dba,
        security=security,
        auditor=auditor,
        shop=shop,
        staging=staging,
    )


# All of a kind at once: nearly every test begins with them.
def _groups() -> list[Group]:
    teams, duties = ("shop-team", "web-team"), (Duty.DBA, Duty.SECURITY, Duty.AUDITOR)
    groups = Group.objects.bulk_create(Group(name=str(name)) for name in (*teams, *duties))
    GroupProfile.objects.bulk_create(
        GroupProfile(group=group, claim=group.name, is_team=name in teams, duty=None if name in teams else name)
        for group, name in zip(groups, (*teams, *duties), strict=True)
    )
    return groups


def _give(rights: dict[str, tuple[Group, ...]], databases: Sequence[Database]) -> None:
    found = Permission.objects.filter(codename__in=rights, content_type__app_label="catalog")
    GroupObjectPermission.objects.bulk_create(
        GroupObjectPermission(permission=right, content_type=right.content_type, object_pk=database.pk, group=group)
        for right in found.select_related("content_type")
        for database in databases
        for group in rights[right.codename]
    )


def _people(groups: dict[str, Group]) -> list[User]:
    now = clock.now()
    people = User.objects.bulk_create(UserFactory.build(username=name, seen_at=now) for name in groups)
    memberships = list(zip(people, groups.values(), strict=True))
    User.groups.through.objects.bulk_create(
        User.groups.through(user=person, group=group) for person, group in memberships
    )
    source = Membership.Source.SSO
    Membership.objects.bulk_create(
        Membership(user=person, group=group, source=source, since=now) for person, group in memberships
    )
    return people


NAMES = ("alice", "bob", "carol", "dana", "sam", "audrey")
PERSONAL = {"email": ("confidential", "email"), "salary": ("restricted", "salary")}  # column -> classification, class
TABLES = {
    ("sales", "orders"): ("id", "customer_id", "placed_at"),
    ("sales", "order_lines"): ("order_id", "product_id", "quantity"),
    ("sales", "customers"): ("id", "email", "region"),
    ("stock", "products"): ("id", "title", "price"),
    ("stock", "levels"): ("product_id", "count"),
    ("hr", "employees"): ("id", "title", "salary"),
    ("Odd.Name", "T"): ("id",),
}


def fill(*databases: Database) -> None:
    """TABLES: sales.customers and hr.employees hold a classified column, the others none."""
    now = timezone.now()
    tables = Table.objects.bulk_create(
        Table(database=database, schema=schema, name=name, kind="table", first_seen_at=now)
        for database in databases
        for schema, name in TABLES
    )
    Column.objects.bulk_create(
        Column(
            table=table,
            name=name,
            type="text",
            position=position,
            classification=PERSONAL.get(name, ("", ""))[0],
            data_class=PERSONAL.get(name, ("", ""))[1],
            first_seen_at=now,
        )
        for table in tables
        for position, name in enumerate(TABLES[table.schema, table.name], start=1)
    )
