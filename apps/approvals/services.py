"""Deciding: approve, narrow, deny. What is decided only afterwards is in reviews.py.

Every decision is checked here and nowhere else: never by the requester, once per person, only by somebody who is
eligible for the step that the request has reached, and bound to the scope that was seen (field notes A1–A6).
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from django.db import Error
from django.db.models import QuerySet

from apps.accounts.dual_control import who_widened_lately
from apps.accounts.models import User
from apps.accounts.roles import is_seen
from apps.approvals.limits import Typed, parse_filters, views_for
from apps.approvals.models import Decision
from apps.approvals.narrowing import narrowed
from apps.approvals.reviews import break_glass, close_review
from apps.approvals.routes import lacks_security, leaves_enough, route_of, standing_for, steps_of, tally_now
from apps.approvals.tally import Tally
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.policies.approvers import Standing, eligible
from apps.policies.evaluate import SECURITY
from apps.policies.facts import Step, StepKind
from apps.requests.changes import close, locked, move, scope_facts, scope_texts
from apps.requests.masked import check, know
from apps.requests.models import AccessRequest
from apps.requests.one_statement import check_tables
from apps.requests.scope import EffectiveScope
from apps.requests.states import RequestStatus

__all__ = ["approve", "break_glass", "close_review", "deny", "inbox", "route_of", "settle_returned"]

log = logging.getLogger(__name__)

MAX_COMMENT = 2_000
WIDENED: Final = (
    "Somebody who asked or agreed has changed in the last seven days what people get, so security has to agree as well."
)
CLOCK: Final = "clock"  # the actor, where time or a return has decided


@dataclass(frozen=True)
class _Less:
    """What an approver keeps; None is "as asked"."""

    minutes: int | None
    tables: Sequence[str] | None
    unmask: Sequence[str] | None
    filters: Typed | None


@dataclass(frozen=True)
class _Turn:
    """A request, locked, with somebody who may decide its current step now."""

    request: AccessRequest
    decisions: list[Decision]
    tally: Tally

    @property
    def facts(self) -> dict[str, Json]:
        step = steps_of(self.request)[self.tally.step]
        return {"step": self.tally.step, "kind": step.kind.value, "group": step.group}


def approve(
    *,
    actor: User,
    request_id: str,
    comment: str = "",
    minutes: int | None = None,
    tables: Sequence[str] | None = None,
    unmask: Sequence[str] | None = None,
    filters: Typed | None = None,
    seen_digest: str | None = None,
) -> AccessRequest:
    """Say yes to the request as it stands, or to less of it; what is None stays as asked.

    `filters` limit the rows of tables, {"sales.orders": [{"column", "operator", "values"}]}, and come on top of what
    limits them already. `seen_digest` is the scope's digest on the page that the person looked at. The request that
    comes back is approved if this was the last vote it needed. Raises Invalid, NotAllowed, NotFound, Conflict.
    """
    try:
        return _approve(
            actor=actor,
            request_id=request_id,
            comment=comment,
            less=_Less(minutes, tables, unmask, filters),
            seen_digest=seen_digest,
        )
    except (NotAllowed, NotFound) as refusal:
        _record_refusal(actor, request_id, refusal)
        raise


def deny(*, actor: User, request_id: str, comment: str) -> AccessRequest:
    """Say no, with a reason for the requester; it is the end of the request. Raises as approve()."""
    try:
        return _deny(actor=actor, request_id=request_id, comment=comment)
    except (NotAllowed, NotFound) as refusal:
        _record_refusal(actor, request_id, refusal)
        raise


def inbox(user: User) -> QuerySet[AccessRequest]:
    """Requests that `user` could decide now, asked for longest ago first.

    The number of queries does not depend on how many wait.
    """
    waiting = (
        AccessRequest.objects.visible_to(user)
        .filter(status=RequestStatus.PENDING, lapses_at__gt=clock.in_sql())
        .exclude(requester=user)
        .exclude(decisions__decider=user)
    )
    read = ("status", "requester_id", "database_id", "verdict", "scope")
    requests = list(waiting.only(*read).prefetch_related("decisions"))
    if not requests:
        return AccessRequest.objects.none()
    decisions = [decision for request in requests for decision in request.decisions.all()]
    people = standing_for(requests, decisions, user)
    mine = []
    for request in requests:
        steps, count = steps_of(request), tally_now(request, request.decisions.all(), people)
        if count.step < len(steps) and people.may_take(
            user.pk, steps[count.step], requester_id=request.requester_id, database_id=request.database_id
        ):
            mine.append(request.pk)
    return AccessRequest.objects.filter(pk__in=mine).order_by("submitted_at")


def settle_returned() -> list[str]:
    """Approve what has had all its votes since somebody whose vote did not count came back; returns their ids.

    Nobody else would: the route waits for no one any more.
    """
    voted = Decision.objects.filter(kind=Decision.Kind.APPROVE, request__status=RequestStatus.PENDING)
    ids = voted.values_list("request", flat=True).distinct().order_by("request")
    requests = list(AccessRequest.objects.filter(pk__in=ids).prefetch_related("decisions"))
    decisions = [decision for request in requests for decision in request.decisions.all()]
    people = standing_for(requests, decisions)
    return [request.pk for request in requests if _is_complete(request, people) and _settle(request_id=request.pk)]


@verb
def _settle(*, request_id: str) -> bool:
    """Asked again under lock."""
    request = locked(request_id)
    decisions = list(request.decisions.select_related("decider").order_by("decided_at"))
    people = standing_for([request], decisions)
    waits = request.status == RequestStatus.PENDING and request.lapses_at > clock.now()
    if not waits or not _is_complete(request, people):
        return False
    if lacks_security(request, decisions, tally_now(request, decisions, people)):
        _add_security(request)
        nudge()
        return False
    move(request, RequestStatus.APPROVED)
    facts: dict[str, Json] = {"digest": request.scope_digest, "minutes": request.minutes, "returned": True}
    audit.record(Action.REQUEST_APPROVED, actor=CLOCK, subject=request.audit_id, facts=facts)
    nudge()
    return True


def _is_complete(request: AccessRequest, people: Standing) -> bool:
    """False for a row that nobody can read: it must not keep the others waiting."""
    try:
        return tally_now(request, request.decisions.order_by("decided_at"), people).complete
    except Error:
        raise
    except Exception:
        log.exception("The votes on request %s could not be counted.", request.pk)
        return False


@verb
def _approve(*, actor: User, request_id: str, comment: str, less: _Less, seen_digest: str | None) -> AccessRequest:
    comment = checked(comment, what="The comment", field="comment", at_most=MAX_COMMENT)
    turn = _turn(actor, request_id)
    request = turn.request
    if seen_digest is not None and seen_digest != request.scope_digest:
        raise Conflict("This request has changed since you looked; please look again before you decide.")
    before = request.effective
    scope = _narrowed(request, before, less)
    if not leaves_enough(request, turn.decisions, turn.tally, actor):
        raise Conflict(
            "If you take this step, nobody is left for a later one that only you can take: "
            "leave this step to somebody else."
        )
    decision = _decide(turn, actor, Decision.Kind.APPROVE, scope, comment)
    if scope != before:
        request.scope, request.scope_digest, request.minutes = scope.to_json(), scope.digest(), scope.minutes
        request.save(update_fields=["scope", "scope_digest", "minutes"])
    decisions = [*turn.decisions, decision]
    now = tally_now(request, decisions, standing_for([request], decisions))
    adds_security = now.complete and lacks_security(request, decisions, now)
    if adds_security:
        _bring_security_in(request, decisions)
    complete = now.complete and not adds_security
    if complete:
        move(request, RequestStatus.APPROVED)
    _record_approval(actor, turn, before, decision, complete=complete, adds_security=adds_security)
    nudge()
    return request


@verb
def _deny(*, actor: User, request_id: str, comment: str) -> AccessRequest:
    comment = checked(comment, what="The comment", field="comment", at_most=MAX_COMMENT, required=True)
    turn = _turn(actor, request_id)
    request = turn.request
    decision = _decide(turn, actor, Decision.Kind.DENY, request.effective, comment)
    close(request, RequestStatus.DENIED, f"{actor.name} denied it: {comment}")
    facts = {"digest": decision.scope_digest, **turn.facts}
    texts = {"person": actor.name, "comment": comment}
    audit.record(Action.DECISION_DENIED, actor=actor.audit_id, subject=request.audit_id, facts=facts, disclosed=texts)
    audit.record(
        Action.REQUEST_DENIED,
        actor=actor.audit_id,
        subject=request.audit_id,
        facts={"digest": decision.scope_digest},
        disclosed=texts,
    )
    nudge()
    return request


def _narrowed(request: AccessRequest, before: EffectiveScope, less: _Less) -> EffectiveScope:
    """What an approver leaves, as it could be issued. Raises Invalid."""
    filters = parse_filters(before, less.filters)
    viewed = views_for(request.database, before, filters)
    scope = narrowed(
        before, minutes=less.minutes, tables=less.tables, unmask=less.unmask, filters=filters, viewed=viewed
    )
    if request.extends_id is not None and replace(scope, minutes=before.minutes) != before:
        raise Invalid(
            "More time can only be shortened: the login goes on as it is, so its tables, rows and columns stay. "
            "Approve fewer minutes, or deny it."
        )
    if scope.views != before.views or scope.unmask != before.unmask:
        # A column that stays masked now, or a view where there was none, may ask for what its table does not have.
        check(scope, know(request.database, [view.table for view in scope.views]))
    if scope != before:
        check_tables(scope, request.database, left_out=set(before.tables) - set(scope.tables))
    return scope


def _turn(actor: User, request_id: str) -> _Turn:
    """Lock the request, and check everything that could speak against a decision by `actor` now."""
    request = locked(request_id, actor=actor)
    decisions = list(request.decisions.order_by("decided_at"))
    if request.requester_id == actor.pk:
        raise NotAllowed("Nobody decides a request of their own; somebody else has to look at it.")
    own = next((decision for decision in decisions if decision.decider_id == actor.pk), None)
    if own:
        raise Conflict(f"You have decided this request already: you {own.get_kind_display()} it.")
    if request.status != RequestStatus.PENDING:
        raise Conflict(f"This request is {request.get_status_display()}; there is nothing left to decide.")
    if request.lapses_at <= clock.now():
        raise Conflict("This request has waited too long and lapses; it has to be made again.")
    if not is_seen(actor):
        raise NotAllowed(
            "Single sign-on has not vouched for you lately, so your vote would not count. Sign in once more."
        )
    people = standing_for([request], decisions, actor)
    now = tally_now(request, decisions, people)
    done, step = steps_of(request)[: now.step], steps_of(request)[now.step]

    def may_take(step: Step) -> bool:
        return people.may_take(actor.pk, step, requester_id=request.requester_id, database_id=request.database_id)

    if may_take(step):
        return _Turn(request, decisions, now)
    if any(map(may_take, done)):
        raise Conflict(f"Others have decided in your place; now this request waits for {_circle(step, request)}.")
    raise NotAllowed(f"This request waits for {_circle(step, request)}, and you are none.")


def _decide(turn: _Turn, actor: User, kind: Decision.Kind, scope: EffectiveScope, comment: str) -> Decision:
    return Decision.objects.create(
        request=turn.request,
        decider=actor,
        kind=kind,
        step=turn.tally.step,
        scope=scope.to_json(),
        scope_digest=scope.digest(),
        comment=comment,
        decided_at=clock.now(),
    )


def _bring_security_in(request: AccessRequest, decisions: Sequence[Decision]) -> None:
    """A step more, for somebody of security who has not widened access lately. Raises Conflict where nobody is left."""
    found = eligible(SECURITY, requester=request.requester, database=request.database)
    able = list(found.exclude(pk__in=[decision.decider_id for decision in decisions]))
    if not {person.pk for person in able} - who_widened_lately(able):
        raise Conflict(f"{WIDENED} Nobody of security is left who could: tell your database administrators.")
    _add_security(request)


def _add_security(request: AccessRequest) -> None:
    verdict = request.verdict
    request.verdict = verdict | {
        "steps": [*verdict["steps"], asdict(SECURITY)],
        "reasons": [*verdict["reasons"], WIDENED],
    }
    request.save(update_fields=["verdict"])


def _record_approval(
    actor: User, turn: _Turn, before: EffectiveScope, decision: Decision, *, complete: bool, adds_security: bool
) -> None:
    request, scope = turn.request, turn.request.effective
    narrowed_from = before.digest() if scope != before else None
    texts = {"person": actor.name} | ({"comment": decision.comment} if decision.comment else {})
    if narrowed_from:
        facts = scope_facts(scope) | {"from": narrowed_from, **turn.facts}
        audit.record(
            Action.DECISION_NARROWED,
            actor=actor.audit_id,
            subject=request.audit_id,
            facts=facts,
            disclosed=texts | scope_texts(scope),
        )
    facts = {"digest": decision.scope_digest, "narrowed_from": narrowed_from, **turn.facts}
    if adds_security:
        facts["adds_security"] = True
    if scope.unmask:
        facts["unmask_count"] = len(scope.unmask)
    audit.record(Action.DECISION_APPROVED, actor=actor.audit_id, subject=request.audit_id, facts=facts, disclosed=texts)
    if complete:
        audit.record(
            Action.REQUEST_APPROVED,
            actor=actor.audit_id,
            subject=request.audit_id,
            facts={"digest": request.scope_digest, "minutes": request.minutes},
        )


def _record_refusal(actor: User, request_id: str, refusal: PortalError) -> None:
    about = ("request", AccessRequest, request_id)
    audit.record_attempt(Action.DECISION_REFUSED, refusal, actor=actor.audit_id, person=actor.name, about=about)


def _circle(step: Step, request: AccessRequest) -> str:
    return {
        StepKind.PEER: "a peer of the person who asks",
        StepKind.OWNER: f"an owner of {request.database.slug}",
        StepKind.DATA_OWNER: f"an owner of the data in {request.database.slug}",
        StepKind.GROUP: f"a member of the group {step.group}",
    }[step.kind]
