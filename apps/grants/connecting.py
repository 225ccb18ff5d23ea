"""What to type or paste where, for the credential of a grant. Pure; each text is quoted as its reader wants it."""

import shlex
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

from apps.grants.credential import Credential

_SERVICE_BREAKS: Final = ("\n", "\r")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to connect. `name` is a word of ours; a text that `holds_secret` is shown with the password only."""

    name: str  # psql | service | pgpass | sqlalchemy | jdbc | dbeaver
    title: str
    text: str = field(repr=False)
    where: str = ""  # the file that it belongs in
    holds_secret: bool = False


def ways(credential: Credential, *, service: str) -> list[Way]:
    """Those that can be written at all: some files have no way to quote what a name may hold."""
    found = [_psql(credential), _pgpass(credential), _sqlalchemy(credential), _jdbc(credential)]
    parts = (credential.database, credential.username, credential.host)
    if not any(character in part for part in parts for character in _SERVICE_BREAKS):
        found.insert(1, _service(credential, service))
        if not any("|" in part for part in (*parts, credential.password)):
            found.append(_dbeaver(credential, service))
    return found


def _psql(one: Credential) -> Way:
    """The password is asked for: in the arguments everybody on the machine could read it."""
    parts = {
        "host": one.host,
        "port": str(one.port),
        "dbname": one.database,
        "user": one.username,
        "sslmode": one.sslmode,
    }
    conninfo = " ".join(f"{name}={_conninfo(value)}" for name, value in parts.items())
    return Way(name="psql", title="psql", text=f"psql {shlex.quote(conninfo)}")


def _conninfo(value: str) -> str:
    if value and all(character.isalnum() or character in "._-" for character in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _service(one: Credential, service: str) -> Way:
    lines = (
        f"[{service}]",
        f"host={one.host}",
        f"port={one.port}",
        f"dbname={one.database}",
        f"user={one.username}",
        f"sslmode={one.sslmode}",
    )
    return Way(name="service", title="libpq service", text="\n".join(lines) + "\n", where="~/.pg_service.conf")


def _pgpass(one: Credential) -> Way:
    parts = (one.host, str(one.port), one.database, one.username, one.password)
    text = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)
    return Way(name="pgpass", title="Password file", text=text, where="~/.pgpass", holds_secret=True)


def _sqlalchemy(one: Credential) -> Way:
    login, secret, name = (quote(part, safe="") for part in (one.username, one.password, one.database))
    where = f"{_host(one)}:{one.port}/{name}?{urlencode({'sslmode': one.sslmode})}"
    text = f"postgresql+psycopg://{login}:{secret}@{where}"
    return Way(name="sqlalchemy", title="SQLAlchemy", text=text, holds_secret=True)


def _jdbc(one: Credential) -> Way:
    given = {"user": one.username, "password": one.password, "sslmode": one.sslmode}
    # Not +, which is a plus to some of its readers.
    options = urlencode(given, quote_via=quote, safe="")
    text = f"jdbc:postgresql://{_host(one)}:{one.port}/{quote(one.database, safe='')}?{options}"
    return Way(name="jdbc", title="JDBC", text=text, holds_secret=True)


def _dbeaver(one: Credential, service: str) -> Way:
    parts = {
        "driver": "postgresql",
        "host": one.host,
        "port": str(one.port),
        "database": one.database,
        "user": one.username,
        "prop.sslmode": one.sslmode,
        "name": service,
        "savePassword": "false",
    }
    text = "|".join(f"{name}={value}" for name, value in parts.items())
    return Way(name="dbeaver", title="DBeaver", text=f"dbeaver -con {shlex.quote(text)}")


def _host(one: Credential) -> str:
    return f"[{one.host}]" if ":" in one.host else one.host
