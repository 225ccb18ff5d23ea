"""Which entries of the record fit a filter: found by going along its indexes, so that a page takes as long in a record
of millions, near its end or deep in it, and also where nothing fits.

PostgreSQL keeps entries in order within one action of one actor, one database, or one actor and database. So the
actions that there are under what is asked for are found first, each by one step, and their newest entries are merged.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from apps.audit.checks import SEVERAL

_NO_END: Final = 2**62
_FIRST_AT: Final = "SELECT index FROM audit.seal WHERE recorded_at >= %s ORDER BY recorded_at, index LIMIT 1"
_ALL: Final = """
SELECT s.index FROM audit.seal s WHERE s.index >= %(low)s AND s.index < %(high)s
ORDER BY s.index {order} LIMIT %(limit)s
"""
_BY_SUBJECT: Final = """
SELECT found.index FROM unnest(%(subjects)s::text[]) wanted, LATERAL (
  SELECT s.index FROM audit.seal s
  WHERE s.subject = wanted AND s.index >= %(low)s AND s.index < %(high)s AND starts_with(s.action, %(action)s) {same}
  ORDER BY s.index {order} LIMIT %(limit)s
) found ORDER BY found.index {order} LIMIT %(limit)s
"""
_BY_ACTION: Final = """
WITH RECURSIVE word (database, action) AS (
  SELECT one, (SELECT s.action FROM audit.seal s WHERE s.action >= %(action)s {same} ORDER BY s.action LIMIT 1)
  FROM unnest(%(databases)s::text[]) one
  UNION ALL
  SELECT one, (SELECT s.action FROM audit.seal s WHERE s.action > word.action {same} ORDER BY s.action LIMIT 1)
  FROM word, LATERAL (SELECT word.database) it (one) WHERE starts_with(word.action, %(action)s)
)
SELECT found.index FROM word, LATERAL (SELECT word.database) it (one), LATERAL (
  SELECT s.index FROM audit.seal s
  WHERE s.action = word.action AND s.index >= %(low)s AND s.index < %(high)s {same}
  ORDER BY s.index {order} LIMIT %(limit)s
) found WHERE starts_with(word.action, %(action)s) ORDER BY found.index {order} LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries. `action` may be a beginning (`grant.`); `since` is inclusive, `until` exclusive.

    `database` is an id; entries about several databases fit each of them.
    """

    action: str = ""
    actor: str = ""
    database: str = ""
    subjects: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING: Final = Filter()


def find(where: Filter, *, low: int = 0, high: int = _NO_END, limit: int, newest: bool = False) -> list[int]:
    """At most `limit` indexes from `low` up to, not including, `high`: the first, or the last where `newest`."""
    low, high = _within(where, low, high)
    if low >= high:
        return []
    query, same = _ALL, "AND s.actor = %(actor)s" if where.actor else ""
    if where.subjects:
        query, same = _BY_SUBJECT, same + (" AND s.database = ANY (%(databases)s)" if where.database else "")
    elif where.actor or where.action or where.database:
        query, same = _BY_ACTION, same + (" AND s.database = one" if where.database else "")
    parameters = {
        "action": where.action,
        "actor": where.actor,
        "databases": sorted({where.database, SEVERAL}) if where.database else [""],
        "subjects": sorted(set(where.subjects)),
        "low": low,
        "high": high,
        "limit": limit,
    }
    found = _column(query.format(same=same, order="DESC" if newest else "ASC"), parameters)
    return [int(index) for index in found]


def _within(where: Filter, low: int, high: int) -> tuple[int, int]:
    """Times as indexes: nothing is sealed with an earlier time than what is in front of it."""
    if where.since is not None:
        low = max([low, *(_column(_FIRST_AT, [where.since]) or [_NO_END])])
    if where.until is not None:
        high = min([high, *_column(_FIRST_AT, [where.until])])
    return low, high


def _column(query: str, parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [value for (value,) in cursor.fetchall()]
