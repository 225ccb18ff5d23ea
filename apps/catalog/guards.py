"""What a server and a database may be, before they are saved (field notes W6). Each check raises Invalid."""

import re
from typing import Any, Final

from cryptography import x509
from django.conf import settings

from apps.catalog.hosts import check_host, is_loopback
from apps.catalog.models import Classification, Database, Server
from apps.catalog.names import MAX_BYTES
from apps.core.errors import Invalid

_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ROLE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_DATA_CLASS: Final = re.compile(r"[a-z0-9_]{0,32}")
_PASSWORD: Final = re.compile(r"[!-~]{20,200}")  # printable ASCII: every driver prepares it alike
_NEW_DATA_CLASS: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Fields of a server: for how many seconds a session under a grant may stand in others' way (field notes S10).
SESSION_LIMITS: Final = ("block_seconds", "idle_seconds", "snapshot_seconds")
# Fields of a database: what the console holds people to.
CONSOLE_LIMITS: Final = ("console_rows", "console_seconds", "keeps_literals")
_MOST_ROWS: Final = 100_000
_LONGEST_LIMIT: Final = 7 * 24 * 3600
_MAX_CERTIFICATE: Final = 200_000
_MAX_DESCRIPTION: Final = 200


def check_server(server: Server) -> None:
    _check_slug(server.name, field="name")
    _check_choice(server.kind, Server.Kind.values, field="kind")
    _check_choice(server.tls, Server.TlsMode.values, field="tls")
    check_host(server.host, loopback_allowed=settings.LOOPBACK_TARGETS)
    if not isinstance(server.port, int) or isinstance(server.port, bool) or not 1 <= server.port <= 65535:
        raise Invalid("A port is a number from 1 to 65535.", field="port")
    if server.tls == Server.TlsMode.LOOPBACK_PLAINTEXT and not (settings.LOOPBACK_TARGETS and is_loopback(server.host)):
        raise Invalid(
            "Without TLS, passwords and rows could be read on their way. That is for loopback addresses only, "
            "and only where an operator permits it with JITPORTAL_LOOPBACK_TARGETS=1.",
            field="tls",
        )
    _check_database_name(server.maintenance_database, field="maintenance_database")
    if not _ROLE.fullmatch(server.manager):
        raise Invalid("The manager's name is made of a–z, 0–9 and _, at most 63 of them.", field="manager")
    _check_certificate(server.ca_certificate)
    for limit in SESSION_LIMITS:
        _check_seconds(getattr(server, limit), field=limit)


def check_database(database: Database) -> None:
    _check_slug(database.slug, field="slug")
    _check_database_name(database.datname, field="datname")
    _check_choice(database.environment, Database.Environment.values, field="environment")
    if len(database.description) > _MAX_DESCRIPTION or not database.description.isprintable():
        raise Invalid(f"A description is one line of at most {_MAX_DESCRIPTION} characters.", field="description")
    if not isinstance(database.hides_unclassified, bool):
        raise Invalid("Unclassified columns are hidden or not: say true or false.", field="hides_unclassified")
    if not isinstance(database.keeps_literals, bool):
        raise Invalid("Values in statements are kept or not: say true or false.", field="keeps_literals")
    for field, most in (("console_rows", _MOST_ROWS), ("console_seconds", _LONGEST_LIMIT)):
        value = getattr(database, field)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise Invalid(f"This limit of the console is a whole number from 1 to {most}.", field=field)


def check_classification(classification: str, data_class: str) -> None:
    """Empty classification: nobody has looked yet."""
    _check_choice(classification, ["", *Classification.values], field="classification")
    if not _DATA_CLASS.fullmatch(data_class):
        raise Invalid("A data class is one word of a–z, 0–9 and _, at most 32 of them.", field="data_class")


def check_data_class(name: str) -> None:
    """`none` is how people write that a column has no data class."""
    if not _NEW_DATA_CLASS.fullmatch(name) or name == "none":
        raise Invalid(
            "A data class is called by one word of a–z, 0–9 and _, at most 32 of them, a letter first; not “none”.",
            field="name",
        )


def check_secret(secret: str) -> None:
    if not _PASSWORD.fullmatch(secret):
        raise Invalid(
            "The manager's password has 20 to 200 printable ASCII characters and no space. "
            "Let it be random: nobody has to type it.",
            field="secret",
        )


def _check_slug(value: str, *, field: str) -> None:
    if not _SLUG.fullmatch(value):
        raise Invalid(
            "A name is made of a–z, 0–9 and hyphens, at most 63 of them, with no hyphen at its ends.", field=field
        )


def _check_choice(value: Any, choices: list[str], *, field: str) -> None:
    if value not in choices:
        raise Invalid(f"Choose one of: {', '.join(choice or '(none)' for choice in choices)}.", field=field)


def _check_database_name(name: str, *, field: str) -> None:
    if not name or not name.isprintable() or len(name.encode()) > MAX_BYTES:
        raise Invalid(f"A database's name has 1 to {MAX_BYTES} bytes, all printable.", field=field)
    # Clients take such a name for a whole connection string.
    if "=" in name or name.startswith(("postgres://", "postgresql://")):
        raise Invalid("This is a connection string: give the name of one database.", field=field)


def _check_seconds(value: Any, *, field: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LONGEST_LIMIT:
        raise Invalid(f"A limit is a whole number of seconds, up to {_LONGEST_LIMIT}; 0 does not look.", field=field)


def _check_certificate(pem: str) -> None:
    if not pem.strip():
        return
    if len(pem) > _MAX_CERTIFICATE or "PRIVATE KEY" in pem:
        raise Invalid("Give certificates alone, without any private key.", field="ca_certificate")
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise Invalid(
            "This is no certificate in PEM form (-----BEGIN CERTIFICATE-----).", field="ca_certificate"
        ) from error
