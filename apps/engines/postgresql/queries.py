"""The longer queries, each a file in sql/."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def query(name: str) -> bytes:
    """The text of sql/<name>.sql, with %(placeholders)s."""
    return (_FOLDER / f"{name}.sql").read_bytes()
