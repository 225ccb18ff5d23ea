"""Transactions that can change something.

held:   one stream keeps connection and transaction in its thread, and takes commands that arrive at any process as rows
whole:  the statements come at once, and it is committed or, to try it out, rolled back
one-off: the approved statement, once

Whatever goes wrong, it is rolled back, and the last event says so.
"""

import select
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final

import psycopg
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from apps.accounts.models import User
from apps.audit.body import rfc3339
from apps.console import access, record, slots
from apps.console.access import Asked, Stopped, Usable, Watch
from apps.console.errors import Unavailable
from apps.console.events import Begun, Done, Ended, Event, Failed, Tick, Why
from apps.console.models import Change, ChangeStatus, Command, Kind
from apps.console.record import Running, refusals_recorded
from apps.console.showing import idle_seconds
from apps.console.slots import Slots
from apps.console.streams import Place, Step, Stream, cancelled, key, parsed, refused
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound, PortalError
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.engines.base import EngineError, Level
from apps.engines.postgresql import splitting
from apps.engines.postgresql.running import Session
from apps.engines.running import StatementError
from apps.requests.one_statement import checked_rows

CHANNEL: Final = "jitportal_console"
BEAT_SECONDS: Final = 30  # a page that is not heard for so long is gone
TICK_SECONDS: Final = 3.0
HELD_AT_MOST: Final = 4  # by one process, which serves others with the threads that are left
_WORDS: Final = frozenset({"run", "commit", "rollback"})
_MAX_ONCE: Final = 40
_COUNTED: Final = frozenset((word,) for word in ("INSERT", "UPDATE", "DELETE", "MERGE"))


transactions = Slots(HELD_AT_MOST, "open transactions", "or run your statements in one go")


@dataclass
class _Open:
    """An open transaction, and what became of it."""

    asked: Asked
    change: Change
    use: Usable  # when it was opened: looked at anew for each statement
    session: Session
    watch: Watch
    affected: int = 0
    status: ChangeStatus = ChangeStatus.ROLLED_BACK
    why: Why | None = Why.GONE
    sentence: str = "The page went away, so everything was rolled back."
    failed: Failed | None = None  # the statement that failed last
    counts: bool = False  # whether the number of affected rows decides
    uncounted: bool = False  # then: a statement wrote other rows than it says

    def roll_back(self, why: Why | None, sentence: str) -> None:
        self.status, self.why, self.sentence = ChangeStatus.ROLLED_BACK, why, sentence

    def ended(self) -> Ended:
        committed = {ChangeStatus.COMMITTED: True, ChangeStatus.ROLLED_BACK: False}.get(self.status)
        return Ended(committed=committed, affected=self.affected, why=self.why, sentence=self.sentence)

    def steps(
        self, statements: list[splitting.Statement], *, kind: Kind, once: str | None = None, command: str | None = None
    ) -> Generator[Event, None, bool]:
        """Run them one after the other, each within a savepoint; whether all went well."""
        for number, one in enumerate(statements, start=1):
            where = Running(
                kind=kind,
                pid=self.session.pid,
                name=access.new_name(),
                address=self.asked.address,
                once=key(once, number),
                change=self.change,
            )
            step = Step(self.asked, (self.session, self.watch))
            try:
                row, use = step.start(self.use, one, where)
            except PortalError as refusal:
                self.failed = refused(refusal)
                yield self.failed
                return False
            last: Event | None = None
            before = self._written(one)
            place = Place(number=number, total=len(statements), prepare=self.session.go_on, command=command)
            for last in step.events(row, use, one, place):
                if isinstance(last, Done):
                    self.affected += _changed(last)
                yield last
            if isinstance(last, Failed):
                self.failed = last
                self._take_back()
                return False
            self._see_written(one, last, before)
            if step.is_cancelled:
                self.failed = cancelled()
                yield self.failed
                return False
        return True

    def _written(self, one: splitting.Statement) -> int:
        """Asked only where what a statement says of itself may not be all that it does."""
        return self.session.written() if self.counts and one.words[:1] not in _COUNTED else 0

    def _see_written(self, one: splitting.Statement, last: Event | None, before: int) -> None:
        if not self.counts or not isinstance(last, Done) or one.words[:1] in _COUNTED:
            return
        wrote = self._written(one) - before
        counts_none = not splitting.UNCOUNTABLE.isdisjoint(one.words[:1])
        self.uncounted = self.uncounted or counts_none or wrote != _changed(last)

    def _take_back(self) -> None:
        """After a failure the transaction goes on as it was before it; a lost connection is seen by whoever goes on."""
        if self.session.is_there():
            try:
                self.session.take_back()
            except EngineError:
                self.session.close()

    def commit(self) -> None:
        """Never raises: what became of it is said."""
        try:
            record.committing(actor=self.asked.actor, change=self.change, affected=self.affected)
        except PortalError as refusal:
            self.roll_back(Why.ENDED, f"{refusal.sentence} Everything was rolled back.")
            return
        self.status, self.why = ChangeStatus.UNKNOWN, Why.LOST
        self.sentence = "The server's answer to COMMIT was lost: look whether your changes are there."
        try:
            self.session.commit()
        except StatementError as error:
            if not error.is_lost:
                self.roll_back(
                    Why.SQL, f"The database did not commit: {error.sentence.rstrip('.')}. All is rolled back."
                )
            return
        except (EngineError, Stopped):
            return
        rows = "1 row" if self.affected == 1 else f"{self.affected} rows"
        self.status, self.why, self.sentence = ChangeStatus.COMMITTED, None, f"Committed: {rows} affected."


def _changed(done: Done) -> int:
    return 0 if done.tag.startswith("SELECT") else done.affected or 0


# In one go -----------------------------------------------------------------------------------------------------------


@refusals_recorded
def change(
    *,
    actor: User,
    grant_id: str,
    sql: str,
    commit: bool,
    expected_rows: int | None = None,
    address: str = "",
    once: str | None = None,
) -> Stream:
    checked_rows(expected_rows)
    statements = parsed(sql)
    return Stream(
        _whole(
            Asked(actor=actor, grant_id=grant_id, address=address, once=once),
            statements,
            kind=Kind.CHANGE,
            commit=commit,
            expected_rows=expected_rows,
        )
    )


@refusals_recorded
def run_approved(*, actor: User, grant_id: str, address: str = "") -> Stream:
    use = access.usable(actor, grant_id, Kind.ONE_OFF)
    statements = parsed(use.scope.statement, exactly_one=True)
    asked = Asked(actor=actor, grant_id=grant_id, address=address)
    return Stream(_whole(asked, statements, kind=Kind.ONE_OFF, commit=True, expected_rows=use.scope.expected_rows))


def _whole(
    asked: Asked, statements: list[splitting.Statement], *, kind: Kind, commit: bool, expected_rows: int | None
) -> Generator[Event, None, None]:
    use = access.usable(asked.actor, asked.grant_id, kind)
    record.close_lost()
    with slots.streams.one(), access.session(use.grant) as (session, watch):
        change, use = record.open_change(
            actor=asked.actor,
            use=use,
            kind=kind,
            takes_commands=False,
            expected_rows=expected_rows,
            address=asked.address,
            once=key(asked.once, 1),
        )
        held = _Open(asked, change, use, session, watch, counts=expected_rows is not None)
        with _closed(held):
            yield _begun(held, use)
            # Also an approved statement only reads where the access is at a level that only reads.
            session.begin(use.seconds, read_only=use.scope.level is not Level.CHANGE)
            if not (yield from held.steps(statements, kind=kind, once=asked.once)):
                why = held.failed.why if held.failed else Why.SQL
                said = "You cancelled it" if why is Why.CANCELLED else "A statement failed"
                held.roll_back(why, f"{said}, so everything was rolled back.")
            elif held.uncounted:
                held.roll_back(
                    Why.COUNT,
                    "A statement wrote rows that it does not count, so that they cannot be compared with the "
                    "expected number: everything was rolled back.",
                )
            elif expected_rows is not None and held.affected != expected_rows:
                held.roll_back(
                    Why.COUNT,
                    f"{held.affected} rows were affected and {expected_rows} expected, so everything was rolled back.",
                )
            elif not commit:
                held.roll_back(None, f"Tried out: {held.affected} rows would be affected. Everything was rolled back.")
            else:
                held.commit()
    yield held.ended()


@contextmanager
def _closed(held: _Open) -> Iterator[None]:
    """However it ends, that is recorded; errors of the target are how a transaction ends, not errors."""
    try:
        yield
    except (EngineError, Stopped) as error:
        why = error.why if isinstance(error, Stopped) else Why.LOST
        said = error.sentence if isinstance(error, Stopped) else "The connection to the database was lost."
        held.roll_back(why, f"{said} Everything was rolled back.")
    except Exception:
        held.roll_back(Why.LOST, "It failed unexpectedly, and everything was rolled back.")
        raise
    finally:
        # The connection goes first: nothing is said to be rolled back that might not be.
        if held.status is not ChangeStatus.COMMITTED:
            held.session.close()
        record.close_change(
            change=held.change, status=held.status, affected=held.affected, why=held.why, sentence=held.sentence
        )


def _begun(held: _Open, use: Usable) -> Begun:
    return Begun(transaction=held.change.pk, expires_at=rfc3339(use.expires_at), idle_seconds=idle_seconds(use.grant))


# Held by a stream ----------------------------------------------------------------------------------------------------


@refusals_recorded
def begin(*, actor: User, grant_id: str, address: str = "") -> Stream:
    return Stream(_hold(Asked(actor=actor, grant_id=grant_id, address=address)))


@refusals_recorded
def _refused_command(*, actor: User, grant_id: str, sql: str, address: str = "") -> None:
    parsed(sql)


def say(*, actor: User, transaction_id: str, do: str, sql: str = "", address: str = "", once: str | None = None) -> str:
    """See services.say()."""
    if do not in _WORDS:
        raise Invalid(f"Say one of these: {', '.join(sorted(_WORDS))}.", field="do")
    once = checked(once, what="The token", field="once", at_most=_MAX_ONCE) if once else None
    change = _own(actor, transaction_id)
    if do == "run":
        _refused_command(actor=actor, grant_id=change.grant_id, sql=sql, address=address)
    return str(
        _say(actor=actor, change_id=change.pk, do=do, sql=sql if do == "run" else "", address=address, once=once)
    )


@verb
def _say(*, actor: User, change_id: str, do: str, sql: str, address: str, once: str | None) -> int:
    row = Change.objects.select_for_update(no_key=True).get(pk=change_id)
    _check_open(row)
    access.usable(actor, row.grant_id, Kind.CHANGE)
    now = clock.now()
    command = Command(change=row, do=do, sql=sql, address=address, once=once, said_at=now)
    try:
        with transaction.atomic():
            command.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("This was said already: the stream tells what became of it.") from error
    row.page_seen_at = now
    row.save(update_fields=["page_seen_at"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return command.pk


def beat(*, actor: User, transaction_id: str) -> None:
    change = _own(actor, transaction_id)
    _check_open(change)
    Change.objects.filter(pk=change.pk).update(page_seen_at=clock.now())


def _own(actor: User, change_id: str) -> Change:
    rows = Change.objects.filter(person=actor, takes_commands=True)
    change = None if "\0" in change_id else rows.filter(pk=change_id).first()
    if change is None:
        raise NotFound("There is no such transaction, or it is not yours.")
    return change


def _check_open(change: Change) -> None:
    if change.status != ChangeStatus.OPEN:
        raise Conflict(f"This transaction is over. {change.sentence}")


def _hold(asked: Asked) -> Generator[Event, None, None]:
    use = access.usable(asked.actor, asked.grant_id, Kind.CHANGE)
    record.close_lost()
    with transactions.one(), slots.streams.one(), _listener() as listener, access.session(use.grant) as target:
        change, use = record.open_change(
            actor=asked.actor,
            use=use,
            kind=Kind.CHANGE,
            takes_commands=True,
            address=asked.address,
        )
        held = _Open(asked, change, use, *target)
        with _closed(held):
            yield _begun(held, use)
            held.session.begin(use.seconds, read_only=False)
            yield from _serve(held, listener, idle=idle_seconds(use.grant))
    yield held.ended()


def _serve(
    held: _Open, listener: "psycopg.Connection[tuple[object, ...]]", *, idle: int
) -> Generator[Event, None, None]:
    """Take commands until one ends the transaction, or something else does."""
    used = ticked = monotonic()
    while True:
        command = _take(held.change.pk)
        if command is not None:
            used = monotonic()
            if command.do == "commit":
                held.commit()
                return
            if command.do == "rollback":
                held.roll_back(None, "Rolled back, as you said.")
                return
            held.asked = replace(held.asked, address=command.address)
            yield from held.steps(parsed(command.sql), kind=Kind.CHANGE, command=str(command.pk))
            used = ticked = monotonic()
        else:
            _wait(listener, held.session)
        if _must_end(held, idle_for=monotonic() - used, idle=idle):
            return
        if monotonic() - ticked >= TICK_SECONDS:
            ticked = monotonic()
            yield _tick(held, idle_left=int(idle - (monotonic() - used)))


def _must_end(held: _Open, *, idle_for: float, idle: int) -> bool:
    """Says why on `held`."""
    now = clock.now()
    change = Change.objects.select_related("grant").get(pk=held.change.pk)
    if why := access.why_over(change.grant, now):
        held.roll_back(Why.ENDED, f"{why} Everything was rolled back.")
    elif not held.session.is_there():
        held.roll_back(Why.LOST, "The connection to the database was lost, so everything was rolled back.")
    elif now - change.page_seen_at > timedelta(seconds=BEAT_SECONDS):
        held.roll_back(Why.GONE, f"The page was not heard for {BEAT_SECONDS} s, so everything was rolled back.")
    elif idle_for > idle:
        held.roll_back(
            Why.IDLE, f"Nothing was said for {idle} s, so everything was rolled back: open ones hold up others."
        )
    else:
        Change.objects.filter(pk=held.change.pk).update(held_at=now)
        return False
    return True


def _tick(held: _Open, *, idle_left: int) -> Tick:
    expires_at = held.change.grant.expires_at
    left = (expires_at - clock.now()).total_seconds() if expires_at else 0
    return Tick(seconds_left=max(0, int(left)), idle_left=max(0, idle_left))


@verb
def _take(change_id: str) -> Command | None:
    """The next command, once; its text is not kept."""
    row = Command.objects.select_for_update().filter(change=change_id, taken_at=None).order_by("pk").first()
    if row is None:
        return None
    Command.objects.filter(pk=row.pk).update(taken_at=clock.now(), sql="")
    return row


@contextmanager
def _listener() -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """LISTEN needs a connection of its own, past every pooler."""
    try:
        made = psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise Unavailable("The portal's own database did not let this transaction listen; try again.") from error
    with made:
        made.execute(f"LISTEN {CHANNEL}")
        yield made


def _wait(listener: "psycopg.Connection[tuple[object, ...]]", session: Session) -> None:
    """For a command, or for the target to say something, for a second at most."""
    poll = select.poll()
    for descriptor in (listener.fileno(), session.fileno()):
        poll.register(descriptor, select.POLLIN)
    poll.poll(1000)
    for _ in listener.notifies(timeout=0):
        pass  # they say nothing but "look"
