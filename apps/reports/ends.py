"""How soon access was gone. Pure."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from apps.audit.trail import Line
from apps.reports.access import proof, status
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.lives import LIVES, Life, Lives, over_and_open
from apps.reports.reading import seconds, told, yes

IN_TIME: Final = timedelta(seconds=60)  # what people are called about when it takes longer


def _ends(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    lives = Lives()
    for life in over_and_open(lives, lines, asked.until):
        if not lives.names.is_asked(asked, people=(life.holder,), database=life.database):
            continue
        if _belongs(life, asked):
            yield {
                "request": life.request,
                "grant": life.grant,
                "person": lives.names.of(life.holder),
                "person_id": life.holder,
                "database": lives.names.database(life.database),
                "end_cause": life.cause,
                "ended_by": lives.names.of(life.ended_by) if life.ended_by else "",
                "why": life.end_reason,
                "due_at": told(life.since),
                "locked_at": told(life.locked_at),
                "clean_at": told(life.clean_at),
                "proven_at": told(life.ended_at),
                "seconds_to_clean": seconds(life.since, life.clean_at),
                "seconds_to_proof": seconds(life.since, life.ended_at),
                "sessions_ended": life.sessions_ended if life.ended_at else "",
                "in_time": _in_time(life),
                "alarms": life.late,
                "status": status(life),
                **proof(life),
            }


def _belongs(life: Life, asked: Asked) -> bool:
    """Ended in the period; or due in it, or before, and not proven to be gone by its end."""
    if life.ended_at is not None and life.ended_at < asked.until:
        return life.ended_at >= asked.since and (life.opened_at is not None or bool(life.problems))
    due = life.since or life.expires_at
    return bool(life.problems) or (life.opened_at is not None and due is not None and due < asked.until)


def _in_time(life: Life) -> str:
    if life.ended_at is None:
        return "no"
    if life.unproven or life.since is None:
        return "not known"
    return yes(life.ended_at - life.since <= IN_TIME)


REVOCATION_TIMELINESS: Final = Report(
    name="revocation-timeliness",
    title="How soon access ended",
    answers="Was every access gone when it should have been, and what proves it?",
    counts=(
        "A row is one access that was proven to be gone within the period; or that was due to be gone before the "
        "period was over and was not, with its end where one came later. Access that never opened is not counted."
    ),
    own_columns=(
        Column("request", "id of the request"),
        Column("grant", "id of the access"),
        Column("person", "who held it, as the record named them last"),
        Column("person_id", "the same person, as entries name them"),
        Column("database", "short name of the database"),
        Column("end_cause", "expired, released, revoked, drifted, masked, paused, left or vanished"),
        Column("ended_by", "who or what ended it before its time; empty where its time was up"),
        Column("why", "their reason, or what had changed"),
        Column("due_at", "when access should have been gone: its time was up, or somebody ended it"),
        Column("locked_at", "when the server refused new sessions, by the server's clock"),
        Column("clean_at", "when no session was left, by the server's clock"),
        Column("proven_at", "when the proof that the login is gone was recorded"),
        Column("seconds_to_clean", "from due_at to clean_at; two clocks, so it may be a little below zero"),
        Column("seconds_to_proof", "from due_at to proven_at"),
        Column("sessions_ended", "sessions that were cut"),
        Column("in_time", f"yes where it was proven within {IN_TIME.total_seconds():.0f} seconds"),
        Column("alarms", "how often people were called because it was late"),
        Column("status", "ended; ended without proof: a person's word that the server is no more; open or ending"),
    ),
    reads=LIVES,
    before=LIVES,
    fold=_ends,
)
