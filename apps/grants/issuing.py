"""Making a grant real: claim and intent are committed, then the target is asked, then what it said is recorded.

A lost answer is the normal case: the login's name is fixed before the first try and the password is kept, so that
the next try finds what the last one left and takes it over.
"""

import logging
import time
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

import rfc8785
from django.conf import settings
from django.db.models import Q, QuerySet

from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.catalog.names import quoted_column
from apps.core import clock, sealed
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import EngineError, LoginSpec, Opened, Refused, Severity, Shown, TargetUnavailable
from apps.engines.postgresql import names, scram
from apps.grants import circuit, continuity, ending, entitlement, leases
from apps.grants.circuit import Patience
from apps.grants.models import Grant
from apps.grants.record import WORKER, digest, record
from apps.grants.specs import columns_of, scope_of
from apps.grants.states import OVER, EndCause, GrantStatus
from apps.requests.scope import EffectiveScope

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 60.0
# A grant that cannot be made is given up after the minutes it was for, but nobody gives up sooner than this.
PATIENCE: Final = timedelta(minutes=15)
# For how long one task goes on with the next grant of a server before it lets others have the worker.
_STRETCH_SECONDS: Final = 0.5
_LISTED_BYTES: Final = {"objects": 24_000, "views": 16_000, "unmasked": 8_000}  # a body of the record holds 64 KiB
_DISCLOSED_BYTES: Final = 24_000
_LIFE: Final = ("pk", "queued_at", "minutes")
_CLEAR_PROBLEM: Final[dict[str, Any]] = {"problem": "", "next_try_at": None, "claimed_by": "", "claimed_until": None}


def waiting(now: datetime) -> QuerySet[Grant]:
    """Queued grants that can be worked on now."""
    due = Q(next_try_at=None) | Q(next_try_at__lte=now)
    return Grant.objects.filter(due, status=GrantStatus.QUEUED).exclude(claimed_until__gt=now)


def issue_queued(*, server_id: str) -> None:
    """Issue what waits on one server, oldest first, for a moment; the clock asks again for the rest."""
    is_reached = circuit.answers(Server.objects.get(pk=server_id), patience=Patience.ISSUING)
    until = time.monotonic() + _STRETCH_SECONDS
    while time.monotonic() < until:
        waits = waiting(clock.now()).filter(server=server_id).order_by("queued_at", "pk")
        # Where nobody answers only those have their turn whose time is over: they are given up.
        grant_id = next((grant.pk for grant in waits.only(*_LIFE) if is_reached or _is_too_late(grant)), None)
        if grant_id is None or not issue(grant_id=grant_id):
            return


def issue(*, grant_id: str) -> bool:
    """Make the login of a queued grant. False where somebody else works on its server, or on it.

    Whatever goes wrong is said on the grant and tried again; what the target refuses, or nobody could do in time, is
    closed and failed.
    """
    server_id = Grant.objects.values_list("server_id", flat=True).get(pk=grant_id)
    with leases.server_lease(server_id) as token:
        grant = _claim(grant_id=grant_id, token=token) if token else None
        if token is None or grant is None:
            return False
        if grant.status == GrantStatus.ENDING:
            ending.close([grant], token=token)
        else:
            _make(grant, token)
        return True


@verb
def _claim(*, grant_id: str, token: str) -> Grant | None:
    now = clock.now()
    grants = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("server", "database", "request")
    grant = grants.get(pk=grant_id)
    if not waiting(now).filter(pk=grant_id).exists():
        return None
    if why := entitlement.refusal(grant.request):
        _refuse(grant, why, token=token, now=now)
        return grant
    leases.claim(grant, token=token, now=now)
    if grant.password is None:
        grant.password = _new_password(grant)
    grant.scope_role = names.scope_role_name(scope_of(grant))
    grant.save()
    if grant.tries == 1:
        record(Action.GRANT_ISSUING, grant, actor=WORKER, scope=grant.scope_digest, scope_role=grant.scope_role)
    return grant


def _make(grant: Grant, token: str) -> None:
    before = clock.now()
    try:
        opened = _open_on_target(grant)
    except Refused as error:
        _give_up(grant, token, error.sentence)
        return
    except EngineError as error:
        _later(grant, token, error.sentence)
        return
    except Exception:
        log.exception("Issuing %s failed unexpectedly.", grant.audit_id)
        _later(grant, token, "Making this login failed unexpectedly; see the worker's log.")
        return
    skew = _skew(opened, grant.server, before=before, after=clock.now())
    if why := _too_much_skew(skew):
        _give_up(grant, token, why)
    elif not _record_issued(grant_id=grant.pk, token=token, opened=opened, skew=skew):
        _after_losing_it(grant)


def _open_on_target(grant: Grant) -> Opened:
    _require_ready(grant.server)
    with circuit.through(grant.server, patience=Patience.ISSUING) as (engine, target):
        # Before the login is there: whoever does not know of its making finds the mark together with it.
        continuity.leave_mark(grant.server)
        return engine.open_login(target, _spec(grant))


def _require_ready(server: Server) -> None:
    """Nothing is issued on a server with an error in its last preflight; a fresh one is asked for."""
    errors = [finding["sentence"] for finding in server.findings if finding["severity"] == Severity.ERROR]
    if errors:
        Server.objects.filter(pk=server.pk, check_wanted_at=None).update(check_wanted_at=clock.now())
        nudge()
        raise TargetUnavailable(f"The server {server} is not ready for grants: {errors[0]} It is checked again.")


def _spec(grant: Grant) -> LoginSpec:
    scope = scope_of(grant)
    columns = columns_of(grant.database_id, [scope])
    return LoginSpec(
        login=grant.login,
        verifier=scram.verifier(password_of(grant)),
        reference=grant.request_id,
        seconds=grant.minutes * 60,
        scope=scope,
        classified=columns.classified,
        known=columns.known_of(scope),
    )


def password_of(grant: Grant) -> str:
    """In the clear, for whoever holds the ring. Raises CannotOpen."""
    return sealed.decrypt(bytes(grant.password or b""), ring=settings.GRANT_PASSWORD_RING, bound_to=_owner(grant))


def encrypted_anew(grant: Grant) -> bytes:
    """The same password with the newest key. Raises CannotOpen."""
    return sealed.encrypt(password_of(grant), ring=settings.GRANT_PASSWORD_RING, bound_to=_owner(grant))


def _new_password(grant: Grant) -> bytes:
    return sealed.encrypt(scram.new_password(), ring=settings.GRANT_PASSWORD_RING, bound_to=_owner(grant))


def _owner(grant: Grant) -> str:
    """What the encrypted password is bound to: moved to another row it does not open."""
    return f"{grant.audit_id}:{grant.login}"


@verb
def _record_issued(*, grant_id: str, token: str, opened: Opened, skew: timedelta) -> bool:
    """False when the grant is no longer queued, or no longer ours.

    Its end is the instant of the target's own VALID UNTIL, told in the portal's time: counted from the LOGIN, neither
    early nor late however far the clocks are apart, also where an earlier try opened it and its answer was lost.
    """
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    if grant.status != GrantStatus.QUEUED or grant.claimed_by != token:
        return False
    grant.status = GrantStatus.ACTIVE
    grant.starts_at, grant.expires_at = opened.opened_at - skew, opened.valid_until - skew
    grant.scope_role, grant.valid_until = opened.scope_role, opened.valid_until
    grant.evidence = _evidence(opened)
    for name, value in _CLEAR_PROBLEM.items():
        setattr(grant, name, value)
    grant.save()
    record(Action.GRANT_ISSUED, grant, actor=WORKER, **_told(grant, opened, skew))
    nudge()
    return True


def _told(grant: Grant, opened: Opened, skew: timedelta) -> dict[str, Any]:
    return {
        "starts_at": rfc3339(opened.opened_at - skew),
        "expires_at": rfc3339(opened.valid_until - skew),
        "valid_until": rfc3339(opened.valid_until),
        "skew_ms": skew // timedelta(milliseconds=1),
        "minutes": grant.minutes,
        "connection": grant.connection,
        "scope": grant.scope_digest,
        "scope_role": grant.scope_role,
        "reach": len(opened.evidence.reach),
        "findings": len(opened.evidence.findings),
        "evidence": digest(grant.evidence),
    } | _listed(grant)


def _listed(grant: Grant) -> dict[str, Any]:
    """What the login can reach, object by object and column by column, where an entry of the record can hold it."""
    evidence: dict[str, Any] = grant.evidence or {}
    rows = {
        "objects": evidence.get("reach", []),
        "views": [_told_view(view) for view in evidence.get("views", [])],
        "unmasked": [quoted_column(*one) for one in EffectiveScope.from_json(grant.scope).unmask],
    }
    listed = {name: found for name, found in rows.items() if len(rfc8785.dumps(found)) <= _LISTED_BYTES[name]}
    texts = {"findings": "\n".join(evidence.get("findings", [])), "filters": _told_filters(evidence)}
    disclosed = {name: text for name, text in texts.items() if 0 < len(text.encode()) <= _DISCLOSED_BYTES}
    return listed | ({"disclosed": disclosed} if disclosed else {})


def _told_view(view: dict[str, Any]) -> dict[str, Any]:
    """Without the values of its filters: those may be about people."""
    return {
        "view": view["view"],
        "table": view["table"],
        "columns": len(view["columns"]),
        "masked": {column["name"]: column["mask"] for column in view["columns"] if column["mask"] is not None},
        "filters": len(view["filters"]),
        "ordered": view["ordered"],
    }


def _told_filters(evidence: dict[str, Any]) -> str:
    views = evidence.get("views", [])
    return "\n".join(f"{view['table']}: {condition}" for view in views for condition in view["filters"])


def _skew(opened: Opened, server: Server, *, before: datetime, after: datetime) -> timedelta:
    """How far the target's clock is ahead: as the last preflight measured it, within what this very try has shown."""
    at_least = max(opened.evidence.checked_at, opened.opened_at) - after
    at_most = opened.evidence.checked_at - before
    measured = (at_least + at_most) / 2 if server.skew_seconds is None else timedelta(seconds=server.skew_seconds)
    return min(max(measured, at_least), at_most)


def _too_much_skew(skew: timedelta) -> str:
    seconds, allowed = skew.total_seconds(), settings.MAX_SKEW_SECONDS
    if abs(seconds) <= allowed:
        return ""
    return (
        f"The target's clock is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}; at most {allowed} s are "
        "allowed, because times in the record would not agree. Set the clock of the server."
    )


def _evidence(opened: Opened) -> dict[str, Any]:
    evidence = opened.evidence
    return {
        "checked_at": rfc3339(evidence.checked_at),
        "reach": [{**asdict(item), "privileges": list(item.privileges)} for item in evidence.reach],
        "findings": list(evidence.findings),
        "views": [_view(shown) for shown in evidence.views],
    }


def _view(shown: Shown) -> dict[str, Any]:
    columns = [{**asdict(column), "writable": list(column.writable)} for column in shown.columns]
    return {**asdict(shown), "columns": columns, "filters": list(shown.filters)}


@verb
def _record_later(*, grant_id: str, token: str, sentence: str) -> bool:
    """Say what went wrong and when it is tried again; False when it has been tried for long enough."""
    now = clock.now()
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    if grant.status != GrantStatus.QUEUED or grant.claimed_by != token:
        return True
    if _is_too_late(grant):
        return False
    is_new = grant.problem != sentence
    leases.give_back(grant)
    grant.problem = sentence
    again = circuit.next_question(grant.server_id)
    grant.next_try_at = again or now + leases.delay(grant.tries, at_most=LONGEST_PAUSE)
    grant.save()
    if is_new:
        record(Action.GRANT_ISSUE_FAILED, grant, actor=WORKER, tries=grant.tries, disclosed={"problem": sentence})
    nudge()
    return True


def _is_too_late(grant: Grant) -> bool:
    return clock.now() > grant.queued_at + max(timedelta(minutes=grant.minutes), PATIENCE)


def _later(grant: Grant, token: str, sentence: str) -> None:
    if not _record_later(grant_id=grant.pk, token=token, sentence=sentence):
        _give_up(grant, token, f"This could not be done in time. The last try said: {sentence}")


def _give_up(grant: Grant, token: str, sentence: str) -> None:
    """Failed is what it becomes once the target has shown that nothing is left there."""
    if _record_refused(grant_id=grant.pk, token=token, sentence=sentence):
        ending.close([grant], token=token)
    else:
        _after_losing_it(grant)


@verb
def _record_refused(*, grant_id: str, token: str, sentence: str) -> bool:
    now = clock.now()
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    if grant.status != GrantStatus.QUEUED or grant.claimed_by != token:
        return False
    _refuse(grant, sentence, token=token, now=now)
    return True


def _refuse(grant: Grant, sentence: str, *, token: str, now: datetime) -> None:
    """Of a locked grant; whoever refuses goes on to close it."""
    ending.begin(grant, cause=EndCause.REFUSED, since=now, reason=sentence)
    leases.claim(grant, token=token, now=now)
    grant.save()
    record(Action.GRANT_ENDING, grant, actor=WORKER, cause=grant.end_cause, disclosed={"problem": sentence})


def _after_losing_it(grant: Grant) -> None:
    """Somebody ended the grant meanwhile: what we opened goes. If another worker made it, it is theirs."""
    now = clock.now()
    if Grant.objects.filter(pk=grant.pk, status__in=[GrantStatus.ENDING, *OVER]).exists():
        ending.take_back(grant)
        mine = Grant.objects.filter(pk=grant.pk, status=GrantStatus.ENDING, claimed_by=grant.claimed_by)
        mine.update(claimed_by="", claimed_until=None, next_try_at=now)
        nudge()
