import pytest
from django.conf import settings
from django.core import checks
from django.db import transaction
from django_q.models import OrmQ
from django_q.models import Task as Result
from django_q.signing import SignedPackage

from apps.grants import tasks
from apps.grants.checks import tasks_resolve
from apps.grants.models import Heartbeat
from apps.grants.tasks import Cluster, Task, enqueue
from tests.factories import ServerFactory
from tests.grants.machinery import asked_for, work_off

pytestmark = pytest.mark.django_db(transaction=True)


def test_tasks_resolve_when_all_is_well() -> None:
    assert tasks_resolve() == []
    assert tasks_resolve in checks.registry.registry.registered_checks


def test_tasks_resolve_complains_when_a_path_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tasks, "issue")
    (error,) = tasks_resolve()
    assert (error.id, Task.ISSUE.value in error.msg) == ("grants.E001", True)


def test_enqueue_carries_texts_and_asks_for_no_result_when_it_is_called() -> None:
    enqueue(Task.ISSUE, "server")
    package = SignedPackage.loads(OrmQ.objects.get().payload)
    assert (package["func"], package["args"], package["kwargs"]) == (Task.ISSUE.value, ("server",), {})
    assert (package["save"], package["ack_failure"]) == (False, True)
    assert "hook" not in package


def test_enqueue_is_taken_back_when_the_transaction_is() -> None:
    with transaction.atomic():
        enqueue(Task.ISSUE, "server")
        transaction.set_rollback(True)
    assert asked_for(Task.ISSUE) == []


@pytest.mark.parametrize("task", Task)
def test_enqueue_chooses_the_fast_queue_when_access_depends_on_it(task: Task) -> None:
    enqueue(task)
    quick = {Task.ISSUE, Task.EXTEND, Task.END, Task.RESET_PASSWORD}
    wanted = Cluster.ACCESS if task in quick else Cluster.BULK
    assert OrmQ.objects.get().key == wanted


def test_clusters_are_those_of_the_settings() -> None:
    assert {settings.Q_CLUSTER["name"], *settings.Q_CLUSTER["ALT_CLUSTERS"]} == set(Cluster)
    assert settings.Q_CLUSTER["scheduler"] is False


def test_beat_is_written_by_the_worker_when_it_runs_the_task() -> None:
    enqueue(Task.BEAT, "access", cluster=Cluster.ACCESS)
    assert not Heartbeat.objects.exists()
    work_off()
    assert Heartbeat.objects.get().name == "worker:access"


def test_tasks_leave_no_row_when_they_fail(caplog: pytest.LogCaptureFixture) -> None:
    enqueue(Task.LOOK_AT_SESSIONS, "nowhere", cluster=Cluster.ACCESS)
    work_off()
    assert "look_at_sessions('nowhere',)" in caplog.text
    assert not Result.objects.exists()


def test_tasks_say_it_in_a_line_when_a_target_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    tasks.look_at_sessions(ServerFactory(name="far").pk)
    assert "has no password for its manager on far" in caplog.text
    assert "Traceback" not in caplog.text
