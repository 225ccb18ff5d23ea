"""The longer queries, each a file in sql/, and long lists as they take them."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def query(name: str) -> bytes:
    """The text of sql/<name>.sql, with %(placeholders)s."""
    return (_FOLDER / f"{name}.sql").read_bytes()


def oid_array(values: Iterable[int]) -> str:
    """An array for %(…)s::oid[], in no time: psycopg looks at each element of a list on its own."""
    return f"{{{','.join(map(str, values))}}}"


def text_array(values: Iterable[str]) -> str:
    """The same for %(…)s::text[]."""
    escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(escaped) + '"}' if escaped else "{}"
