"""The console: running SQL under one's own live grant, as the login of that grant.

Every verb looks at the grant anew, under lock, before each statement, and the statement stands in the record before
it runs. What comes back goes to whoever asked, and is kept nowhere.

All raise, before anything runs: NotFound (no such grant, or not yours to see), NotAllowed (not yours, its level does
not allow it, it is for one approved statement only), Conflict (not live: being made, not begun, over, revoked; already
run; too many at once; the portal may not act), Invalid (nothing to run, refused statement), TooMany (429) and
Unavailable (503, the target does not let the login in or does not answer; `offers_reset` tells that the password may
have been changed, see grants.reset_password()).
"""

from apps.console.access import check_login
from apps.console.cancelling import cancel
from apps.console.changing import BEAT_SECONDS, beat, begin, change, run_approved, say
from apps.console.exporting import Export, check_ends_are_told, export
from apps.console.reading import explain, query, run
from apps.console.record import close_lost, tell_use
from apps.console.showing import (
    ColumnShown,
    Console,
    Limits,
    OneOff,
    Past,
    Progress,
    TableShown,
    history,
    one_off_of,
    open_console,
    progress,
    statements_of,
)
from apps.console.streams import Stream

__all__ = [
    "BEAT_SECONDS",
    "ColumnShown",
    "Console",
    "Export",
    "Limits",
    "OneOff",
    "Past",
    "Progress",
    "Stream",
    "TableShown",
    "beat",
    "begin",
    "cancel",
    "change",
    "check_ends_are_told",
    "check_login",
    "close_lost",
    "explain",
    "export",
    "history",
    "one_off_of",
    "open_console",
    "progress",
    "query",
    "run",
    "run_approved",
    "say",
    "statements_of",
    "tell_use",
]
