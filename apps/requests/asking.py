"""From what a person asks to what the policy says. The preview and the submission both come through here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings

from apps.accounts.models import User
from apps.accounts.roles import is_welcome
from apps.audit.body import rfc3339
from apps.catalog.models import MASKED_LEVELS, Column, Database
from apps.catalog.names import quoted, quoted_part
from apps.catalog.tables import Resolved, classified_columns, resolve, resolve_columns
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.core.texts import checked
from apps.engines.base import Level, Severity, TableName
from apps.policies.approvers import circles
from apps.policies.evaluate import SECURITY, evaluate
from apps.policies.facts import Facts, Verdict
from apps.policies.models import Connection
from apps.policies.risk import span
from apps.policies.services import current_rules
from apps.requests.scope import EffectiveScope

MAX_REASON: Final = 2_000
MAX_TICKET: Final = 100
MAX_NAMES: Final = 20_000  # table names in one request; a wildcard counts as one
MAX_AHEAD: Final = timedelta(days=30)
_LATE: Final = timedelta(minutes=1)  # a start this long ago still means "now"
_SHOWN: Final = 5  # tables, and columns of each, in one sentence


class Refused(Invalid):
    """Well put, and still not given: worth an entry in the record, unlike a slip of the keyboard."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a person asks for, as they wrote it."""

    database: str  # slug
    level: str
    tables: tuple[str, ...]  # as in SQL: sales.orders, sales.*, "Odd.Name"."T"
    connection: str
    minutes: int
    reason: str
    unmask: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ticket: str = ""
    break_glass: bool = False


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An Ask that can be meant, and what the policy says to it now."""

    database: Database
    reason: str
    ticket: str
    scope: EffectiveScope
    facts: Facts
    verdict: Verdict


def analyse(actor: User, ask: Ask, *, now: datetime) -> Analysis:
    """Read only. Raises NotFound, NotAllowed, Refused, Invalid."""
    reason = checked(ask.reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    ticket = checked(ask.ticket, what="The ticket", field="ticket", at_most=MAX_TICKET)
    if not is_welcome(actor):
        raise NotAllowed("Your account is closed, so it cannot ask for access.")
    database = _database(actor, ask.database)
    level, connection, minutes = _level(ask.level), _connection(ask.connection), checked_minutes(ask.minutes)
    starts_at = _starts_at(ask.starts_at, now)
    if ask.break_glass:
        raise Invalid("Break-glass access is not available yet: ask in the normal way.", field="break_glass")
    _check_server(database)
    resolved = resolve(database, _names(ask.tables, field="tables"))
    unmask = resolve_columns(database, resolved.tables, _names(ask.unmask, field="unmask"))
    classified = classified_columns(database, resolved.tables)
    _refuse_classified(classified)
    scope = EffectiveScope(
        database=database.pk,
        level=level,
        connection=connection,
        minutes=minutes,
        starts_at=starts_at,
        tables=resolved.tables,
        unmask=unmask,
    )
    facts, verdict = _judged(actor, database, scope, resolved, classified)
    return Analysis(database=database, reason=reason, ticket=ticket, scope=scope, facts=facts, verdict=verdict)


def checked_minutes(value: object) -> int:
    """Raise Invalid unless `value` is a sane number of minutes; the policy's caps come on top."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= settings.MAX_MINUTES:
        raise Invalid(
            f"Access lasts a whole number of minutes, from 1 to {settings.MAX_MINUTES} ({span(settings.MAX_MINUTES)}).",
            field="minutes",
        )
    return value


def _judged(
    actor: User,
    database: Database,
    scope: EffectiveScope,
    resolved: Resolved,
    classified: Mapping[TableName, list[Column]],
) -> tuple[Facts, Verdict]:
    version, rules = current_rules()
    groups = {step.group for rule in rules for step in rule.steps if step.group} | {SECURITY.group or ""}
    found = {column.classification for columns in classified.values() for column in columns}
    facts = Facts(
        requester=actor.pk,
        environment=database.environment,
        level=scope.level.value,
        connection=scope.connection,
        minutes=scope.minutes,
        tables=len(scope.tables),
        whole_schemas=resolved.whole_schemas,
        classified_tables=tuple(quoted(table) for table in sorted(classified)),
        highest_classification=next((level.value for level in reversed(MASKED_LEVELS) if level in found), ""),
        unmask=tuple(f"{quoted(table)}.{quoted_part(column)}" for table, column in scope.unmask),
        eligible=circles(requester=actor, database=database, groups=sorted(groups)),
    )
    return facts, evaluate(facts, rules, version)


def _database(actor: User, slug: str) -> Database:
    slug = checked(slug, what="The database", field="database", at_most=63)
    database = Database.objects.visible_to(actor).select_related("server").filter(slug=slug).first()
    if database is None:
        raise NotFound("There is no such database, or you may not ask for access to it.", field="database")
    if not database.is_active or not database.server.is_active:
        raise Refused(f"Access to {slug} is not given at present: it is switched off in the catalog.", field="database")
    if not Database.objects.askable_by(actor).filter(pk=database.pk).exists():
        raise NotAllowed(
            f"You own {slug}, but none of your groups may ask for access to it; a database administrator can allow it.",
            field="database",
        )
    return database


def _check_server(database: Database) -> None:
    """Nothing is asked for that could not be issued."""
    if database.synced_at is None:
        raise Refused(
            f"The tables of {database.slug} have not been read yet; please try again after its first "
            "synchronisation, which a database administrator can start.",
            field="database",
        )
    errors = [finding["sentence"] for finding in database.server.findings if finding["severity"] == Severity.ERROR]
    if errors:
        raise Refused(
            f"Access to {database.slug} cannot be made until a database administrator has mended its server: "
            f"{errors[0]}",
            field="database",
        )


def _level(value: str) -> Level:
    try:
        return Level(value)
    except ValueError as error:
        raise Invalid(f"Choose one of these levels: {', '.join(Level)}.", field="level") from error


def _connection(value: str) -> str:
    if value not in Connection.values:
        raise Invalid(f"Choose one of these ways to connect: {', '.join(Connection.values)}.", field="connection")
    return str(value)


def _starts_at(value: datetime | None, now: datetime) -> str | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise Invalid("The start needs a time zone, such as 2026-01-31T09:00:00Z.", field="starts_at")
    if value < now - _LATE:
        raise Invalid("The start lies in the past: leave it empty to start on approval.", field="starts_at")
    if value > now + MAX_AHEAD:
        raise Invalid(f"The start lies more than {MAX_AHEAD.days} days ahead: ask nearer to it.", field="starts_at")
    return rfc3339(value.astimezone(UTC))


def _names(values: tuple[str, ...], *, field: str) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise Invalid("Names are given as a list of texts.", field=field)
    if len(values) > MAX_NAMES:
        raise Invalid(f"At most {MAX_NAMES} names fit in one request: ask for whole schemas instead.", field=field)
    return tuple(values)


def _refuse_classified(classified: Mapping[TableName, list[Column]]) -> None:
    if not classified:
        return
    shown = "; ".join(
        f"{quoted(table)} ({_some([quoted_part(column.name) for column in columns])})"
        for table, columns in sorted(classified.items())[:_SHOWN]
    )
    more = f"; and {len(classified) - _SHOWN} more tables" if len(classified) > _SHOWN else ""
    raise Refused(
        "This portal version cannot mask classified columns yet, so tables that hold any are not given: "
        f"{shown}{more}. Leave them out, naming the other tables one by one where you asked for a whole schema.",
        field="tables",
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
