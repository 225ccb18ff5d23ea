"""What the log leaves out, and that nothing else is."""

import logging

import pytest

from jitportal.logs import NotRoutine


@pytest.mark.parametrize(
    ("name", "level", "text", "shown"),
    [
        ("django.request", logging.ERROR, "Service Unavailable: /healthz", False),
        ("django.request", logging.ERROR, "Internal Server Error: /requests", True),
        ("django-q", logging.INFO, "Enqueued [bulk] 8", False),
        ("django-q", logging.INFO, "Process-1 processing beat 'apps.grants.tasks.beat'", False),
        ("django-q", logging.INFO, "Processed 'apps.notifications.tasks.fold' (fold)", False),
        ("django-q", logging.INFO, "Process-1 processing issue 'apps.grants.tasks.issue'", True),
        ("django-q", logging.ERROR, "Failed 'apps.grants.tasks.beat' (beat) - no database", True),
        ("apps.grants.clock", logging.INFO, "fold", True),
    ],
)
def test_filter_when_a_line_is_routine(name: str, level: int, text: str, shown: bool) -> None:
    assert NotRoutine().filter(logging.LogRecord(name, level, "", 0, text, None, None)) is shown
