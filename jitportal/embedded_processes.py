"""The processes of one embedded cluster, ours or left by a parent that was killed."""

import shutil
import signal
from pathlib import Path

import psutil

from jitportal.embedded_install import EmbeddedError, digest

# A fast shutdown first; what ignores it gets less and less time to think.
_SIGNALS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))


def dies_with_us(number: str) -> list[str]:
    """What to put before a command so that its process gets this signal when our thread that starts it ends.

    Nothing where the kernel or the tool does not do that; then the next start cleans up.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", number] if setpriv else []


def cluster_name(place: Path) -> str:
    """What the server's child processes show in their titles."""
    return f"jitportal-{digest(str(place))}"


def end_cluster(place: Path) -> None:
    """End every process of the cluster in `place` and forget its pid file. Raises EmbeddedError."""
    for number, patience in _SIGNALS:
        found = _processes(place)
        # Its children end with the postmaster; only orphans are signalled themselves.
        _signal([process for process in found if _is_postmaster(process, place)] or found, number)
        psutil.wait_procs(found, timeout=patience)
        found = _processes(place)
        if not found:
            (place / "data" / "postmaster.pid").unlink(missing_ok=True)
            return
    raise EmbeddedError(f"Processes {[process.pid for process in found]} of PostgreSQL in {place} do not end.")


def _processes(place: Path) -> list[psutil.Process]:
    """By their command lines, which any user may read: the postmaster's folder, its children's cluster name."""
    title = f"postgres: {cluster_name(place)}"
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if _is_postmaster(process, place) or " ".join(process.info["cmdline"] or []).startswith(title)
    ]


def _is_postmaster(process: psutil.Process, place: Path) -> bool:
    return str(place / "data") in (process.info["cmdline"] or [])


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
