"""Access that shows more than the catalog allows by now ends by itself, and so does what is in the way of a migration.

The clock finds it from rows alone: right after the catalog has changed, and now and then, whatever was told.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from django.db import Error

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Database
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.grants import ending
from apps.grants.models import Grant
from apps.grants.record import CLOCK, record
from apps.grants.specs import Scopes
from apps.grants.states import GrantStatus
from apps.grants.surplus import Withdrawal, allowed, withdrawal
from apps.requests.scope import EffectiveScope

log = logging.getLogger(__name__)

# What can change the masks, the rows or the pauses that a grant must respect.
_CHANGES: Final = (
    Action.COLUMN_CLASSIFIED,
    Action.CLASSIFICATION_IMPORTED,
    Action.DATA_CLASS_CHANGED,
    Action.DATABASE_CHANGED,
    Action.CATALOG_SYNCED,
    Action.FILTER_ADDED,
    Action.TABLE_PAUSED,
)
_EVERY: Final = 60.0  # seconds
_BATCH: Final = 100  # grants in one transaction; more wait for the next look, so that the clock stays on time
_MADE: Final = (GrantStatus.QUEUED, GrantStatus.ACTIVE)


def catalog_changed_at() -> int:
    """The index of the entry that tells of the last change; the same number is the same catalog."""
    return audit.last_index(_CHANGES)


class Watch:
    """Looks for grants to withdraw, and remembers what has been looked at."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._looked_at = 0.0
        self._scopes = Scopes()

    def look(self) -> int:
        """Let what may not be any more end; returns how many grants began to."""
        changed_at = catalog_changed_at()
        if changed_at == self._seen and time.monotonic() - self._looked_at < _EVERY:
            return 0
        begun, is_all = 0, True
        for database_id, grants in self._by_database().items():
            try:
                over = sorted(_against(database_id, grants))
                begun += _withdraw(database_id=database_id, ids=over[:_BATCH]) if over else 0
            except Error:
                raise
            except Exception:  # a row of one database that nobody can read must not keep what ends in the others
                log.exception("Whether grants of the database %s may go on could not be told.", database_id)
                continue
            is_all &= len(over) <= _BATCH
        self._seen, self._looked_at = changed_at if is_all else None, time.monotonic()
        return begun

    def _by_database(self) -> dict[str, dict[str, EffectiveScope]]:
        """What each grant shows, by its id."""
        rows = list(Grant.objects.filter(status__in=_MADE).values_list("database", "pk", "scope_digest"))
        scopes = self._scopes.of({digest: pk for _, pk, digest in rows})
        grants: dict[str, dict[str, EffectiveScope]] = defaultdict(dict)
        for database_id, pk, digest in rows:
            if digest in scopes:  # others have ended just now
                grants[database_id][pk] = scopes[digest]
        return grants


@verb
def _withdraw(*, database_id: str, ids: Sequence[str]) -> int:
    """Of one database, asked again under lock: somebody may have been faster, or have changed the catalog back."""
    locked = Grant.objects.select_for_update(no_key=True).filter(pk__in=ids, status__in=_MADE).order_by("pk")
    grants, now = {grant.pk: grant for grant in locked.defer("scope", "evidence")}, clock.now()
    scopes = Scopes().of({grant.scope_digest: pk for pk, grant in grants.items()})
    against = _against(database_id, {pk: scopes[grant.scope_digest] for pk, grant in grants.items()})
    for pk, found in against.items():
        ending.begin(grants[pk], cause=found.cause, since=now, reason=found.reason)
    for pk, found in against.items():
        facts = {"cause": found.cause.value, "since": rfc3339(now)}
        record(Action.GRANT_WITHDRAWN, grants[pk], actor=CLOCK, disclosed={"reason": found.reason}, **facts)
    nudge()
    return len(against)


def _against(database_id: str, grants: Mapping[str, EffectiveScope]) -> dict[str, Withdrawal]:
    """What stands against each of these grants, by its id; the others are left out. A shared scope is judged once."""
    scopes = {id(scope): scope for scope in grants.values()}
    database = Database.objects.select_related("server").get(pk=database_id)
    now = allowed(database, {table for scope in scopes.values() for table in scope.tables})
    judged = {key: withdrawal(scope, now) for key, scope in scopes.items()}
    return {pk: found for pk, scope in grants.items() if (found := judged[id(scope)])}
