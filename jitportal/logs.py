"""What is left out of the log."""

import logging

# Tasks that run every few seconds; django-q2 tells of each three times.
_ROUTINE_TASKS = ("beat", "fold", "look_at_sessions")


class NotRoutine(logging.Filter):
    """Lets pass what somebody could act on, or wants to see happen."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "django.request":
            # Probes ask every second and read the answer themselves.
            return "/healthz" not in record.getMessage()
        if record.name == "django-q" and record.levelno <= logging.INFO:
            words = record.getMessage().replace("'", " ").replace(".", " ").split()
            return "Enqueued" not in words and not set(_ROUTINE_TASKS) & set(words)
        return True
