"""Whether an approved request may still become access: asked when its time comes and again before each try (A5)."""

from datetime import datetime, timedelta
from typing import Final

from apps.accounts.roles import is_seen, is_welcome
from apps.approvals.models import Review
from apps.approvals.routes import standing_for, tally_now
from apps.catalog.models import Database, Table
from apps.catalog.names import quoted
from apps.engines.base import TableName
from apps.grants.surplus import allowed, withdrawal
from apps.policies.facts import Outcome, Verdict
from apps.requests.asking import check_notifying
from apps.requests.errors import Refused
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope

_TIME_TO_SIGN_IN: Final = timedelta(days=1)  # from when access should have started


def waits(request: AccessRequest, now: datetime) -> bool:
    """Whether it is put off: nothing but a sign-in of its requester is missing, and there is time for that."""
    if is_seen(request.requester) or not is_welcome(request.requester):
        return False
    return now < max(request.lapses_at, (request.starts_at or request.submitted_at) + _TIME_TO_SIGN_IN)


def refusal(request: AccessRequest) -> str:
    """A sentence that says why this may not be granted any more; empty when it may."""
    return (
        _of_person(request)
        or _of_votes(request)
        or of_scope(request.database, request.effective)
        or _of_listeners(request)
    )


def of_scope(database: Database, scope: EffectiveScope) -> str:
    """Why this may not be shown as things are; empty when it may."""
    wanted = set(scope.tables)
    rows = Table.objects.filter(
        database=database, schema__in={table.schema for table in wanted}, gone_at=None
    ).values_list("schema", "name")
    if missing := sorted(wanted - {TableName(*row) for row in rows}):
        return f"{quoted(missing[0])} is gone from {database.slug}: ask again without it."
    found = withdrawal(scope, allowed(database, wanted))
    return found.reason if found else ""


def _of_person(request: AccessRequest) -> str:
    person, database = request.requester, request.database
    if not is_welcome(person):
        return f"The account of {person.username} is closed, so nothing is granted to it."
    if not is_seen(person):
        return f"Single sign-on has not vouched for {person.username} lately: sign in once and ask again."
    if not database.is_active or not database.server.is_active:
        return f"Access to {database.slug} is not given at present: it is switched off in the catalog."
    if not Database.objects.open_to(person, break_glass=request.break_glass).filter(pk=database.pk).exists():
        what = "break the glass on" if request.break_glass else "ask for access to"
        return f"{person.username} may not {what} {database.slug} any more."
    return ""


def _of_votes(request: AccessRequest) -> str:
    """The policy's yes was to what was asked for; people's votes are to what they saw."""
    if request.break_glass and not Review.objects.filter(request=request).exists():
        return "The glass was broken without a review, which is not how it is done: nothing is granted. Ask again."
    scope = request.effective
    if scope.digest() != request.scope_digest or scope.minutes != request.minutes:
        return "What would be granted is not what was approved any more: ask again."
    if Verdict.from_json(request.verdict).outcome is Outcome.APPROVE:
        asked = EffectiveScope.from_json(request.asked_scope)
        return "" if asked.covers(scope) else "What would be granted is more than the policy approved: ask again."
    decisions = list(request.decisions.all())
    if tally_now(request, decisions, standing_for([request], decisions)).complete:
        return ""
    return "The approvals do not stand any more: somebody who gave one may no longer decide about this. Ask again."


def _of_listeners(request: AccessRequest) -> str:
    """Functions that notify may have come since."""
    try:
        check_notifying(request.database, request.connection)
    except Refused as refusal:
        return refusal.sentence
    return ""
