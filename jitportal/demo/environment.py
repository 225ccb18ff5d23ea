"""What the demo remembers between starts, and the environment of each of its processes (design §7).

`demo.json` holds what is made once. The `*.env` files follow from it and from the ports; settings.py reads them.
"""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from apps.audit.notes import new_signer
from apps.core.ids import new_id
from apps.core.sealed import new_keypair, new_ring_key
from jitportal.embedded import HOST, new_password
from jitportal.portal_database import OWNER, WEB, WORKER, urls

DATABASE = "jitportal"
CLIENT_ID = "jitportal-demo"
_STATE = "demo.json"
_SIGNING_KEY = "signing.key"
# On the same disk, which no real portal should do: it shows what an anchor is.
_ANCHOR = "anchor.jsonl"
# A port where nobody answers: until the servers are up.
_NOWHERE = 1
# Says which demo a process belongs to, and goes down to its children: so the next start finds what a killed one left.
MARK = "JITPORTAL_DEMO_PROCESS_OF"


@dataclass(frozen=True)
class Secrets:
    """Made once for a folder."""

    portal_id: str
    secret_key: str
    ring_key: str
    manager_private_key: str
    manager_public_key: str
    owner_password: str
    web_password: str
    worker_password: str
    sso_client_secret: str
    identity_port: int  # part of the issuer, and so of everybody's identity: never another one


@dataclass(frozen=True)
class Ports:
    """Where things answer in this run."""

    web: int
    portal_database: int


class Environment:
    """The folder of one demo."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder = folder or _named_folder()
        folder.mkdir(parents=True, exist_ok=True)
        # The servers' own user has to pass through; secrets are in files that only we read.
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (folder / "mail").mkdir(mode=0o700, exist_ok=True)
        self.secrets = self._remembered()
        self._keep_signing_key()
        if not (folder / "operator.env").exists():
            self.write(Ports(web=8000, portal_database=_NOWHERE))

    @property
    def issuer(self) -> str:
        return f"http://{HOST}:{self.secrets.identity_port}"

    @property
    def passwords(self) -> dict[str, str]:
        """By role of the portal's database."""
        kept = self.secrets
        return {OWNER: kept.owner_password, WEB: kept.web_password, WORKER: kept.worker_password}

    def write(self, ports: Ports) -> None:
        """Write every env file anew."""
        for name, values in self._files(ports).items():
            lines = [f"{key}={value}\n" for key, value in values.items()]
            self._write_private(f"{name}.env", "".join(lines))

    def of_process(self, process: str, **more: str) -> dict[str, str]:
        """What a child gets: our own environment without what the env files are to say."""
        names = {name for values in self._files(Ports(0, 0)).values() for name in values}
        inherited = {key: value for key, value in os.environ.items() if key not in names}
        return inherited | {
            "JITPORTAL_DATA": str(self.folder),
            "JITPORTAL_PROCESS": process,
            "PYTHONUNBUFFERED": "1",
            MARK: str(self.folder),
            **more,
        }

    def _files(self, ports: Ports) -> dict[str, dict[str, str]]:
        kept = self.secrets
        by_role = urls(self.passwords, host=HOST, port=ports.portal_database, database=DATABASE)
        ring = {"JITPORTAL_GRANT_PASSWORD_RING": kept.ring_key}
        manager = {"JITPORTAL_MANAGER_PRIVATE_KEY": kept.manager_private_key}
        signing = {
            "JITPORTAL_SIGNING_KEY_FILE": str(self.folder / _SIGNING_KEY),
            "JITPORTAL_ANCHORS": f"file:{self.folder / _ANCHOR}",
        }
        mail = {"JITPORTAL_MAIL_FOLDER": str(self.folder / "mail")}
        worker = {"DATABASE_URL": by_role[WORKER], "DATABASE_DIRECT_URL": by_role[WORKER]}
        return {
            "common": {
                "JITPORTAL_PORTAL_ID": kept.portal_id,
                "JITPORTAL_SECRET_KEY": kept.secret_key,
                "JITPORTAL_MANAGER_PUBLIC_KEY": kept.manager_public_key,
                "JITPORTAL_BASE_URL": f"http://{HOST}:{ports.web}",
                "JITPORTAL_AUDIT_ORIGIN": self._origin,
                "JITPORTAL_LOOPBACK_TARGETS": "1",
                "JITPORTAL_SSO_ISSUER": self.issuer,
                "JITPORTAL_SSO_NAME": "demo sign-on",
                "JITPORTAL_SSO_CLIENT_ID": CLIENT_ID,
                "JITPORTAL_FORM_ORIGINS": self.issuer,
            },
            "web": {
                "DATABASE_URL": by_role[WEB],
                "DATABASE_DIRECT_URL": by_role[WEB],
                "JITPORTAL_SSO_CLIENT_SECRET": kept.sso_client_secret,
                **ring,
            },
            "worker": {**worker, **ring, **manager, **signing, **mail},
            "clock": worker,
            "operator": {"DATABASE_OWNER_URL": by_role[OWNER], **worker, **ring, **manager, **signing, **mail},
        }

    @property
    def _origin(self) -> str:
        return f"demo-{self.secrets.portal_id}"

    def _keep_signing_key(self) -> None:
        """Also for a folder that was made before there was one."""
        if not (self.folder / _SIGNING_KEY).exists():
            self._write_private(_SIGNING_KEY, f"{new_signer(self._origin)}\n")

    def _remembered(self) -> Secrets:
        path = self.folder / _STATE
        if path.exists():
            return Secrets(**json.loads(path.read_text()))
        private, public = new_keypair()
        made = Secrets(
            portal_id=new_id(),
            secret_key=secrets.token_urlsafe(48),
            ring_key=new_ring_key(),
            manager_private_key=private,
            manager_public_key=public,
            owner_password=new_password(),
            web_password=new_password(),
            worker_password=new_password(),
            sso_client_secret=new_password(),
            identity_port=_any_free_port(),
        )
        self._write_private(_STATE, json.dumps(asdict(made), indent=1))
        return made

    def _write_private(self, name: str, text: str) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(self.folder / name)


def _named_folder() -> Path:
    # As settings.py finds it, which cannot be asked before the environment is there.
    return Path(os.environ.get("JITPORTAL_DATA", Path(__file__).resolve().parents[2] / ".demo")).resolve()


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
