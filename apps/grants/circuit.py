"""Whether a server answers. While it does not, one question now and then goes there, and nothing else.

Only the question is believed: whatever failed on a server, it is asked once more for the time, and only if that has no
answer the circuit opens. So a database that is missing closes nothing to the others. One worker asks at a time, also
before work on a server that has not answered this process just now: a server that is gone keeps one worker busy for as
long as connecting takes, never all of them. What waits there is tried for ever.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from django.db.models import Q, QuerySet

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Engine, EngineError, Target, TargetUnavailable
from apps.grants.models import Grant, ServerState
from apps.grants.record import WORKER
from apps.grants.states import LIVE, GrantStatus
from apps.grants.target import reach, reach_to_look


class Patience(IntEnum):
    """The longest pause, in seconds, between two questions to a server that does not answer, by what waits there.

    Where somebody should have lost access a server that is back must be found within seconds, at the price of one
    worker for a third of the time; who waits for access can wait a minute; otherwise nobody waits.
    """

    ENDING = 15
    ISSUING = 60
    IDLE = 300


# A server that has answered this process so many seconds ago is not asked again.
_FRESH: Final = 2.0
# For so long one question is somebody's; connecting gives up sooner.
_QUESTION: Final = timedelta(seconds=12)
_WAIT: Final = 1.0  # seconds for the answer to somebody else's question
_LOOK: Final = 0.02
_answered_at: dict[str, float] = {}  # by server, of this process, by the monotonic clock


@contextmanager
def through(
    server: Server, *, patience: Patience = Patience.IDLE, looks: bool = False
) -> Iterator[tuple[Engine, Target]]:
    """The way to a server that answers. Raises TargetUnavailable at once where it does not.

    `looks`: nothing is changed there. Otherwise raises OnlyLooking while this portal may not act.
    """
    if not answers(server, patience=patience):
        raise TargetUnavailable(problem(server))
    try:
        yield reach_to_look(server) if looks else reach(server)
    except TargetUnavailable:
        _answered_at.pop(server.pk, None)
        answers(server, patience=patience)
        raise
    _answered_at[server.pk] = time.monotonic()


def answers(server: Server, *, patience: Patience = Patience.IDLE, at_once: bool = False) -> bool:
    """Whether there is any use in turning to the server now. `at_once`: a person wants to know."""
    if time.monotonic() - _answered_at.get(server.pk, float("-inf")) < _FRESH:
        return True
    ServerState.objects.get_or_create(server_id=server.pk)
    now = clock.now()
    free = Q() if at_once else _may_be_asked(now, patience)
    if ServerState.objects.filter(free, server=server.pk).update(next_probe_at=now + _QUESTION):
        return _ask(server)
    return _somebody_found_out(server)


def shut(now: datetime, *, patience: Patience = Patience.IDLE) -> QuerySet[ServerState]:
    """Servers that are not to be turned to now: they do not answer, or somebody is finding out."""
    return ServerState.objects.exclude(_may_be_asked(now, patience)).filter(unreachable_since__isnull=False)


def next_question(server_id: str) -> datetime | None:
    """When a server that does not answer is asked again; None for one that does."""
    states = ServerState.objects.filter(server=server_id, unreachable_since__isnull=False)
    return states.values_list("next_probe_at", flat=True).first()


def problem(server: Server) -> str:
    """What the last question to it has shown."""
    said = ServerState.objects.filter(server=server.pk).values_list("problem", flat=True).first()
    return said or f"The server {server} has not answered yet; it is tried again."


def _may_be_asked(now: datetime, patience: Patience) -> Q:
    """A pause that is longer than what waits by now allows was chosen when nothing waited."""
    too_long = Q(unreachable_since__isnull=False, next_probe_at__gt=now + timedelta(seconds=patience))
    return Q(next_probe_at=None) | Q(next_probe_at__lte=now) | too_long


def _ask(server: Server) -> bool:
    try:
        engine, target = reach_to_look(server)
        engine.now(target)
    except TargetUnavailable as error:
        _no_answer(server_id=server.pk, sentence=error.sentence)
        return False
    except EngineError:
        pass  # a refusal is an answer
    _answered_at[server.pk] = time.monotonic()
    changed = ServerState.objects.filter(server=server.pk, unreachable_since=None).update(next_probe_at=None)
    if not changed:
        _answer(server_id=server.pk)
    return True


def _somebody_found_out(server: Server) -> bool:
    """Wait a moment for the one who asks."""
    until = time.monotonic() + _WAIT
    while time.monotonic() < until:
        state = ServerState.objects.get(server=server.pk)
        if state.unreachable_since is not None:
            return False
        if state.next_probe_at is None:
            return True
        time.sleep(_LOOK)
    return False


@verb
def _no_answer(*, server_id: str, sentence: str) -> None:
    """Told once, when it opens; all that waits there has the sentence and waits for the next question."""
    now = clock.now()
    state = ServerState.objects.select_for_update(no_key=True).select_related("server").get(server=server_id)
    opens = state.unreachable_since is None
    state.unreachable_since = state.unreachable_since or now
    state.failures += 1
    state.problem = sentence
    state.next_probe_at = now + _pause(state.failures, _patience(server_id, now))
    state.save(update_fields=["unreachable_since", "failures", "problem", "next_probe_at"])
    waiting = _waiting(server_id, now)
    waiting.filter(next_try_at__lt=state.next_probe_at).update(next_try_at=state.next_probe_at)
    # Those that were never tried have their first failure told one by one.
    waiting.filter(tries__gt=0).exclude(problem=sentence).update(problem=sentence)
    if opens:
        _tell(Action.SERVER_UNREACHABLE, state.server, facts={}, disclosed={"problem": sentence})
    nudge()  # each time: the clock has to know when the next question is due


@verb
def _answer(*, server_id: str) -> None:
    """Closed again: what waits is due at once."""
    now = clock.now()
    state = ServerState.objects.select_for_update(no_key=True).select_related("server").get(server=server_id)
    if state.unreachable_since is None:
        return
    facts: dict[str, Json] = {
        "seconds": int((now - state.unreachable_since).total_seconds()),
        "questions": state.failures,
    }
    state.unreachable_since, state.failures, state.problem, state.next_probe_at = None, 0, "", None
    state.save(update_fields=["unreachable_since", "failures", "problem", "next_probe_at"])
    _waiting(server_id, now).filter(next_try_at__gt=now).update(next_try_at=now)
    _tell(Action.SERVER_REACHED, state.server, facts=facts)
    nudge()


def _tell(
    action: Action, server: Server, *, facts: Mapping[str, Json], disclosed: Mapping[str, str] | None = None
) -> None:
    held = Counter(Grant.objects.live().filter(server=server).order_by().values_list("status", flat=True))
    counts: dict[str, Json] = {status.value: held[status.value] for status in LIVE}
    audit.record(action, actor=WORKER, subject=server.audit_id, facts={**counts, **facts}, disclosed=disclosed)


def _waiting(server_id: str, now: datetime) -> QuerySet[Grant]:
    """Grants that nobody works on."""
    unfinished = Grant.objects.filter(server=server_id, status__in=[GrantStatus.QUEUED, GrantStatus.ENDING])
    return unfinished.exclude(claimed_until__gt=now)


def _patience(server_id: str, now: datetime) -> Patience:
    grants = Grant.objects.filter(server=server_id)
    over = Q(status=GrantStatus.ENDING) | Q(status=GrantStatus.ACTIVE, expires_at__lte=now)
    if grants.filter(over).exists():
        return Patience.ENDING
    return Patience.ISSUING if grants.filter(status=GrantStatus.QUEUED).exists() else Patience.IDLE


def _pause(failures: int, patience: Patience) -> timedelta:
    """Half a second, doubling, with jitter so that many servers of one network are not asked at once."""
    seconds = min(float(patience), 0.5 * 2 ** min(failures, 16))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
