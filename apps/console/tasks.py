"""What workers run for the console; apps.grants.tasks names it."""

from apps.console import record
from apps.grants.tasks import guarded


@guarded
def settle() -> None:
    """What web processes leave behind: statements that nobody has finished, and use that no grant knows of."""
    record.tell_use()
    while record.close_lost():
        pass
