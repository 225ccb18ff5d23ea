"""`python -m tests.faults.mortal issue|end SERVER_ID N`: one round of a worker that is killed at its N-th statement.

The environment says which portal; it must be one of tests.
"""

import sys

import django


def main(act: str, server_id: str, at: int) -> None:
    django.setup()
    from apps.grants import services
    from tests.faults.fuse import fuse, kill_this_process

    work = {"issue": services.issue_queued, "end": services.end_due}[act]
    with fuse(at, kill_this_process):
        work(server_id=server_id)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
