"""Access whose holder may no longer hold it ends by itself: who left, who lost the right, whom nobody has seen lately.

The clock finds it from rows alone (field notes A5), right after something about people or rights has changed, at the
moment somebody stops being seen, and now and then, whatever was told. Leavers change rows; nothing lower calls here.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, F, Min, Q, QuerySet

from apps.accounts.models import User
from apps.accounts.roles import leaves_at, seen_people, seen_until, welcome_people
from apps.approvals import services as approvals
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.rights import held
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.grants import ending
from apps.grants.models import Grant
from apps.grants.record import CLOCK, record
from apps.grants.states import EndCause, GrantStatus
from apps.requests import services as requests

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

log = logging.getLogger(__name__)

# What can take somebody's access away, or give a vote back its weight.
_CHANGES: Final = (
    Action.ACCOUNT_DEACTIVATED,
    Action.ACCOUNT_REACTIVATED,
    Action.ACCOUNT_GROUPS_CHANGED,
    Action.ACCOUNT_PROVISIONED,
    Action.ACCOUNT_SIGNED_IN,
    Action.RIGHTS_CHANGED,
)
_EVERY: Final = 60.0  # seconds
_BATCH: Final = 100  # grants in one transaction
_STRETCH: Final = 1.0  # seconds; what is left then waits for the next look, so that the clock stays on time
_LIVE: Final = (GrantStatus.QUEUED, GrantStatus.ACTIVE)
ASK_BEFORE: Final = timedelta(hours=1)


class Why(StrEnum):
    """In the words of the record."""

    CLOSED = "account_closed"
    RIGHT = "right_lost"
    UNSEEN = "not_seen"


class _Judged(TypedDict):
    is_welcome: bool
    is_seen: bool
    is_entitled: bool
    leaves_at: datetime | None


class _Leaving(TypedDict):
    leaves_at: datetime


def people_changed_at() -> int:
    """The index of the entry that tells of the last change; the same number is the same people and rights."""
    return audit.last_index(_CHANGES)


def unentitled() -> "QuerySet[WithAnnotations[Grant, _Judged]]":
    """Live grants whose holder may no longer hold them, and what speaks against each; one query for all there are.

    That a database or a server is switched off ends nothing. The right that the glass was broken by will do as well.
    """
    right = held("request_database", user="holder", database="database")
    right |= Q(break_glass=True) & held("break_glass", user="holder", database="database")
    judged = Grant.objects.filter(status__in=_LIVE).annotate(
        is_welcome=_whether(Q(holder__in=welcome_people())),
        is_seen=_whether(Q(holder__in=seen_people())),
        is_entitled=_whether(right),
        leaves_at=leaves_at("holder__"),
    )
    against = Q(is_welcome=False) | Q(is_seen=False) | Q(is_entitled=False)
    return judged.filter(against)  # type: ignore[return-value]  # our queryset class takes no parameters


def leaving() -> "QuerySet[WithAnnotations[Grant, _Leaving]]":
    """Open access whose holder stops being welcome or seen at `leaves_at`, by nothing but time."""
    open_now = Grant.objects.filter(status=GrantStatus.ACTIVE).annotate(leaves_at=leaves_at("holder__"))
    return open_now.exclude(leaves_at=None)  # type: ignore[return-value]  # our queryset class takes no parameters


def end_unentitled() -> tuple[int, bool]:
    """Let what its holder may no longer hold end: how much began to, and whether that was all of it."""
    begun, until = 0, time.monotonic() + _STRETCH
    ids = list(unentitled().order_by("pk").values_list("pk", flat=True))
    for first in range(0, len(ids), _BATCH):
        if time.monotonic() >= until:
            return begun, False
        begun += _end(ids=ids[first : first + _BATCH])
    return begun, True


class Watch:
    """Looks for what people who left have left behind, and remembers what has been looked at."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._looked_at = 0.0
        self._asked: set[tuple[str, datetime]] = set()

    def look(self) -> int:
        """Let what may not be held any more end, and requests with it; returns how many grants began to."""
        changed_at = people_changed_at()
        is_known = changed_at == self._seen and time.monotonic() - self._looked_at < _EVERY
        if is_known and not leaving().filter(leaves_at__lte=clock.in_sql()).exists():
            return 0
        begun, is_all = end_unentitled()
        requests.close_of_leavers()
        approvals.settle_returned()
        self._seen, self._looked_at = changed_at if is_all else None, time.monotonic()
        return begun

    def ask_to_sign_in(self) -> int:
        """Let whoever loses live access within the hour unless they sign in know, once; returns how many were told."""
        now = clock.now()
        soon = leaving().filter(holder__emergency_until=None, leaves_at__gt=now, leaves_at__lte=now + ASK_BEFORE)
        rows = soon.filter(expires_at__gt=F("leaves_at")).order_by().values_list("holder", "holder__seen_at").distinct()
        found = {(user_id, seen_at) for user_id, seen_at in rows if seen_at}
        told = sum(_ask(user_id=user_id, seen_at=seen_at) for user_id, seen_at in found - self._asked)
        self._asked = found
        return told


def next_leaving(now: datetime) -> datetime | None:
    """The first moment after `now` at which access ends because its holder leaves by time, or is asked to sign in."""
    first = leaving().aggregate(
        leaves=Min("leaves_at", filter=Q(leaves_at__gt=now)),
        asked=Min("leaves_at", filter=Q(leaves_at__gt=now + ASK_BEFORE, holder__emergency_until=None)),
    )
    moments = [first["leaves"], first["asked"] and first["asked"] - ASK_BEFORE]
    return min((moment for moment in moments if moment is not None), default=None)


@verb
def _end(*, ids: Sequence[str]) -> int:
    """Asked again under lock: somebody may have been faster, or have signed in just now."""
    list(Grant.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))
    now = clock.now()
    found = unentitled().filter(pk__in=ids).select_related("holder", "database").order_by("pk")
    against = [(grant, *_against(grant, now)) for grant in found.defer("scope", "evidence")]
    for grant, _, sentence, since in against:
        ending.begin(grant, cause=EndCause.LEFT, since=since, reason=sentence)
    for grant, why, sentence, since in against:
        texts = {"person": grant.holder.name, "reason": sentence}
        record(Action.GRANT_UNENTITLED, grant, actor=CLOCK, disclosed=texts, why=why.value, since=rfc3339(since))
    nudge()
    return len(against)


def _against(grant: "WithAnnotations[Grant, _Judged]", now: datetime) -> tuple[Why, str, datetime]:
    """What speaks against it, a sentence for its holder and its owners, and since when."""
    name, slug = grant.holder.username, grant.database.slug
    by_time = min(grant.leaves_at or now, now)
    if not grant.holder.is_active:
        return Why.CLOSED, f"The account of {name} was closed.", now
    if not grant.is_welcome:
        return Why.CLOSED, f"The time of {name} as emergency administrator is over.", by_time
    if not grant.is_entitled:
        return Why.RIGHT, f"{name} may not ask for access to {slug} any more.", now
    hours = settings.SEEN_WITHIN_HOURS
    return Why.UNSEEN, f"Single sign-on has not vouched for {name} for {hours} hours. Sign in and ask again.", by_time


@verb
def _ask(*, user_id: str, seen_at: datetime) -> bool:
    """Once for each time they were seen: the record itself remembers it, whichever clock asked."""
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    until = seen_until(user)
    if user.seen_at != seen_at or until is None:
        return False
    facts = {"seen_at": rfc3339(seen_at), "until": rfc3339(until)}
    asked = audit.latest(limit=1, where=audit.Filter(action=Action.ACCOUNT_SIGN_IN_WANTED, subjects=(user.audit_id,)))
    if asked and asked[0].facts == facts:
        return False
    audit.record(
        Action.ACCOUNT_SIGN_IN_WANTED,
        actor=CLOCK,
        subject=user.audit_id,
        facts=facts,
        disclosed={"username": user.username},
    )
    nudge()
    return True


def _whether(condition: Q) -> "ExpressionWrapper[Q]":
    return ExpressionWrapper(condition, output_field=BooleanField())
