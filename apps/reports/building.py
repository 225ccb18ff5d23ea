"""Making the bundles that were asked for, one after another, in a worker that has the time."""

import hashlib
import logging
import tempfile
from datetime import timedelta
from typing import IO, Final

from django.db.models import Q

from apps.audit import services as audit
from apps.audit import signing
from apps.audit.actions import Action
from apps.core import clock
from apps.core.errors import PortalError
from apps.core.verbs import verb
from apps.reports import bundle_file
from apps.reports.bundles import KEPT_FOR, subject_of
from apps.reports.models import Bundle, BundlePart, BundleStatus

log = logging.getLogger(__name__)

WORKER: Final = "worker"
_LEASE: Final = timedelta(minutes=10)  # without a word of progress somebody else begins anew
_PART: Final = 1024 * 1024


def build_wanted() -> int:
    """All that wait, the oldest first; returns how many became ready."""
    made = 0
    while (bundle := _claim()) is not None:
        made += _build(bundle)
    return made


def _build(bundle: Bundle) -> bool:
    try:
        # So that there is a signed head behind what was asked for: until a minute ago there may have been none.
        signing.sign_due()
        with tempfile.TemporaryFile() as file:
            _write(bundle, file)
            _keep(bundle, file)
    except PortalError as refusal:
        _fail(bundle_id=bundle.pk, sentence=refusal.sentence)
        return False
    except Exception:
        _fail(bundle_id=bundle.pk, sentence="It failed unexpectedly; an operator finds why in a worker's log.")
        raise
    return True


def _write(bundle: Bundle, file: IO[bytes]) -> None:
    plan = bundle_file.plan_of(since=bundle.since, until=bundle.until, reports=bundle.reports)
    mine = Bundle.objects.filter(pk=bundle.pk, status=BundleStatus.BUILDING)
    mine.update(first=plan.first, last=plan.last, total=plan.last + 1 - plan.first)

    def progress(done: int) -> None:
        mine.update(done=done, claimed_until=clock.now() + _LEASE)

    bundle_file.write(plan, file, actor=bundle.wanted_by, name=bundle.file_name, progress=progress)


def _keep(bundle: Bundle, file: IO[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    BundlePart.objects.filter(bundle=bundle).delete()  # of somebody who began before us
    file.seek(0)
    for number, data in enumerate(iter(lambda: file.read(_PART), b"")):
        digest.update(data)
        size += len(data)
        BundlePart.objects.create(bundle=bundle, number=number, data=data)
    _finish(bundle_id=bundle.pk, sha256=digest.hexdigest(), size=size)


@verb
def _claim() -> Bundle | None:
    now = clock.now()
    free = Q(status=BundleStatus.QUEUED) | Q(status=BundleStatus.BUILDING, claimed_until__lt=now)
    rows = Bundle.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("wanted_by")
    bundle = rows.filter(free).order_by("wanted_at").first()
    if bundle is not None:
        bundle.status, bundle.claimed_until, bundle.done, bundle.problem = BundleStatus.BUILDING, now + _LEASE, 0, ""
        bundle.save(update_fields=["status", "claimed_until", "done", "problem"])
    return bundle


@verb
def _finish(*, bundle_id: str, sha256: str, size: int) -> None:
    now, bundle = clock.now(), Bundle.objects.select_for_update(no_key=True).get(pk=bundle_id)
    bundle.status, bundle.claimed_until, bundle.made_at, bundle.expires_at = (
        BundleStatus.READY, None, now, now + KEPT_FOR,
    )  # fmt: skip
    bundle.sha256, bundle.bytes = sha256, size
    bundle.save()
    facts = {"first": bundle.first, "last": bundle.last, "sha256": sha256, "bytes": size}
    audit.record(Action.BUNDLE_MADE, actor=WORKER, subject=subject_of(bundle), facts=facts)


@verb
def _fail(*, bundle_id: str, sentence: str) -> None:
    bundle = Bundle.objects.select_for_update(no_key=True).get(pk=bundle_id)
    bundle.status, bundle.claimed_until, bundle.problem = BundleStatus.FAILED, None, sentence
    bundle.save(update_fields=["status", "claimed_until", "problem"])
    audit.record(Action.BUNDLE_FAILED, actor=WORKER, subject=subject_of(bundle), disclosed={"problem": sentence})
