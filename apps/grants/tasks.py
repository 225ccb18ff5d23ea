"""What workers run. Tasks carry ids and nothing else, each may run twice, and what they did stands in our rows."""

import logging
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Final

from django_q.tasks import async_task

from apps.audit import signing, verifying
from apps.catalog import services as catalog
from apps.catalog import suggestions
from apps.catalog.models import Server
from apps.engines.base import EngineError
from apps.grants import circuit, health, record_break, services

log = logging.getLogger(__name__)


class Cluster(StrEnum):
    """The two queues: nothing slow stands between a grant and its end."""

    ACCESS = "access"
    BULK = "bulk"


class Task(StrEnum):
    """Every function that a worker may be asked to run; a system check resolves each."""

    ISSUE = "apps.grants.tasks.issue"
    END = "apps.grants.tasks.end"
    EXTEND = "apps.grants.tasks.extend"
    RESET_PASSWORD = "apps.grants.tasks.reset_password"  # noqa: S105 - a path, no secret
    BEAT = "apps.grants.tasks.beat"
    DROP_SCOPES = "apps.grants.tasks.drop_scopes"
    CHECK_DRIFT = "apps.grants.tasks.check_drift"
    LOOK_AT_SESSIONS = "apps.grants.tasks.look_at_sessions"
    PREFLIGHT = "apps.grants.tasks.preflight"
    RECONCILE = "apps.grants.tasks.reconcile"
    RETIRE = "apps.grants.tasks.retire"
    SUGGEST = "apps.grants.tasks.suggest"
    SYNC = "apps.grants.tasks.sync"
    SIGN = "apps.grants.tasks.sign"
    VERIFY = "apps.grants.tasks.verify"
    SETTLE_STATEMENTS = "apps.console.tasks.settle"
    BUILD_BUNDLES = "apps.reports.tasks.build"
    FOLD = "apps.notifications.tasks.fold"
    SEND_MAIL = "apps.notifications.tasks.send_mail"

    @property
    def cluster(self) -> Cluster:
        return Cluster.ACCESS if self in _QUICK else Cluster.BULK


_QUICK: Final = frozenset({Task.ISSUE, Task.END, Task.EXTEND, Task.RESET_PASSWORD})


def enqueue(task: Task, *args: str, cluster: Cluster | None = None) -> None:
    """Ask a worker to run `task`; inside a transaction it is asked when that commits (field notes E9)."""
    # `save` off: no result is kept, so that there is no pickle for anybody to read (field notes S1).
    async_task(task.value, *args, cluster=(cluster or task.cluster).value, task_name=task.name.lower(), save=False)


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """An error is for the log: django-q2 would keep it as a row with a pickle, and the clock asks again anyway."""

    @wraps(function)
    def run(*args: str) -> None:
        try:
            function(*args)
        except EngineError as error:
            log.warning("The task %s%s could not be done: %s", function.__name__, args, error.sentence)
        except Exception:
            log.exception("The task %s%s failed; the clock will ask again.", function.__name__, args)

    return run


@guarded
def issue(server_id: str) -> None:
    services.issue_queued(server_id=server_id)


@guarded
def end(server_id: str) -> None:
    services.end_due(server_id=server_id)


@guarded
def extend(server_id: str) -> None:
    services.extend_queued(server_id=server_id)


@guarded
def reset_password(server_id: str) -> None:
    services.reset_wanted(server_id=server_id)


@guarded
def drop_scopes(server_id: str) -> None:
    services.drop_unused_scopes(server_id=server_id)


@guarded
def check_drift(server_id: str) -> None:
    services.check_drift(server_id=server_id)


@guarded
def look_at_sessions(server_id: str) -> None:
    services.look_at_sessions(server_id=server_id)


@guarded
def reconcile(server_id: str) -> None:
    services.reconcile(server_id=server_id)


@guarded
def retire(server_id: str) -> None:
    services.retire(server_id=server_id)


@guarded
def sign() -> None:
    """The head of the record, after a break that two people have confirmed was taken up."""
    record_break.settle()
    signing.sign_due()


@guarded
def verify() -> None:
    """The record itself, as far as that is due."""
    verifying.verify_due()


@guarded
def beat(cluster: str) -> None:
    health.beat(f"worker:{cluster}", kind=health.Kind.WORKER)


@guarded
def preflight(server_id: str) -> None:
    """Also of a server that nobody could reach yet: the findings say what is missing."""
    server = Server.objects.get(pk=server_id)
    is_new = server.manager_secret is None or server.checked_at is None
    if is_new or circuit.answers(server, at_once=server.check_wanted_at is not None):
        catalog.run_preflight(server_id=server_id)


@guarded
def sync(database_id: str) -> None:
    if circuit.answers(Server.objects.get(databases=database_id)):
        catalog.run_sync(database_id=database_id)


@guarded
def suggest(database_id: str) -> None:
    if circuit.answers(Server.objects.get(databases=database_id)):
        suggestions.run_suggest(database_id)
