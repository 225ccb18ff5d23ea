"""Evidence bundles: asking for one, how it becomes, taking it. A worker writes it (bundle_file.py)."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.reports.listing import REPORTS
from apps.reports.models import Bundle, BundlePart, BundleStatus
from apps.reports.services import check_period, named, require_auditor

KEPT_FOR: Final = timedelta(days=7)
_AT_ONCE: Final = 3  # of one person, waiting or being made


@verb
def want_bundle(
    *, actor: User, since: datetime | None, until: datetime | None, reports: Collection[str] | None = None
) -> Bundle:
    """Ask for the evidence of a period that is over, with these reports, or all of them. Recorded.

    Raises NotAllowed, NotFound (no such report), Invalid, Conflict (too many at once).
    """
    require_auditor(actor)
    if since is None or until is None:
        raise Invalid("Say from when to when.", field="from" if since is None else "to")
    now = clock.now()
    check_period(since, until)
    if until > now:
        raise Invalid("The period is not over yet: choose an end that has passed.", field="to")
    wanted = list(REPORTS) if reports is None else sorted(named(name).name for name in set(reports))
    moving = Bundle.objects.filter(wanted_by=actor, status__in=[BundleStatus.QUEUED, BundleStatus.BUILDING])
    if moving.count() >= _AT_ONCE:
        raise Conflict(f"{_AT_ONCE} of your bundles are being made already: wait for one of them.")
    bundle = Bundle(wanted_by=actor, wanted_at=now, since=since, until=until, reports=wanted)
    bundle.save(force_insert=True)
    facts = {"from": rfc3339(since), "to": rfc3339(until), "reports": wanted}
    texts = {"person": actor.name}
    audit.record(
        Action.BUNDLE_WANTED, actor=actor.audit_id, subject=subject_of(bundle), facts=facts, disclosed=texts, at=now
    )
    nudge()
    return bundle


def bundles_of(actor: User) -> QuerySet[Bundle]:
    """All that auditors have asked for, newest first: they are each other's deputies. Raises NotAllowed."""
    require_auditor(actor)
    return Bundle.objects.select_related("wanted_by")


def bundle_of(actor: User, bundle_id: str) -> Bundle:
    """Raises NotAllowed, NotFound."""
    found = None if "\0" in bundle_id else bundles_of(actor).filter(pk=bundle_id).first()
    if found is None:
        raise NotFound("There is no such bundle.")
    return found


@verb
def take_bundle(*, actor: User, bundle_id: str) -> tuple[Bundle, Iterator[bytes]]:
    """The file, piece by piece; that it is taken is recorded first. Raises NotAllowed, NotFound, Conflict."""
    bundle = bundle_of(actor, bundle_id)
    if bundle.status != BundleStatus.READY or bundle.expires_at is None or bundle.expires_at <= clock.now():
        raise Conflict(
            "This bundle is not there yet: look again in a moment."
            if bundle.is_moving
            else "This bundle is not kept any more, or was never made: ask for another one."
        )
    facts = {"sha256": bundle.sha256, "bytes": bundle.bytes}
    texts = {"person": actor.name}
    audit.record(Action.BUNDLE_TAKEN, actor=actor.audit_id, subject=subject_of(bundle), facts=facts, disclosed=texts)
    return bundle, _pieces(bundle)


def drop_old() -> int:
    """Those that are kept no longer; returns how many."""
    return _drop(Q(status=BundleStatus.READY, expires_at__lte=clock.now()))


def subject_of(bundle: Bundle) -> str:
    return f"bundle:{bundle.pk}"


@verb
def _drop(which: Q) -> int:
    gone = list(Bundle.objects.select_for_update(no_key=True).filter(which).values_list("pk", flat=True))
    BundlePart.objects.filter(bundle__in=gone).delete()
    return Bundle.objects.filter(pk__in=gone).update(status=BundleStatus.GONE)


def _pieces(bundle: Bundle) -> Iterator[bytes]:
    """One query each: the file is larger than what one should have in memory."""
    numbers = list(bundle.parts.order_by("number").values_list("number", flat=True))
    for number in numbers:
        yield bytes(bundle.parts.values_list("data", flat=True).get(number=number))
