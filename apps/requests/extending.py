"""More time for access that lives: a new decision by the same policy, about all the time that it would last."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from django.db.models import Q

from apps.accounts.models import User
from apps.core.errors import Conflict
from apps.core.texts import checked
from apps.policies.facts import Facts, Outcome, Verdict
from apps.policies.risk import span
from apps.requests import asking, masked
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.states import RequestStatus

# Not decided yet, or approved and not applied; whether it was is told by the row that the room above makes of it.
_WAITING: Final = Q(status=RequestStatus.PENDING) | Q(status=RequestStatus.APPROVED) & (
    Q(extension=None) | Q(extension__status="queued")
)


@dataclass(frozen=True, kw_only=True)
class Longer:
    """More time, as its holder asks for it. `earlier` became the access, and is never an extension itself."""

    earlier: AccessRequest
    scope: EffectiveScope  # what the access shows
    granted: int  # the minutes that it has already, earlier extensions included
    ends_at: datetime
    minutes: int  # on top
    reason: str


def waiting(earlier: AccessRequest) -> AccessRequest | None:
    """The extension of this request's access that is still to be decided or applied."""
    return AccessRequest.objects.filter(_WAITING, extends=earlier).first()


def analyse(actor: User, longer: Longer) -> asking.Analysis:
    """As asking.analyse(), about all the minutes that the access would last from its start.

    Otherwise a cap could be climbed over step by step. Raises NotFound, NotAllowed, Refused, Invalid, Conflict.
    """
    reason = checked(longer.reason, what="The reason", field="reason", at_most=asking.MAX_REASON, required=True)
    minutes = asking.checked_minutes(longer.minutes)
    in_all = asking.checked_minutes(longer.granted + minutes)
    if (other := waiting(longer.earlier)) is not None:
        raise Conflict(f"You have asked for {span(other.minutes)} more already: wait until that is decided and done.")
    database = asking.database_for(actor, longer.earlier.database.slug)
    scope = replace(longer.scope, minutes=minutes, starts_at=None)
    known = masked.know(database, scope.tables)
    masked.refuse_paused(known)
    masked.check(scope, known)
    asking.check_notifying(database, scope.connection)
    whole_schemas = tuple(longer.earlier.facts["whole_schemas"])
    facts, verdict = asking.judged(actor, scope, known, whole_schemas=whole_schemas, minutes=in_all)
    return asking.Analysis(
        database=database,
        reason=reason,
        ticket=longer.earlier.ticket,
        scope=scope,
        facts=facts,
        verdict=_explained(verdict, facts, minutes),
        known=known,
    )


def _explained(verdict: Verdict, facts: Facts, minutes: int) -> Verdict:
    """Whoever asks for half an hour has to be told which time a cap speaks of."""
    if verdict.outcome is not Outcome.DENY:
        return verdict
    said = f"{verdict.reasons[0]} With {span(minutes)} more this access would last {span(facts.minutes)} in all."
    return replace(verdict, reasons=(said, *verdict.reasons[1:]))
