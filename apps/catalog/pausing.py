"""Pausing a table for a migration: views of it block its owner (field notes M10), so nothing on it is granted."""

from typing import Final

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Table
from apps.catalog.row_filters import locked_table
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb

MAX_REASON: Final = 500


@verb
def pause_table(*, actor: Actor, table_id: int, reason: str) -> Table:
    """End the grants that see a table, and give none until it is resumed: its views would block the owner."""
    require_dba(actor, what="pause a table")
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    table = locked_table(table_id)
    if table.gone_at:
        raise Conflict(f"{table} is gone from {table.database}: it was there once, or has another name now.")
    if table.paused_at:
        raise Conflict(f"{table} is paused already, since {table.paused_at:%Y-%m-%d %H:%M} UTC: {table.pause_reason}")
    table.paused_at, table.pause_reason = clock.now(), reason
    table.paused_by = actor if isinstance(actor, User) else None
    _keep(table, Action.TABLE_PAUSED, actor, reason)
    return table


@verb
def resume_table(*, actor: Actor, table_id: int) -> Table:
    """Let it be asked for again. Grants that have ended stay ended."""
    require_dba(actor, what="resume a table")
    table = locked_table(table_id)
    if not table.paused_at:
        raise Conflict(f"{table} is not paused: somebody has resumed it already.")
    reason = table.pause_reason
    table.paused_at, table.paused_by, table.pause_reason = None, None, ""
    _keep(table, Action.TABLE_RESUMED, actor, reason)
    return table


def _keep(table: Table, action: Action, actor: Actor, reason: str) -> None:
    table.save(update_fields=["paused_at", "paused_by", "pause_reason"])
    audit.record(
        action,
        actor=actor_id(actor),
        subject=table.database.audit_id,
        facts={"table": table.pk},
        disclosed={"table": str(table), "reason": reason},
    )
    nudge()
