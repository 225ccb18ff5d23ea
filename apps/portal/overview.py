"""What a database administrator sees first: what is late, what lives, what waits, and which servers need somebody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest

from apps.audit.models import AnchorState
from apps.audit.signing import open_breaks
from apps.catalog.models import Database, Server
from apps.engines.base import Severity
from apps.grants import services as grants
from apps.grants.models import Grant, ServerState
from apps.grants.states import LIVE
from apps.portal.context import surroundings
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

_SHOWN: Final = 10


@dataclass(frozen=True)
class Trouble:
    """Something that a person must mend; `page` is the name of its admin page and `key` its primary key."""

    page: str
    key: str
    name: str
    sentences: tuple[str, ...]


def front_page(request: HttpRequest) -> dict[str, Any]:
    """Part of the admin's front page (accounts.adminsite)."""
    around = surroundings(request)
    live = Grant.objects.filter(status__in=LIVE)
    waiting = AccessRequest.objects.filter(status=RequestStatus.PENDING)
    servers = list(Server.objects.filter(is_active=True))
    late = Grant.objects.late(around.now).select_related("holder", "database")
    return {
        "late": list(late[:_SHOWN]),
        "late_count": late.count(),
        "reviews": around.reviews,
        "live": list(live.select_related("holder", "database").order_by("expires_at", "queued_at")[:_SHOWN]),
        "live_count": live.count(),
        "waiting": list(waiting.select_related("requester", "database").order_by("submitted_at")[:_SHOWN]),
        "waiting_count": waiting.count(),
        "server_count": len(servers),
        "troubles": [
            *_record_troubles(),
            *_server_troubles(servers),
            *_silent_troubles(),
            *_leaving_troubles(),
            *_stray_troubles(),
            *_database_troubles(),
        ],
        "health": grants.health(),
    }


def _record_troubles() -> list[Trouble]:
    """What keeps the record from being signed, or from being known elsewhere."""
    breaks = [
        Trouble("admin:audit_recordbreak_change", found.pk, "The record", (found.why,)) for found in open_breaks()
    ]
    behind = AnchorState.objects.exclude(failed_at=None)
    return breaks + [
        Trouble("admin:audit_anchorstate_change", state.pk, f"The anchor {state}", (_behind(state),))
        for state in behind
    ]


def _behind(state: AnchorState) -> str:
    last = f"{state.succeeded_at:%Y-%m-%d %H:%M} UTC" if state.succeeded_at else "never"
    return f"It is behind since {state.failed_at:%Y-%m-%d %H:%M} UTC; it took a checkpoint last: {last}. {state.error}"


def _server_troubles(servers: Sequence[Server]) -> list[Trouble]:
    found = []
    for server in servers:
        errors = [finding["sentence"] for finding in server.findings if finding["severity"] == Severity.ERROR]
        if server.checked_at is None:
            errors = ["It has never been checked: run its bootstrap SQL, then check it."]
        if errors:
            found.append(Trouble("admin:catalog_server_change", server.pk, server.name, tuple(errors)))
    return found


def _silent_troubles() -> list[Trouble]:
    """Servers that do not answer, whether or not anything is due there."""
    states = ServerState.objects.filter(unreachable_since__isnull=False, server__retired_at=None)
    return [
        Trouble(
            "admin:catalog_server_change",
            state.server_id,
            state.server.name,
            (f"It has not answered since {state.unreachable_since:%Y-%m-%d %H:%M} UTC. {state.problem}",),
        )
        for state in states.select_related("server")
    ]


def _leaving_troubles() -> list[Trouble]:
    """Servers that are being taken out of the catalog, and what is in the way."""
    rows = Server.objects.filter(retiring_at__isnull=False, retired_at=None)
    return [
        Trouble("admin:catalog_server_change", row.pk, row.name, (f"It is being taken out. {row.retire_problem}",))
        for row in rows
    ]


def _stray_troubles() -> list[Trouble]:
    found = []
    for state in ServerState.objects.exclude(strays=[]).select_related("server"):
        there = [stray for stray in state.strays if not stray["gone"]]
        said = [stray["problem"] or stray["comment"] for stray in there if "of" in stray][:_SHOWN]
        left = [stray["role"] for stray in there if "of" not in stray]
        if left:
            said.append(
                f"Logins of the portal's that it does not know, and that are not gone yet: {', '.join(left[:_SHOWN])}."
            )
        if said:
            found.append(Trouble("admin:catalog_server_change", state.server_id, state.server.name, tuple(said)))
    return found


def _database_troubles() -> list[Trouble]:
    rows = Database.objects.filter(is_active=True, server__is_active=True).exclude(sync_error="")
    return [
        Trouble("admin:catalog_database_change", row.pk, row.slug, (f"Its tables could not be read: {row.sync_error}",))
        for row in rows
    ]
