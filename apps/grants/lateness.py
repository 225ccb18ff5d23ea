"""What is late is loud: access that should be gone, and has not been proven to be."""

from datetime import datetime, timedelta
from typing import Final

from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.grants.models import Grant, is_late
from apps.grants.record import CLOCK, record

# Pages show it within seconds; people are called when it is no hiccup of a network.
TOLD_AFTER: Final = timedelta(seconds=60)
_AT_ONCE: Final = 50  # each nudges, so that the clock looks again at once, at what ends first


def tell_late() -> int:
    """Record that grants have been late for a minute, once each; returns how many. Notifications follow from that.

    Some at a time: all the grants of a server may be late at once, and what ends elsewhere must not wait for them.
    """
    late = Grant.objects.filter(is_late(clock.now(), after=TOLD_AFTER), late_told_at=None)
    return sum(_tell(grant_id) for grant_id in list(late.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]))


@verb
def _tell(grant_id: str) -> bool:
    now = clock.now()
    late = Grant.objects.late(now).filter(is_late(now, after=TOLD_AFTER), pk=grant_id, late_told_at=None)
    grant = late.select_for_update(no_key=True, skip_locked=True).first()
    if grant is None:
        return False
    since: datetime = grant.late_since  # type: ignore[attr-defined]
    grant.late_told_at = now
    grant.save(update_fields=["late_told_at"])
    record(
        Action.GRANT_LATE,
        grant,
        actor=CLOCK,
        disclosed={"problem": grant.problem} if grant.problem else {},
        cause=grant.end_cause,
        since=rfc3339(since),
        seconds=int((now - since).total_seconds()),
        tries=grant.tries,
    )
    nudge()
    return True
