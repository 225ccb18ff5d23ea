"""What workers run for the console; apps.grants.tasks names it."""

from apps.console import record
from apps.grants.tasks import guarded


@guarded
def close_lost() -> None:
    while record.close_lost():
        pass
