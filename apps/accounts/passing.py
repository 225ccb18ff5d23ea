"""Django's cache over a table, for what must be known to every web process for some minutes.

Django's own table cache keeps pickles: whoever could write rows would run code in the process that reads them (field
notes S1). Values here are JSON. What is remembered may be lost at any time, so nothing of consequence rests on it.
"""

import json
from hashlib import sha256
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

# Seconds. Longer than any process lives, and a year that Python can read.
_FOR_GOOD: Final = 100 * 366 * 24 * 3600.0
_FIND: Final = "SELECT value FROM accounts_passing WHERE key = %s AND expires_at > clock_timestamp()"
_KEEP: Final = """
INSERT INTO accounts_passing (key, value, expires_at)
VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
"""
_UNLESS_KNOWN: Final = " WHERE accounts_passing.expires_at <= clock_timestamp() RETURNING key"
_TOUCH: Final = """
UPDATE accounts_passing SET expires_at = clock_timestamp() + make_interval(secs => %s)
WHERE key = %s AND expires_at > clock_timestamp() RETURNING key
"""
_FORGET: Final = "DELETE FROM accounts_passing WHERE key = %s RETURNING key"
_FORGET_PAST: Final = """
DELETE FROM accounts_passing WHERE key IN (
  SELECT key FROM accounts_passing WHERE expires_at <= clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
"""


class RowCache(BaseCache):
    """Keys are kept as their SHA-256: a code that somebody is about to use is not read from the table."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        found = self._run(_FIND, [self._name(key, version)])
        return json.loads(found[0]) if found else default

    def set(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Raises TypeError for what JSON does not hold."""
        self._run(_FORGET_PAST, [], answers=False)
        self._run(_KEEP, [self._name(key, version), json.dumps(value), self._seconds(timeout)], answers=False)

    def add(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        values = [self._name(key, version), json.dumps(value), self._seconds(timeout)]
        return self._run(_KEEP + _UNLESS_KNOWN, values) is not None

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._run(_TOUCH, [self._seconds(timeout), self._name(key, version)]) is not None

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._run(_FORGET, [self._name(key, version)]) is not None

    def clear(self) -> None:
        self._run("DELETE FROM accounts_passing", [], answers=False)

    def _name(self, key: Any, version: int | None) -> str:
        return sha256(self.make_key(key, version=version).encode()).hexdigest()

    def _seconds(self, timeout: Any) -> float:
        chosen = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return _FOR_GOOD if chosen is None else float(chosen)

    def _run(self, query: str, values: list[Any], *, answers: bool = True) -> tuple[Any, ...] | None:
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            row: tuple[Any, ...] | None = cursor.fetchone() if answers else None
        return row
