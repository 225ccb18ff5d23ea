"""What stays on this machine: the portal's address, and its token, in the system's keyring where there is one."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keyring
import typer
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringError

from jit.errors import Exit, Failure

_SERVICE = "jit"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def folder() -> Path:
    """Where settings of this person are, or will be."""
    return Path(os.environ.get("JIT_CONFIG_DIR") or typer.get_app_dir("jit"))


def url_of(said: str | None = None) -> str:
    """The portal's address: said, from JIT_URL, or from the last sign-in. Raises Failure."""
    url = said or os.environ.get("JIT_URL") or str(_settings().get("url") or "")
    if not url:
        raise Failure(
            "No portal is known here yet.",
            status=Exit.NOT_SIGNED_IN,
            hint="Run `jit login --url https://…`, or set JIT_URL.",
        )
    return checked(url)


def checked(url: str) -> str:
    """The address without a path; refused where a token would travel unprotected, or be sent to who knows where."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        good = bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.scheme not in {"http", "https"} or parts.path.strip("/") or parts.query:
        raise Failure(f"{url} is no address of a portal: it looks like https://jit.example.org", status=Exit.USAGE)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Failure(
            "Plain http would show your token to the network.", status=Exit.USAGE, hint=f"Use https://{parts.netloc}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def remember_url(url: str) -> None:
    _write(folder() / "settings.json", {**_settings(), "url": url})


def token_of(url: str) -> str:
    """JIT_TOKEN, or what was kept at sign-in; empty where there is none."""
    if token := os.environ.get("JIT_TOKEN", ""):
        return token.strip()
    with suppress(KeyringError, RuntimeError):
        if kept := keyring.get_password(_SERVICE, url):
            return kept
    return str(_read(_token_file()).get(url, ""))


def keep_token(url: str, token: str) -> str:
    """Keep it, and say where, for the person to know."""
    if not isinstance(keyring.get_keyring(), NoKeyring):
        with suppress(KeyringError, RuntimeError):
            keyring.set_password(_SERVICE, url, token)
            _forget_in_file(url)
            return "in the keyring of this system"
    _write(_token_file(), {**_read(_token_file()), url: token})
    return f"in {_token_file()}, readable by you alone: this system has no keyring"


def forget_token(url: str) -> None:
    with suppress(KeyringError, RuntimeError):
        keyring.delete_password(_SERVICE, url)
    _forget_in_file(url)


def _forget_in_file(url: str) -> None:
    kept = _read(_token_file())
    if kept.pop(url, None) is not None:
        _write(_token_file(), kept)


def _token_file() -> Path:
    return folder() / "tokens.json"


def _settings() -> dict[str, Any]:
    return _read(folder() / "settings.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = "Remove the file and sign in again."
        raise Failure(f"{path} cannot be read: {error}", status=Exit.FAILED, hint=hint) from error
    return found if isinstance(found, dict) else {}


def _write(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(number, "w") as file:
            json.dump(values, file)
        Path(name).replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.", status=Exit.FAILED) from error
