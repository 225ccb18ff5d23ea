"""Cancelling one's own statement, from any process: the wish is a row, and the server is asked as the same login."""

import logging

from apps.accounts.models import User
from apps.console import access
from apps.console.errors import Unavailable
from apps.console.models import Statement, StatementStatus
from apps.console.showing import Progress, progress_of, statement_of
from apps.core import clock
from apps.core.verbs import verb
from apps.engines.base import EngineError
from apps.engines.postgresql.running import cancel_backend

log = logging.getLogger(__name__)


def cancel(*, actor: User, statement_id: str) -> Progress:
    row = statement_of(actor, statement_id)
    if _want(statement_id=row.pk):
        try:
            cancel_backend(access.target_of(row.grant), row.grant.database.datname, row.backend_pid, row.backend_name)
        except (EngineError, Unavailable) as error:
            # Whoever runs it sees the wish within a second or two, and cuts the connection.
            log.warning("The server could not be asked to cancel %s: %s", row.pk, error)
    row.refresh_from_db()
    return progress_of(row)


@verb
def _want(*, statement_id: str) -> bool:
    row = Statement.objects.select_for_update(no_key=True).get(pk=statement_id)
    if row.status != StatementStatus.RUNNING:
        return False
    if row.cancel_wanted_at is None:
        row.cancel_wanted_at = clock.now()
        row.save(update_fields=["cancel_wanted_at"])
    return True
