"""The life of a request: preview, submit, cancel, lapse. Decisions are in apps.approvals."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q

from apps.accounts import stepping_up
from apps.accounts.models import User
from apps.accounts.roles import welcome_people
from apps.accounts.stepping_up import StepUpNeeded
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.catalog.models import Database
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, PortalError
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.policies.facts import Facts, Outcome, Verdict
from apps.requests.asking import MAX_REASON, Analysis, Ask, analyse
from apps.requests.changes import close, locked, move, scope_facts, scope_texts
from apps.requests.errors import Refused
from apps.requests.extending import Longer
from apps.requests.extending import analyse as analyse_longer
from apps.requests.masked import About, FilterLine, MaskedColumn, ReadOnlyColumn, about, know
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.states import RequestStatus

__all__ = [
    "Ask",
    "Longer",
    "Preview",
    "Refused",
    "Sent",
    "cancel",
    "close_of_leavers",
    "in_turn",
    "lapse",
    "lapse_due",
    "preview",
    "refuse_approved",
    "shown_by",
    "submit",
    "submit_extension",
]

POLICY: Final = "policy"  # the actor, where nobody was asked
_BATCH: Final = 100
MAX_WAITING: Final = 20  # of one person: each asks for the attention of others


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would happen if this were submitted now. `route` is as in the API."""

    scope: EffectiveScope
    facts: Facts
    verdict: Verdict
    route: list[dict[str, Any]]
    about: About

    @property
    def masked(self) -> list[MaskedColumn]:
        return self.about.masked

    @property
    def read_only(self) -> list[ReadOnlyColumn]:
        return self.about.read_only

    @property
    def filters(self) -> list[FilterLine]:
        return self.about.filters


@dataclass(frozen=True)
class Sent:
    """An Idempotency-Key, if one came, and the digest of what came with it."""

    key: str | None
    digest: str

    @classmethod
    def of(cls, key: str | None, body: object) -> "Sent":
        """Raises Invalid."""
        if key is not None:
            key = checked(key, what="The Idempotency-Key", field="idempotency_key", at_most=255, required=True)
        return cls(key, hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest())


def preview(*, actor: User, ask: Ask) -> Preview:
    """Read only. Raises what submit() would."""
    analysis = analyse(actor, ask, now=clock.now())
    route = [
        {
            "kind": step.kind.value,
            "group": step.group,
            "needed": step.needed,
            "eligible": len(analysis.facts.eligible.get(step.key, ())),
        }
        for step in analysis.verdict.steps
    ]
    return Preview(
        scope=analysis.scope,
        facts=analysis.facts,
        verdict=analysis.verdict,
        route=route,
        about=about(analysis.scope, analysis.known),
    )


def shown_by(request: AccessRequest) -> About:
    """What the scope of a request shows, masks and limits, with what the catalog says about it now."""
    scope = request.effective
    return about(scope, know(request.database, [view.table for view in scope.views]))


def submit(*, actor: User, ask: Ask, idempotency_key: str | None = None) -> AccessRequest:
    """Ask for access. The answer's status says what became of it: pending, approved or denied.

    The same key with the same body returns the first request. Raises Invalid, NotFound, NotAllowed, Conflict. In an
    emergency the way in is approvals.services.break_glass(), because a review is opened with the request.
    """
    with refusals_recorded(actor, ask):
        if ask.break_glass:
            raise NotAllowed(
                "Access at once takes a new proof of who you are, which a token cannot give: sign in in the portal and "
                "ask there.",
                field="break_glass",
            )
        return _submit(actor=actor, ask=ask, idempotency_key=idempotency_key)


@contextmanager
def refusals_recorded(actor: User, ask: Ask) -> Iterator[None]:
    """Around a verb's transaction: what was well put and not given is recorded when that is gone."""
    try:
        yield
    except StepUpNeeded:
        raise  # on the way, and nothing was refused yet
    except (Refused, NotAllowed) as refusal:
        _record_refusal(actor, ask, refusal)
        raise


@verb
def cancel(*, actor: User, request_id: str, comment: str = "") -> AccessRequest:
    """Withdraw one's own request while nothing was made of it. Raises NotFound, NotAllowed, Conflict, Invalid."""
    comment = checked(comment, what="The comment", field="comment", at_most=MAX_REASON)
    request = locked(request_id, actor=actor)
    if request.requester_id != actor.pk:
        raise NotAllowed("Only the person who asked can cancel a request; you can deny it if it waits for you.")
    # Whoever makes a grant or more time of it locks the request first, so this cannot change before we commit.
    if not AccessRequest.objects.filter(pk=request.pk, grant=None, extension=None).exists():
        raise Conflict("Access was made of this request already: give that back instead.")
    close(request, RequestStatus.CANCELLED, "Cancelled by the person who asked.")
    audit.record(
        Action.REQUEST_CANCELLED,
        actor=actor.audit_id,
        subject=request.audit_id,
        disclosed={"person": actor.name} | ({"comment": comment} if comment else {}),
    )
    nudge()
    return request


def lapse_due() -> int:
    """Close every request that nobody decided in time; returns how many."""
    total = 0
    while count := _lapse_batch():
        total += count
    return total


def close_of_leavers() -> int:
    """Close what people whose account was closed had asked for and did not get yet; returns how many requests.

    Without it a reactivation would bring back what nobody has looked at since.
    """
    total = 0
    while count := _close_batch_of_leavers():
        total += count
    return total


@verb
def refuse_approved(*, request_id: str, why: str) -> AccessRequest:
    """Approved, but its access may not be made after all. `why` is a sentence for the requester. Raises Conflict."""
    request = locked(request_id)
    close(request, RequestStatus.DENIED, why)
    audit.record(
        Action.REQUEST_DENIED,
        actor="worker",
        subject=request.audit_id,
        facts={"digest": request.scope_digest, "after_approval": True},
        disclosed={"why": why},
    )
    nudge()
    return request


def in_turn(actor: User, sent: Sent, *, at_once: bool = False) -> tuple[User, AccessRequest | None]:
    """Within a verb that submits: the person, loaded anew, and what was made of the same key before.

    One person's submissions queue up here, so that the second of two with one key finds the first.
    """
    actor = User.objects.select_for_update(no_key=True).get(pk=actor.pk)
    if sent.key is not None:
        first = AccessRequest.objects.filter(requester=actor, idempotency_key=sent.key).first()
        if first is not None and first.body_digest != sent.digest:
            raise Conflict("This Idempotency-Key was used for another request: take a new one for each.")
        if first is not None:
            return actor, first
    waiting = AccessRequest.objects.filter(requester=actor, status=RequestStatus.PENDING).count()
    if waiting >= MAX_WAITING and not at_once:
        raise Refused(f"{waiting} requests of yours are waiting already: cancel those that you no longer need first.")
    return actor, None


def submit_extension(*, actor: User, longer: Longer, sent: Sent) -> AccessRequest:
    """Within the verb of whoever holds the lock of the access; after in_turn(). Raises as submit()."""
    now = clock.now()
    analysis = analyse_longer(actor, longer)
    request = _new(actor, analysis, now)
    request.extends, request.lapses_at = longer.earlier, min(request.lapses_at, longer.ends_at)
    in_all: dict[str, Json] = {"extends": longer.earlier.pk, "minutes_in_all": analysis.facts.minutes}
    return _file(actor, request, sent, more=in_all)


@verb
def lapse(*, request_id: str, why: str) -> AccessRequest:
    """Close a request that nobody has decided and nothing can be made of. Raises Conflict."""
    request = locked(request_id)
    if request.status != RequestStatus.PENDING:
        raise Conflict("This request is decided already.")
    close(request, RequestStatus.LAPSED, why)
    audit.record(Action.REQUEST_LAPSED, actor="clock", subject=request.audit_id, disclosed={"why": why})
    nudge()
    return request


@verb
def _submit(*, actor: User, ask: Ask, idempotency_key: str | None) -> AccessRequest:
    return enter(actor=actor, ask=ask, idempotency_key=idempotency_key)


def enter(
    *, actor: User, ask: Ask, idempotency_key: str | None = None, stepped_up_at: datetime | None = None
) -> AccessRequest:
    """The request, judged and recorded: to be called inside a verb's transaction, by submit() and break_glass()."""
    sent = Sent.of(idempotency_key, asdict(ask))
    actor, first = in_turn(actor, sent, at_once=ask.break_glass)
    if first is not None:
        return first
    now = clock.now()
    analysis = analyse(actor, ask, now=now)
    if ask.break_glass:
        stepping_up.require_fresh(stepped_up_at, now)
    return _file(actor, _new(actor, analysis, now), sent)


def _file(actor: User, request: AccessRequest, sent: Sent, more: Mapping[str, Json] | None = None) -> AccessRequest:
    """Save a new request, and what the policy says to it at once. `more` facts are for the record."""
    request.idempotency_key, request.body_digest = sent.key, sent.digest if sent.key else ""
    request.save(force_insert=True)
    verdict = Verdict.from_json(request.verdict)
    if verdict.outcome is Outcome.APPROVE:
        move(request, RequestStatus.APPROVED)
    elif verdict.outcome is Outcome.DENY:
        close(request, RequestStatus.DENIED, verdict.reasons[0])
    _record_submission(actor, request, verdict, more or {})
    nudge()
    return request


def _new(actor: User, analysis: Analysis, now: datetime) -> AccessRequest:
    scope = analysis.scope
    return AccessRequest(
        requester=actor,
        database=analysis.database,
        level=scope.level.value,
        connection=scope.connection,
        minutes=scope.minutes,
        starts_at=datetime.fromisoformat(scope.starts_at) if scope.starts_at else None,
        reason=analysis.reason,
        ticket=analysis.ticket,
        break_glass=analysis.facts.break_glass,
        asked_scope=scope.to_json(),
        scope=scope.to_json(),
        scope_digest=scope.digest(),
        facts=analysis.facts.to_json(),
        verdict=analysis.verdict.to_json(),
        policy_version=analysis.verdict.version,
        submitted_at=now,
        lapses_at=now + timedelta(hours=settings.REQUEST_LAPSES_AFTER_HOURS),
    )


def _record_submission(actor: User, request: AccessRequest, verdict: Verdict, more: Mapping[str, Json]) -> None:
    policy: dict[str, Json] = {
        "rule": verdict.rule,
        "version": verdict.version,
        "outcome": verdict.outcome.value,
        "risk": verdict.risk.level.value,
        "break_glass": request.break_glass,
    }
    texts = {"person": actor.name, "reason": request.reason} | scope_texts(request.effective)
    audit.record(
        Action.REQUEST_SUBMITTED,
        actor=actor.audit_id,
        subject=request.audit_id,
        facts={**scope_facts(request.effective), **policy, **more},
        disclosed=texts | ({"ticket": request.ticket} if request.ticket else {}),
    )
    if verdict.outcome is Outcome.APPROVE:
        facts = {"digest": request.scope_digest, **policy}
        audit.record(Action.REQUEST_APPROVED, actor=POLICY, subject=request.audit_id, facts=facts)
    elif verdict.outcome is Outcome.DENY:
        facts = {"digest": request.scope_digest, "reasons": list(verdict.reasons), **policy}
        audit.record(Action.REQUEST_DENIED, actor=POLICY, subject=request.audit_id, facts=facts)


def _record_refusal(actor: User, ask: Ask, refusal: PortalError) -> None:
    database = Database.objects.filter(slug=ask.database).values_list("pk", flat=True).first()
    audit.record_refusal(
        Action.REQUEST_REFUSED,
        actor=actor.audit_id,
        subject=f"database:{database}",
        facts={"field": refusal.field},
        disclosed={"person": actor.name, "why": refusal.sentence},
    )


@verb
def _close_batch_of_leavers() -> int:
    # What extends a grant is part of that, which ends. Only the row itself is asked about: behind a join, whoever had
    # to wait for a lock would not look again.
    open_ones = Q(status=RequestStatus.PENDING) | Q(
        status=RequestStatus.APPROVED, opened_at=None, grant=None, extends=None
    )
    left = AccessRequest.objects.filter(open_ones).exclude(requester__in=welcome_people())
    ids = list(left.order_by("pk").values_list("pk", flat=True)[:_BATCH])
    locked_ones = AccessRequest.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    requests = list(locked_ones.filter(pk__in=ids).select_related("requester").order_by("pk"))
    still = set(left.filter(pk__in=ids).values_list("pk", flat=True))
    closed = [request for request in requests if request.pk in still]
    for request in closed:
        close(request, RequestStatus.DENIED, f"The account of {request.requester.username} was closed.")
    for request in closed:
        texts = {"person": request.requester.name, "why": request.closed_reason}
        facts: dict[str, Json] = {"digest": request.scope_digest, "left": True}
        audit.record(Action.REQUEST_DENIED, actor="clock", subject=request.audit_id, facts=facts, disclosed=texts)
    if closed:
        nudge()
    return len(closed)


@verb
def _lapse_batch() -> int:
    now = clock.now()
    due = AccessRequest.objects.select_for_update(no_key=True, skip_locked=True).filter(
        status=RequestStatus.PENDING, lapses_at__lte=now
    )
    requests = list(due.order_by("lapses_at")[:_BATCH])
    for request in requests:
        close(request, RequestStatus.LAPSED, "Nobody decided it in time; ask again if you still need it.")
    for request in requests:
        audit.record(Action.REQUEST_LAPSED, actor="clock", subject=request.audit_id)
    if requests:
        nudge()
    return len(requests)
