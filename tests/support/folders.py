"""Where servers for tests keep their files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ENOUGH = 4 * 1024**3  # bytes; all servers of a run in four processes take a quarter of it


@contextmanager
def short_lived(prefix: str) -> Iterator[Path]:
    """A folder that the servers' own user may enter; in memory where there is enough of it.

    Each database is hundreds of files. A disk's file system is slow to make them when many have just been deleted.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if _is_roomy(_MEMORY) else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_roomy(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > _ENOUGH
