"""Running statements that only read: in one READ ONLY transaction, which is rolled back at the end.

What a statement notifies by some function is never told to anybody, as nothing of it is ever committed.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from apps.accounts.models import User
from apps.console import access, slots
from apps.console.access import Asked
from apps.console.events import Event
from apps.console.models import Kind
from apps.console.record import Running, refusals_recorded
from apps.console.streams import Place, Step, Stream, cancelled, key, parsed, passed_on, refused
from apps.core.errors import PortalError
from apps.engines.postgresql.splitting import Statement

_EXPLAIN: Final = "EXPLAIN (ANALYZE false) "  # no word of the statement behind it can make it run


@refusals_recorded
def run(*, actor: User, grant_id: str, sql: str, address: str = "", once: str | None = None) -> Stream:
    return Stream(_read(Asked(actor=actor, grant_id=grant_id, address=address, once=once), parsed(sql)))


@refusals_recorded
def query(*, actor: User, grant_id: str, sql: str, address: str = "") -> Stream:
    return Stream(_read(Asked(actor=actor, grant_id=grant_id, address=address), parsed(sql, exactly_one=True)))


@refusals_recorded
def explain(*, actor: User, grant_id: str, address: str = "") -> Stream:
    use = access.usable(actor, grant_id, Kind.EXPLAIN)
    one = Statement(f"{_EXPLAIN}{use.scope.statement}", -len(_EXPLAIN))
    return Stream(_read(Asked(actor=actor, grant_id=grant_id, address=address), [one], kind=Kind.EXPLAIN))


def _read(asked: Asked, statements: Sequence[Statement], *, kind: Kind = Kind.QUERY) -> Generator[Event, None, None]:
    use = access.usable(asked.actor, asked.grant_id, kind)
    with slots.streams.one(), access.kept_session(use.grant) as held:
        session, _ = held
        for number, one in enumerate(statements, start=1):
            where = Running(
                kind=kind, pid=session.pid, name=access.new_name(), address=asked.address, once=key(asked.once, number)
            )
            step = Step(asked, held)
            try:
                row, use = step.start(use, one, where)
            except PortalError as refusal:
                if number == 1:
                    raise
                yield refused(refusal)
                return
            prepare = partial(session.begin, read_only=True) if number == 1 else session.go_on
            place = Place(number=number, total=len(statements), prepare=prepare)
            if (yield from passed_on(step.events(row, use, one, place))):
                return
            if step.is_cancelled and number < len(statements):
                yield cancelled()
                return
