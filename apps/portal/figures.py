"""How the portal does, in numbers read from rows: for `/metrics`, and for what `/healthz` says beyond yes and no."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.db.models import Count, Sum

from apps.approvals.models import Review
from apps.audit import services as audit
from apps.audit.models import AnchorState, Checkpoint, RecordBreak
from apps.catalog.models import Server
from apps.core import clock
from apps.grants.health import Kind
from apps.grants.models import Continuity, Grant, Heartbeat, ServerState
from apps.grants.tasks import Cluster

# What should beat, whether it ever has or not.
_HEARTS: Final = (Kind.CLOCK.value, *(f"{Kind.WORKER}:{cluster}" for cluster in Cluster))


@dataclass(frozen=True)
class GrantCounts:
    """Of one status and cause of its end; the cause is empty while there is none."""

    status: str
    cause: str
    grants: int
    issued: int
    sessions_cut: int


class Figures:
    """As of one moment; nothing is read before it is asked for. Holds no names but those of servers."""

    @cached_property
    def now(self) -> datetime:
        return clock.now()

    @cached_property
    def grants(self) -> list[GrantCounts]:
        """Rows of grants are kept for ever, so that these only grow but for what lives."""
        rows = Grant.objects.order_by("status", "end_cause").values_list("status", "end_cause")
        counted = rows.annotate(grants=Count("pk"), issued=Count("starts_at"), cut=Sum("sessions_cut"))
        return [GrantCounts(*row) for row in counted]

    @cached_property
    def late_since(self) -> list[datetime]:
        """One for each grant that is late, longest first."""
        late = Grant.objects.late(self.now).only("pk")
        return [grant.late_since for grant in late]  # type: ignore[attr-defined]

    @property
    def oldest_late_seconds(self) -> float:
        return self._age(self.late_since[0]) if self.late_since else 0.0

    @cached_property
    def unreachable(self) -> dict[str, float]:
        """Server -> for how many seconds it has not answered."""
        found = ServerState.objects.filter(unreachable_since__isnull=False, server__retired_at=None)
        return {name: self._age(since) for name, since in found.values_list("server__name", "unreachable_since")}

    @cached_property
    def reconciled(self) -> dict[str, float]:
        """Server in use -> seconds since the last reconciliation; infinite where there was none."""
        used = Server.objects.filter(is_active=True, retired_at=None, manager_secret__isnull=False)
        return {name: self._age(at) for name, at in used.values_list("name", "state__reconciled_at")}

    @cached_property
    def strays(self) -> dict[str, int]:
        """Server -> logins found there that the portal does not know."""
        found = ServerState.objects.exclude(strays=[]).values_list("server__name", "strays")
        return {name: len(strays) for name, strays in found}

    @cached_property
    def _beats(self) -> list[tuple[str, str, datetime, Mapping[str, int]]]:
        return list(Heartbeat.objects.order_by("at").values_list("name", "kind", "at", "queues"))

    @property
    def hearts(self) -> dict[str, float]:
        """`clock`, `worker:access`, `worker:bulk` -> seconds since its last beat; infinite where there was none."""
        last = {kind if kind == Kind.CLOCK else name: at for name, kind, at, _ in self._beats}
        return {heart: self._age(last.get(heart)) for heart in _HEARTS}

    @property
    def queues(self) -> dict[str, int]:
        """Cluster -> tasks in its queue, as a clock last saw them; empty when no clock has looked."""
        seen = [queues for _, kind, _, queues in self._beats if kind == Kind.CLOCK]
        return dict(seen[-1]) if seen else {}

    @cached_property
    def record_entries(self) -> int:
        return audit.head().size

    @cached_property
    def open_reviews(self) -> int:
        return Review.objects.filter(closed_at=None).count()

    @cached_property
    def unconfirmed(self) -> bool:
        """Whether targets remember more than this portal, so that it does nothing on them."""
        return Continuity.objects.filter(confirmed_at=None).exists()

    @cached_property
    def breaks(self) -> int:
        """Histories that an anchor has seen and that are not the record's: nothing is signed."""
        return RecordBreak.objects.filter(confirmed_at=None).count()

    @cached_property
    def checkpoint_age(self) -> float:
        """Seconds since the newest signed checkpoint; infinite where there is none."""
        return self._age(Checkpoint.objects.order_by("-pk").values_list("at", flat=True).first())

    @cached_property
    def anchors_behind(self) -> dict[str, str]:
        """Address -> what is wrong with it."""
        return dict(AnchorState.objects.exclude(failed_at=None).values_list("address", "error"))

    def _age(self, moment: datetime | None) -> float:
        return math.inf if moment is None else max(0.0, (self.now - moment).total_seconds())


def detail(*, in_full: bool) -> dict[str, Any]:
    """For `/healthz`. Not in full it is counts alone, which say nothing about anybody."""
    figures = Figures()
    counts: dict[str, Any] = {
        "late_grants": len(figures.late_since),
        "unreachable_servers": len(figures.unreachable),
        "queues": figures.queues,
        "record_breaks": figures.breaks,
        "anchors_behind": len(figures.anchors_behind),
    }
    if not in_full:
        return counts
    return counts | {
        "oldest_late_seconds": round(figures.oldest_late_seconds),
        "unreachable": {name: round(seconds) for name, seconds in figures.unreachable.items()},
        "reconciled_seconds_ago": {name: _finite(seconds) for name, seconds in figures.reconciled.items()},
        "checkpoint_seconds_ago": _finite(figures.checkpoint_age),
        "anchors": figures.anchors_behind,
        "beat_seconds_ago": {name: _finite(seconds) for name, seconds in figures.hearts.items()},
    }


def _finite(seconds: float) -> int | None:
    """JSON has no infinity."""
    return round(seconds) if math.isfinite(seconds) else None
