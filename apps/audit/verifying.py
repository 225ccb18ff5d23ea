"""A worker follows the record by itself: what is new each hour, all of it each day; pages say when, how far, and
which anchors had seen what.

The rows here are for people to look at. They prove nothing to whoever does not trust the portal: that is for verify.py
and an anchor elsewhere.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.audit.models import AnchorState, VerificationRun
from apps.audit.services import RECORD, record
from apps.audit.trail import head
from apps.audit.verification import Verification, verify
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb

log = logging.getLogger(__name__)

WHOLE_EVERY: Final = timedelta(days=1)
NEW_EVERY: Final = timedelta(hours=1)
KEPT: Final = 400  # runs: more than two weeks of hours
_TOLD: Final = 20  # problems that are spelled out
_PACE: Final = 2.0  # seconds between two notes of how far it is


def verify_due() -> VerificationRun | None:
    """What a worker does now and then. Returns the run, if one was due."""
    now, last = clock.now(), last_run()
    first = _where_to_begin(now, last)
    if first is None:
        return None
    run = VerificationRun.objects.create(started_at=now, from_index=first, size=head().size)
    result = verify(from_index=first, progress=_notes(run))
    _finish(run, result, was_whole=last is None or last.problem_count == 0)
    return run


def last_run() -> VerificationRun | None:
    """The newest that came to its end."""
    return VerificationRun.objects.exclude(finished_at=None).first()


def last_whole_run() -> VerificationRun | None:
    return VerificationRun.objects.exclude(finished_at=None).filter(from_index=0).first()


def running() -> VerificationRun | None:
    """One that is on its way; one that was killed is none once another has begun."""
    newest = VerificationRun.objects.first()
    return newest if newest is not None and newest.finished_at is None else None


def _where_to_begin(now: datetime, last: VerificationRun | None) -> int | None:
    """The index, or None where nothing is due. After a problem all of it is followed again each hour."""
    whole = last_whole_run()
    if last is None or whole is None or now - whole.started_at >= WHOLE_EVERY:
        return 0
    if now - last.started_at < NEW_EVERY:
        return None
    if last.problem_count:
        return 0
    return last.reached if head().size > last.reached else None


def _notes(run: VerificationRun) -> Callable[[int, int], None]:
    noted = time.monotonic()

    def note(reached: int, size: int) -> None:
        nonlocal noted
        if time.monotonic() - noted >= _PACE:
            noted = time.monotonic()
            VerificationRun.objects.filter(pk=run.pk).update(reached=reached)

    return note


@verb
def _finish(run: VerificationRun, result: Verification, *, was_whole: bool) -> None:
    run.finished_at, run.reached, run.size, run.hash = clock.now(), result.size, result.size, result.hash
    run.erased, run.problem_count, run.problems = result.erased, result.problem_count, list(result.problems[:_TOLD])
    run.anchors = [_seen(state) for state in AnchorState.objects.all()]
    run.save()
    old = VerificationRun.objects.values_list("pk", flat=True)[KEPT:]
    whole = last_whole_run()
    VerificationRun.objects.filter(pk__in={*old} - {whole.pk if whole else None}).delete()
    if result.problem_count and was_whole:
        log.critical("The record is not as it was sealed: %s", "; ".join(run.problems))
        facts = {"from": run.from_index, "size": run.size, "problems": result.problem_count}
        record(
            Action.RECORD_ALTERED,
            actor="worker",
            subject=RECORD,
            facts=facts,
            disclosed={"problems": "\n".join(run.problems)},
        )
        nudge()


def _seen(state: AnchorState) -> dict[str, Any]:
    return {
        "address": state.address,
        "size": state.size,
        "at": rfc3339(state.succeeded_at) if state.succeeded_at else None,
        "error": state.error,
    }
