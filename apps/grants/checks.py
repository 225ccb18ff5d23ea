"""A task whose path leads nowhere would fail in a worker, long after it mattered: it fails at start instead."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string


@register()
def tasks_resolve(**_: Any) -> list[CheckMessage]:
    """Every path of Task leads to a function."""
    from apps.grants.tasks import Task  # noqa: PLC0415 - checks are registered before all rooms are loaded

    return [_unresolved(task) for task in Task if not _is_callable(task.value)]


def _is_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False


def _unresolved(path: str) -> Error:
    return Error(f"The task {path} is not a function.", hint="Mend apps.grants.tasks.Task.", id="grants.E001")
