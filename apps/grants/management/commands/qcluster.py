"""django-q2's workers, all for one: when one of their processes is killed, all of them end, and this command with them.

A process that is killed while it waits for a task takes the lock of their common queue along, and the ones that are
started in its place wait for it for ever (seen with SIGKILL, which is what a kernel short of memory sends). Nothing
would end on time any more. Whoever supervises this command starts it again; rows tell what is left to do.
"""

import gc
import logging
import os
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections
from django_q import cluster
from django_q.conf import Conf
from django_q.management.commands import qcluster

from apps.audit import signing
from apps.core.errors import PortalError
from apps.grants import leases
from apps.grants.tasks import Cluster

log = logging.getLogger(__name__)


class AllForOne(cluster.Sentinel):  # type: ignore[misc]  # django-q2 has no types
    """Replaces what ended by itself, as django-q2 does; ends with what was killed."""

    def reincarnate(self, process: BaseProcess) -> None:
        if not process.exitcode:
            super().reincarnate(process)
            return
        log.critical("The process %s was killed (%s); the workers end as a whole.", process.pid, process.exitcode)
        for other in (*self.pool, self.monitor, self.pusher):
            other.kill()
            other.join()
        leases.give_back_of(worker.pid for worker in (*self.pool, process))
        os._exit(1)  # a clean exit would wait for the queue that nobody can read


def _compare_with_anchors() -> None:
    """Before anything is signed. A key that cannot be read is told now, and not to a log each minute."""
    try:
        signer = signing.read_signing_key()
        if signer is not None:
            signing.compare(signing.anchors(), signing.known_keys(signer))
    except (PortalError, ImproperlyConfigured) as refusal:
        raise CommandError(str(refusal)) from refusal
    finally:
        connections.close_all()  # the workers are forked, and must not share one


class Command(qcluster.Command):  # type: ignore[misc]  # as above
    """`Q_CLUSTER_NAME=access manage.py qcluster`"""

    def handle(self, *args: Any, **options: Any) -> None:
        cluster.Sentinel = AllForOne
        if Conf.CLUSTER_NAME == Cluster.BULK:
            _compare_with_anchors()
        gc.freeze()  # what is imported is there to stay: no worker looks through it again and again
        super().handle(*args, **options)
        for sentinel in active_children():
            sentinel.join()
            if sentinel.exitcode:
                raise CommandError("A worker was killed, so all have ended. Start this command again.")
