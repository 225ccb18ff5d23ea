"""From what a person asks to what the policy says. The preview and the submission both come through here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings

from apps.accounts import dual_control
from apps.accounts.models import User
from apps.accounts.roles import is_welcome
from apps.audit.body import rfc3339
from apps.catalog import masking
from apps.catalog.exposure import notifying_unaccepted
from apps.catalog.masking import ColumnMask
from apps.catalog.models import MASKED_LEVELS, Classification, Column, Database
from apps.catalog.names import quoted, quoted_column
from apps.catalog.tables import resolve, resolve_columns
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.core.texts import checked
from apps.engines.base import Level, Severity
from apps.engines.masks import HIDDEN
from apps.policies.approvers import circles
from apps.policies.evaluate import SECURITY, evaluate
from apps.policies.facts import Facts, Verdict
from apps.policies.models import Connection
from apps.policies.risk import span
from apps.policies.services import current_rules
from apps.requests import masked
from apps.requests.errors import Refused
from apps.requests.one_statement import check_tables, checked_statement
from apps.requests.scope import EffectiveScope

MAX_REASON: Final = 2_000
MAX_TICKET: Final = 100
MAX_NAMES: Final = 20_000  # table names in one request; a wildcard counts as one
MAX_AHEAD: Final = timedelta(days=30)
_SHOWN: Final = 5  # functions in one sentence
_LATE: Final = timedelta(minutes=1)  # a start this long ago still means "now"


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
    statement: str = ""  # the exact SQL, where the access is for that alone
    expected_rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An Ask that can be meant, and what the policy says to it now."""

    database: Database
    reason: str
    ticket: str
    scope: EffectiveScope
    facts: Facts
    verdict: Verdict
    known: masked.Known


def analyse(actor: User, ask: Ask, *, now: datetime) -> Analysis:
    """Read only. Raises NotFound, NotAllowed, Refused, Invalid."""
    reason = checked(ask.reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    ticket = checked(ask.ticket, what="The ticket", field="ticket", at_most=MAX_TICKET)
    if not is_welcome(actor):
        raise NotAllowed("Your account is closed, so it cannot ask for access.")
    database = database_for(actor, ask.database, break_glass=ask.break_glass)
    kind: dict[str, Any] = {
        "level": _level(ask.level),
        "connection": _connection(ask.connection),
        "minutes": checked_minutes(ask.minutes),
        "starts_at": _starts_at(ask.starts_at, now, at_once=ask.break_glass),
        "statement": checked_statement(
            ask.statement,
            expected_rows=ask.expected_rows,
            level=ask.level,
            connection=ask.connection,
            break_glass=ask.break_glass,
        ),
        "expected_rows": ask.expected_rows,
    }
    resolved = resolve(database, _names(ask.tables, field="tables"))
    unmask = resolve_columns(database, resolved.tables, _names(ask.unmask, field="unmask"))
    seen = masking.seen(database, resolved.tables)
    known = masked.know(database, resolved.tables, masks=seen.masks)
    scope = EffectiveScope(database=database.pk, tables=resolved.tables, unmask=unmask, views=seen.views, **kind)
    check_tables(scope, database)
    masked.refuse_paused(known)
    masked.check(scope, known)
    check_notifying(database, scope.connection)
    facts, verdict = judged(
        actor,
        scope,
        known,
        whole_schemas=resolved.whole_schemas,
        minutes=scope.minutes,
        break_glass=ask.break_glass,
    )
    return Analysis(
        database=database, reason=reason, ticket=ticket, scope=scope, facts=facts, verdict=verdict, known=known
    )


def checked_minutes(value: object) -> int:
    """Raise Invalid unless `value` is a sane number of minutes; the policy's caps come on top."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= settings.MAX_MINUTES:
        raise Invalid(
            f"Access lasts a whole number of minutes, from 1 to {settings.MAX_MINUTES} ({span(settings.MAX_MINUTES)}).",
            field="minutes",
        )
    return value


def judged(
    actor: User,
    scope: EffectiveScope,
    known: masked.Known,
    *,
    whole_schemas: tuple[str, ...],
    minutes: int,
    break_glass: bool = False,
) -> tuple[Facts, Verdict]:
    """What the policy says. `minutes` are all that the access would last, which may be more than the scope's."""
    database = known.database
    version, rules = current_rules()
    groups = {step.group for rule in rules for step in rule.steps if step.group} | {SECURITY.group or ""}
    columns = {(table, name): column for table, found in known.columns.items() for name, column in found.items()}
    # What the catalog does not know any more is no data class at all, and as sensitive as can be.
    shown = [columns.get(one, ColumnMask("", "", HIDDEN)) for one in scope.unmask]
    facts = Facts(
        requester=actor.pk,
        environment=database.environment,
        level=scope.level.value,
        connection=scope.connection,
        minutes=minutes,
        tables=len(scope.tables),
        whole_schemas=whole_schemas,
        classified_tables=tuple(quoted(table) for table in sorted(known.columns)),
        highest_classification=_highest(columns.values()),
        unmask=tuple(quoted_column(table, column) for table, column in scope.unmask),
        unmask_classes=tuple(sorted({column.data_class for column in shown})),
        highest_unmask=_highest(shown),
        unclassified=masked.unclassified(database, scope.tables),
        eligible=circles(requester=actor, database=database, groups=sorted(groups)),
        break_glass=break_glass,
        break_glass_minutes=settings.BREAK_GLASS_MINUTES if break_glass else 0,
        widened_lately=dual_control.widened_lately(actor),
    )
    return facts, evaluate(facts, rules, version)


def _highest(columns: Iterable[ColumnMask]) -> str:
    """The highest level of masked columns; what is masked although nobody has classified it counts as restricted."""
    levels = {column.level or Classification.RESTRICTED for column in columns}
    return next((level.value for level in reversed(MASKED_LEVELS) if level in levels), "")


def database_for(actor: User, slug: str, *, break_glass: bool = False) -> Database:
    """The database, if `actor` may ask for it and it could be given. Raises NotFound, NotAllowed, Refused."""
    slug = checked(slug, what="The database", field="database", at_most=63)
    database = Database.objects.visible_to(actor).select_related("server").filter(slug=slug).first()
    if database is None:
        raise NotFound("There is no such database, or you may not ask for access to it.", field="database")
    if not database.is_active or not database.server.is_active:
        raise Refused(f"Access to {slug} is not given at present: it is switched off in the catalog.", field="database")
    if not Database.objects.open_to(actor, break_glass=break_glass).filter(pk=database.pk).exists():
        what = "have access to it at once in an emergency" if break_glass else "ask for access to it in the normal way"
        raise NotAllowed(
            f"You can see {slug}, but none of your groups may {what}; a database administrator can allow it.",
            field="break_glass" if break_glass else "database",
        )
    _check_server(database)
    return database


def check_notifying(database: Database, connection: str) -> None:
    """A function that notifies tells whoever listens what it likes, masked or not (field notes S6). Raises Refused."""
    if connection != Connection.DIRECT:
        return
    there = Column.objects.masked().filter(table__database=database, table__gone_at=None, gone_at=None)
    if (names := notifying_unaccepted(database)) and there.exists():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise Refused(
            f"A credential of your own is not given in {database.slug}: there are functions that notify whoever "
            f"listens, and may tell masked values ({', '.join(names[:_SHOWN])}{more}). A database administrator "
            "can accept them on the page of the database.",
            field="connection",
        )


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


def _starts_at(value: datetime | None, now: datetime, *, at_once: bool) -> str | None:
    if value is None:
        return None
    if at_once:
        raise Invalid("An emergency is now: leave the start empty, or ask in the normal way.", field="starts_at")
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
