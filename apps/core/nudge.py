"""A nudge says "look now". It carries nothing: rows are the message, and a lost nudge costs only time."""

from django.db import connection

CHANNEL = "jitportal"


def nudge() -> None:
    """Wake the clock when the current transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
