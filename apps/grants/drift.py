"""The proof of live logins again: targets change, and what was least privilege yesterday may reach too much today."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from django.db import connection

from apps.audit.actions import Action
from apps.catalog.models import Database, Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Drift, EngineError, LoginSpec
from apps.grants import circuit, ending
from apps.grants.models import Grant
from apps.grants.record import WORKER, record
from apps.grants.specs import Scopes, columns_of
from apps.grants.states import EndCause, GrantStatus

log = logging.getLogger(__name__)

_PORTION: Final = 1_000  # grants in one transaction
# Of thousands as a rule nothing else is written: one statement, and no list of parameters in it.
_CHECKED: Final = "UPDATE grants_grant SET drift_checked_at = %s WHERE id = ANY (%s) AND status = 'active'"
_KEPT: Final = 20  # sentences of one login
_FIX: Final = "Ask again when that is mended."


class _Live(NamedTuple):
    """What is read of a live grant, of which there may be thousands: no model of it is made."""

    pk: str
    login: str
    scope_digest: str
    request_id: str
    drift: str  # what was told last


def check_drift(*, server_id: str) -> None:
    """All live logins of a server, one look for each database.

    A database that does not answer is for the next round: its grants keep the time of their last check.
    """
    by_database: dict[str, list[_Live]] = defaultdict(list)
    live = Grant.objects.filter(server=server_id, status=GrantStatus.ACTIVE).order_by("pk")
    for database_id, *read in live.values_list("database", *_Live._fields):
        by_database[database_id].append(_Live(*read))
    if not by_database:
        return
    server = Server.objects.get(pk=server_id)
    for database_id, grants in by_database.items():
        database = Database.objects.get(pk=database_id)
        try:
            with circuit.through(server, looks=True) as (engine, target):
                found = engine.drift(target, database.datname, _specs(database, grants))
        except EngineError as error:
            log.warning("Live access to %s could not be checked; it is tried again: %s", database, error.sentence)
        except Exception:
            log.exception("Checking live access to %s failed unexpectedly; it is tried again.", database)
        else:
            _settle(grants, {drift.login: drift for drift in found})


def _specs(database: Database, grants: Sequence[_Live]) -> list[LoginSpec]:
    """Many logins share a few scopes, so what is alike is made once."""
    effective = Scopes().of({grant.scope_digest: grant.pk for grant in grants})
    distinct = {id(scope): scope for scope in effective.values()}
    scopes = {key: scope.on_target(database.datname) for key, scope in distinct.items()}
    columns = columns_of(database.pk, scopes.values())
    known = {key: columns.known_of(scope) for key, scope in scopes.items()}
    return [
        LoginSpec(
            login=grant.login,
            verifier="",
            reference=grant.request_id,
            seconds=0,
            scope=scopes[shown],
            classified=columns.classified,
            known=known[shown],
        )
        for grant in grants
        if grant.scope_digest in effective  # others have ended just now
        for shown in [id(effective[grant.scope_digest])]
    ]


def _settle(grants: Iterable[_Live], found: Mapping[str, Drift]) -> None:
    told, changed = {}, {}
    for grant in grants:
        drift = found.get(grant.login)
        if drift and drift.opened:
            _end(grant_id=grant.pk, drift=drift)
        else:
            told[grant.pk], changed[grant.pk] = grant.drift, _text(drift.changed) if drift else ""
    pks = list(changed)
    for start in range(0, len(pks), _PORTION):  # whatever PUBLIC is given changes all of them (decision 0003)
        some = pks[start : start + _PORTION]
        _keep(checked=some, changed={pk: changed[pk] for pk in some if changed[pk] != told[pk]})


@verb
def _end(*, grant_id: str, drift: Drift) -> None:
    """Idempotent: what ends already, for whatever cause, goes on ending."""
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    if grant.status != GrantStatus.ACTIVE:
        return
    opened = _text(drift.opened)
    ending.begin(grant, cause=EndCause.DRIFTED, since=clock.now(), reason=f"{opened} {_FIX}")
    disclosed = {"opened": opened} | ({"changed": _text(drift.changed)} if drift.changed else {})
    counts = {"opened": len(drift.opened), "changed": len(drift.changed)}
    record(Action.DRIFT_FOUND, grant, actor=WORKER, disclosed=disclosed, ends=True, **counts)
    nudge()


@verb
def _keep(*, checked: Sequence[str], changed: Mapping[str, str]) -> None:
    """What is not as it was made, but opens nothing: told once for each new text, forgotten when it is gone."""
    with connection.cursor() as cursor:
        cursor.execute(_CHECKED, [clock.now(), list(checked)])
    live = Grant.objects.filter(pk__in=changed, status=GrantStatus.ACTIVE)
    told = []
    for grant in live.select_for_update(no_key=True).order_by("pk"):
        if grant.drift == changed[grant.pk]:
            continue
        grant.drift = changed[grant.pk]
        grant.save(update_fields=["drift"])
        if grant.drift:
            told.append(grant)
    for grant in told:
        record(Action.DRIFT_FOUND, grant, actor=WORKER, disclosed={"changed": grant.drift}, ends=False)
    if told:
        nudge()


def _text(sentences: Sequence[str]) -> str:
    more = [f"And {len(sentences) - _KEPT} more."] if len(sentences) > _KEPT else []
    return "\n".join([*sentences[:_KEPT], *more])
