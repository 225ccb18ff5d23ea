"""Who had which access, and who could see what is classified. Pure."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.lives import LIVES, USES, Life, Lives, over_and_open
from apps.reports.names import Names
from apps.reports.reading import cited, listed, seconds, told, yes

_WHO: Final = (
    Column("request", "id of the request"),
    Column("grant", "id of the access that was made of it"),
    Column("person", "who held it, as the record named them last"),
    Column("person_id", "the same person, as entries name them"),
    Column("database", "short name of the database"),
    Column("level", "query, export or change"),
    Column("connection", "console, or direct: a credential for any client"),
    Column("tables", "tables that it reached; their number where the entry does not list them"),
)
_WHY: Final = (
    Column("reason", "why it was asked for, in the person's words"),
    Column("ticket", "the ticket they named"),
    Column("risk", "low, medium, high or critical, as the policy judged it"),
    Column("rule", "version of the policy and the rule that decided the route"),
    Column("approved_by", "everybody who said yes, in order, with the step that each took; or the policy"),
    Column("break_glass", "yes where it was taken at once in an emergency"),
)
_WHEN: Final = (
    Column("asked_at", "when it was asked for"),
    Column("opened_at", "when the login opened on the server, in the portal's time"),
    Column("expires_at", "when it was to end at the latest, extensions included"),
    Column("ended_at", "when its absence was recorded as read back from the server; empty while it is not"),
    Column("end_cause", "expired, released, revoked, drifted, masked, paused, left, vanished or refused"),
)


def lives_in(lives: Lives, lines: Iterable[Line], asked: Asked) -> Iterator[Life]:
    """Access whose login was open at some time of the period."""
    for life in over_and_open(lives, lines, asked.until):
        wanted = lives.names.is_asked(asked, people=(life.holder,), database=life.database)
        if wanted and life.was_open(asked.since, asked.until):
            yield life


def who(life: Life, names: Names) -> dict[str, object]:
    return {
        "request": life.request,
        "grant": life.grant,
        "person": names.of(life.holder),
        "person_id": life.holder,
        "database": names.database(life.database),
        "level": life.level,
        "connection": life.connection,
        "tables": some(life.tables, life.table_count),
    }


def why(life: Life, names: Names) -> dict[str, object]:
    return {
        "reason": life.reason,
        "ticket": life.ticket,
        "risk": life.risk,
        "rule": life.rule,
        "approved_by": approved_by(life, names),
        "break_glass": yes(life.break_glass),
    }


def when(life: Life) -> dict[str, object]:
    return {
        "asked_at": told(life.asked_at),
        "opened_at": told(life.starts_at or life.opened_at),
        "expires_at": told(life.expires_at),
        "ended_at": told(life.ended_at),
        "end_cause": life.cause,
    }


def proof(life: Life) -> dict[str, object]:
    return {"problems": " ".join(life.problems), "entries": cited(life.entries)}


def some(names: tuple[str, ...], count: int) -> str:
    return listed(names) if names else str(count) if count else ""


def approved_by(life: Life, names: Names) -> str:
    return listed(f"{names.of(one.actor)} ({one.kind})" if one.kind else names.of(one.actor) for one in life.yeses)


def status(life: Life) -> str:
    if life.opened_at is None:
        return "not proven to have opened"
    if life.ended_at is None:
        return "ending" if life.ending_at else "open"
    return "ended without proof" if life.unproven else "ended"


def _grants(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    lives = Lives()
    for life in lives_in(lives, lines, asked):
        start = life.starts_at or life.opened_at
        yield {
            **who(life, lives.names),
            "unmasked": some(life.unmask, life.unmask_count),
            **why(life, lives.names),
            **when(life),
            "seconds_open": seconds(start, life.ended_at),
            "status": status(life),
            **proof(life),
        }


ACCESS_GRANTS: Final = Report(
    name="access-grants",
    title="Access granted",
    answers="Who had access to what, why, who had agreed, and when did it end?",
    counts=(
        "A row is one access whose login was open at some time of the period. Its end is told also where it came after "
        "the period. Access that has not ended stands last."
    ),
    own_columns=(
        *_WHO,
        Column("unmasked", "classified columns that it showed as they are"),
        *_WHY,
        *_WHEN,
        Column("seconds_open", "from the opening to the proof of absence; empty while there is none"),
        Column("status", "open, ending, ended; or that the end or the opening is not proven"),
    ),
    reads=LIVES,
    before=LIVES,
    fold=_grants,
)


def _active(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    lives = Lives()
    for line in takewhile(lambda line: line.recorded_at < asked.until, lines):
        lives.take(line)
    for life in lives.open.values():
        wanted = lives.names.is_asked(asked, people=(life.holder,), database=life.database)
        if wanted and life.was_open(asked.until, asked.until):
            yield {
                **who(life, lives.names),
                "login": life.login,
                "unmasked": some(life.unmask, life.unmask_count),
                **why(life, lives.names),
                **{name: value for name, value in when(life).items() if name not in {"ended_at", "end_cause"}},
                "overdue": yes(life.expires_at is not None and life.expires_at < asked.until),
                "status": status(life),
                **proof(life),
            }


ACTIVE_ACCESS: Final = Report(
    name="active-access",
    title="Access at one moment",
    answers="Who had access at the end of the period?",
    counts=(
        "A row is one access that was open, or not proven to be gone, at the moment at which the period ends; its "
        "beginning does not matter. All of it is known when the last entry before that moment has been read."
    ),
    own_columns=(
        *_WHO,
        Column("login", "name of its login on the server"),
        Column("unmasked", "classified columns that it showed as they are"),
        *_WHY,
        *[column for column in _WHEN if column.name not in {"ended_at", "end_cause"}],
        Column("overdue", "yes where its time was up and its absence not yet proven"),
        Column("status", "open or ending; or that the opening is not proven"),
    ),
    reads=LIVES,
    before=LIVES,
    fold=_active,
)


def _sensitive(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    lives = Lives()
    for life in lives_in(lives, lines, asked):
        if not (life.unmask_count or life.masked_count):
            continue
        owners = listed(lives.names.of(one.actor) for one in life.yeses if one.kind == "data_owner")
        yield {
            **who(life, lives.names),
            "unmasked": some(life.unmask, life.unmask_count),
            "unmasked_count": life.unmask_count,
            "masked": some(life.masked, life.masked_count),
            "data_owners": owners,
            **why(life, lives.names),
            **when(life),
            "credential_shown": life.credentials,
            "statements": life.statements,
            "exports": life.exports,
            "exported_rows": life.exported_rows,
            "last_use_at": told(life.last_use_at),
            "status": status(life),
            "problems": " ".join(life.problems),
            "entries": cited([*life.entries, *([] if life.last_use is None else [life.last_use])]),
        }


SENSITIVE_ACCESS: Final = Report(
    name="sensitive-access",
    title="Access to classified data",
    answers="Who could reach tables with classified columns, who saw which of them unmasked, and who had agreed?",
    counts=(
        "A row is one access, open at some time of the period, whose tables have confidential or restricted columns: "
        "masked, or shown with the yes of those who own the data. Uses are those that the portal sees until its end; "
        "the last one is cited, all of them are in the report statements."
    ),
    own_columns=(
        *_WHO,
        Column("unmasked", "classified columns that it showed as they are"),
        Column("unmasked_count", "their number"),
        Column("masked", "classified columns of its tables that stayed masked, each with its mask"),
        Column("data_owners", "owners of the data who said yes"),
        *_WHY,
        *_WHEN,
        Column("credential_shown", "how often its holder looked at the credential"),
        Column("statements", "statements started in the console"),
        Column("exports", "exports that ended, in the console"),
        Column("exported_rows", "rows in them"),
        Column("last_use_at", "when the last of these was recorded"),
        Column("status", "open, ending, ended; or that the end or the opening is not proven"),
    ),
    reads=LIVES | USES,
    before=LIVES | USES,
    fold=_sensitive,
)
