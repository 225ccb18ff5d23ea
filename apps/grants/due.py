"""What there is to do now, read from rows alone, and when the next thing will be due."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Database, Server
from apps.catalog.suggestions import to_suggest
from apps.engines.base import Severity
from apps.grants import (
    circuit,
    continuity,
    ending,
    extending,
    issuing,
    opening,
    resetting,
    scopes,
    services,
    unentitled,
    withdrawal,
)
from apps.grants.circuit import Patience
from apps.grants.models import Extension, Grant, ServerLease, ServerState
from apps.grants.states import ExtensionStatus, GrantStatus
from apps.grants.tasks import Cluster, Task
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

DRIFT_EVERY: Final = timedelta(minutes=2)
RECONCILE_EVERY: Final = timedelta(minutes=1)
RETIRE_EVERY: Final = timedelta(seconds=10)
LOOK_EVERY: Final = timedelta(seconds=15)
SYNC_EVERY: Final = timedelta(minutes=15)
CHECK_EVERY: Final = timedelta(hours=1)
CHECK_AGAIN: Final = timedelta(minutes=1)  # with an error nothing is granted there, and it may be mended any time


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task to ask for. The same `stamp` is the same work: it is asked for again only after `again` seconds."""

    task: Task
    argument: str
    stamp: str
    again: float | None
    cluster: Cluster | None = None


def ends(now: datetime) -> Iterator[Work]:
    """Not where nobody answers: there only the next question is due."""
    reached = ending.due(now).exclude(server__in=circuit.shut(now, patience=Patience.ENDING).values("server"))
    yield from _by_server(Task.END, reached, F("expires_at"))


def issues(now: datetime) -> Iterator[Work]:
    """Not where somebody is at work: they go on with what waits, or nudge when they are done."""
    free = issuing.waiting(now).exclude(server__lease__until__gt=now)
    reached = free.exclude(server__in=circuit.shut(now, patience=Patience.ISSUING).values("server"))
    yield from _by_server(Task.ISSUE, reached, F("queued_at"))


def extensions(now: datetime) -> Iterator[Work]:
    """Their access goes on for a while, or ends before they are applied; then they are closed by the same task."""
    shut = circuit.shut(now, patience=Patience.ISSUING).values("server")
    rows = extending.waiting(now).exclude(grant__server__in=shut).order_by().values("grant__server")
    due = Coalesce(F("next_try_at"), F("queued_at"))
    for row in rows.annotate(first=Min(due), last=Max(due)):
        stamp = f"{row['first']} {row['last']}"
        yield Work(task=Task.EXTEND, argument=row["grant__server"], stamp=stamp, again=2)


def resets(now: datetime) -> Iterator[Work]:
    """Passwords that their holders have changed and want back."""
    shut = circuit.shut(now, patience=Patience.ISSUING).values("server")
    rows = resetting.wanted().exclude(server__in=shut).order_by().values("server")
    for row in rows.annotate(last=Max("request__password_reset_wanted_at")):
        stamp = str(row["last"])
        yield Work(task=Task.RESET_PASSWORD, argument=row["server"], stamp=stamp, again=resetting.AGAIN)


def rest(now: datetime) -> list[Iterator[Work]]:
    """What may take a moment, part by part."""
    shut = set(circuit.shut(now).values_list("server", flat=True))
    used = [server_id for server_id in _used_servers() if server_id not in shut]
    return [
        _unused_scopes(now, shut),
        _looks(now, used),
        _drifts(now, used),
        _checks(now, shut),
        _reconciliations(now, shut),
        _retirements(now),
        _syncs(now, shut),
        _suggestions(now),
        _everywhere(now),
    ]


def _everywhere(now: datetime) -> Iterator[Work]:
    minute = _bucket(now, timedelta(minutes=1))
    yield Work(task=Task.SETTLE_STATEMENTS, argument="", stamp=minute, again=None)
    yield Work(task=Task.SIGN, argument="", stamp=minute, again=None)
    yield Work(task=Task.VERIFY, argument="", stamp=_bucket(now, timedelta(minutes=5)), again=None)
    # At once when one is wanted, and now and then: those go that were kept for long enough.
    wanted = f"{audit.last_index([Action.BUNDLE_WANTED])}:{_bucket(now, timedelta(minutes=10))}"
    yield Work(task=Task.BUILD_BUNDLES, argument="", stamp=wanted, again=None)
    yield Work(task=Task.FOLD, argument="", stamp=str(audit.head().size), again=30)
    beat = _bucket(now, timedelta(seconds=settings.HEARTBEAT_SECONDS))
    for cluster in Cluster:
        yield Work(task=Task.BEAT, argument=cluster, stamp=beat, again=None, cluster=cluster)


def next_instant(now: datetime) -> datetime | None:
    """The first moment after `now` at which a row becomes due."""
    waiting = Grant.objects.filter(status__in=[GrantStatus.QUEUED, GrantStatus.ENDING])
    moments = [
        _first(Grant.objects.filter(status=GrantStatus.ACTIVE), "expires_at", now),
        _first(waiting, "next_try_at", now),
        _first(waiting, "claimed_until", now),
        _first(Extension.objects.filter(status=ExtensionStatus.QUEUED), "next_try_at", now),
        _first(Extension.objects.filter(status=ExtensionStatus.QUEUED), "claimed_until", now),
        _first(ServerLease.objects.all(), "until", now),
        _first(ServerState.objects.filter(unreachable_since__isnull=False), "next_probe_at", now),
        _first(opening.waiting_to_open(), "starts_at", now),
        _first(AccessRequest.objects.filter(status=RequestStatus.PENDING), "lapses_at", now),
        _first(services.to_warn(), "warn_at", now),
        unentitled.next_leaving(now),
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _by_server(task: Task, grants: QuerySet[Grant], otherwise: F) -> Iterator[Work]:
    due = Coalesce(F("next_try_at"), otherwise)
    rows = grants.order_by().values("server").annotate(first=Min(due), last=Max(due)).order_by("first")
    for row in rows:
        yield Work(task=task, argument=row["server"], stamp=f"{row['first']} {row['last']}", again=2)


def _unused_scopes(now: datetime, shut: Container[str]) -> Iterator[Work]:
    """As with issues: not where somebody is at work. Soon, because an owner may wait to alter a table under a view."""
    roles = defaultdict(list)
    for row in scopes.unused():
        roles[row.server].append(row.role)
    taken = set(ServerLease.objects.filter(until__gt=now).values_list("server", flat=True))
    for server_id, unused in roles.items():
        if server_id not in taken and server_id not in shut:
            yield Work(task=Task.DROP_SCOPES, argument=server_id, stamp=" ".join(sorted(unused)), again=2)


def _looks(now: datetime, used: Iterable[str]) -> Iterator[Work]:
    for server_id in used:
        yield Work(task=Task.LOOK_AT_SESSIONS, argument=server_id, stamp=_bucket(now, LOOK_EVERY), again=None)


def _drifts(now: datetime, used: Iterable[str]) -> Iterator[Work]:
    """Also right after the catalog has changed: what is classified by now may be within reach of a live login."""
    stamp = f"{_bucket(now, DRIFT_EVERY)} {withdrawal.catalog_changed_at()}"
    for server_id in used:
        yield Work(task=Task.CHECK_DRIFT, argument=server_id, stamp=stamp, again=None)


def _used_servers() -> Iterator[str]:
    used = Grant.objects.filter(status=GrantStatus.ACTIVE).order_by().values_list("server", flat=True)
    yield from used.distinct()


def _checks(now: datetime, shut: Container[str]) -> Iterator[Work]:
    """A person's wish to check is heard in any case."""
    wanted = Q(check_wanted_at__isnull=False) | Q(checked_at=None) | Q(checked_at__lt=now - CHECK_EVERY)
    wanted |= Q(findings__contains=[{"severity": Severity.ERROR}], checked_at__lt=now - CHECK_AGAIN)
    for server in Server.objects.filter(wanted, is_active=True).only("pk", "check_wanted_at", "checked_at"):
        stamp = f"{server.check_wanted_at} {server.checked_at}"
        if server.check_wanted_at is not None or server.pk not in shut:
            yield Work(task=Task.PREFLIGHT, argument=server.pk, stamp=stamp, again=30)


def _reconciliations(now: datetime, shut: Container[str]) -> Iterator[Work]:
    """Also where nothing is granted any more, as long as somebody has access there."""
    wanted = Q(is_active=True) | Q(retiring_at__isnull=False) | Q(reconcile_wanted_at__isnull=False)
    wanted |= Q(pk__in=Grant.objects.live().order_by().values("server"))
    servers = Server.objects.filter(wanted, retired_at=None, manager_secret__isnull=False)
    since = continuity.confirmed_at()  # then at once, everywhere
    for server in servers.only("pk", "reconcile_wanted_at"):
        stamp = f"{_bucket(now, RECONCILE_EVERY)} {server.reconcile_wanted_at} {since}"
        if server.reconcile_wanted_at is None and server.pk in shut:
            continue
        yield Work(task=Task.RECONCILE, argument=server.pk, stamp=stamp, again=None)


def _retirements(now: datetime) -> Iterator[Work]:
    for server in Server.objects.filter(retiring_at__isnull=False, retired_at=None).only("pk", "retiring_at"):
        stamp = f"{server.retiring_at} {_bucket(now, RETIRE_EVERY)}"
        yield Work(task=Task.RETIRE, argument=server.pk, stamp=stamp, again=None)


def _syncs(now: datetime, shut: Container[str]) -> Iterator[Work]:
    wanted = Q(sync_wanted_at__isnull=False) | Q(synced_at=None) | Q(synced_at__lt=now - SYNC_EVERY)
    active = Database.objects.filter(is_active=True, server__is_active=True, server__manager_secret__isnull=False)
    for database in active.filter(wanted).only("pk", "server", "sync_wanted_at", "synced_at"):
        stamp = f"{database.sync_wanted_at} {database.synced_at}"
        if database.server_id not in shut:
            yield Work(task=Task.SYNC, argument=database.pk, stamp=stamp, again=120)


def _suggestions(now: datetime) -> Iterator[Work]:
    for database in to_suggest(now).only("pk", "synced_at", "suggested_at"):
        stamp = f"{database.synced_at} {database.suggested_at}"
        yield Work(task=Task.SUGGEST, argument=database.pk, stamp=stamp, again=600)


def _bucket(now: datetime, width: timedelta) -> str:
    return str(int(now.timestamp() // width.total_seconds()))


def _first(rows: QuerySet, column: str, now: datetime) -> datetime | None:  # type: ignore[type-arg]
    found: datetime | None = rows.filter(**{f"{column}__gt": now}).aggregate(first=Min(column))["first"]
    return found
