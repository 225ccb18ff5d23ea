"""`jit psql` and `jit run`: a program with the credential in its environment, never among its arguments."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from jit import access, options, show, words
from jit.access import Wish
from jit.errors import Exit, Failure
from jit.options import Database, Reason, Timeout, Url, Yes
from jit.portal import Portal

New = Annotated[bool, typer.Option("--new", help="Ask anew, although there is access already.")]
Release = Annotated[bool, typer.Option("--release", help="Give the access back when the program has ended.")]
# What of the caller's would lead libpq elsewhere, or hand its own secrets over.
_MISLEADING = ("PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGHOSTADDR", "PGPASSFILE", "PGREQUIREAUTH")
_OUR_OWN = ("JIT_TOKEN",)


def psql(
    database: Database,
    arguments: Annotated[list[str] | None, typer.Argument(help="What psql itself gets, after --.")] = None,
    tables: options.Tables = None,
    reason: Reason = None,
    level: options.Level = None,
    minutes: options.Minutes = None,
    unmask: options.Unmask = None,
    ticket: options.Ticket = "",
    new: New = False,
    release: Release = False,
    yes: Yes = False,
    timeout: Timeout = None,
    url: Url = None,
) -> None:
    """Open psql: with the access you have, or by asking for it and waiting."""
    program = _found("psql")
    wish = _direct(database, tables, unmask, level=level, minutes=minutes, reason=reason, ticket=ticket)
    portal = Portal.signed_in(url)
    grant = access.have_or_ask(portal, wish, yes=yes, new=new, timeout=timeout)
    _run(portal, grant, [program, *(arguments or ())], release=release)


def run(
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after --.")],
    what: Annotated[
        str | None,
        typer.Option(
            "--access",
            "-a",
            help="Id of a grant or name of a database; not needed where you have one access only.",
            autocompletion=options.complete_database,
        ),
    ] = None,
    tables: options.Tables = None,
    reason: Reason = None,
    level: options.Level = None,
    minutes: options.Minutes = None,
    unmask: options.Unmask = None,
    ticket: options.Ticket = "",
    new: New = False,
    release: Release = False,
    yes: Yes = False,
    timeout: Timeout = None,
    url: Url = None,
) -> None:
    """Run any program with PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD set: jit run -- pg_dump -t sales.orders"""
    program = _found(command[0])
    portal = Portal.signed_in(url)
    wish = _direct(what, tables, unmask, level=level, minutes=minutes, reason=reason, ticket=ticket)
    if what is None:
        grant = access.exactly_one(portal)
    elif reason is None and not wish.is_particular:
        grant = access.held(portal, what, connection="direct")
    else:
        grant = access.have_or_ask(portal, wish, yes=yes, new=new, timeout=timeout)
    _run(portal, grant, [program, *command[1:]], release=release)


def environment(credential: dict[str, Any], inherited: dict[str, str]) -> dict[str, str]:
    """The PG* variables of a credential over what the program inherits."""
    query = parse_qs(urlsplit(credential["url"]).query)
    kept = {name: value for name, value in inherited.items() if name not in (*_MISLEADING, *_OUR_OWN)}
    ours = {
        "PGHOST": credential["host"],
        "PGPORT": str(credential["port"]),
        "PGDATABASE": credential["database"],
        "PGUSER": credential["username"],
        "PGPASSWORD": credential["password"],
    }
    names = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "channel_binding": "PGCHANNELBINDING"}
    return kept | ours | {names[key]: values[-1] for key, values in query.items() if key in names}


def _direct(database: str | None, tables: list[str] | None, unmask: list[str] | None, **said: Any) -> Wish:
    """What a program needs: a credential of its own."""
    return Wish(database=database, tables=tuple(tables or ()), unmask=tuple(unmask or ()), connection="direct", **said)


def _run(portal: Portal, grant: dict[str, Any], command: Sequence[str], *, release: bool) -> None:
    credential = portal.post(f"/grants/{grant['id']}/credential", {})
    until = credential["valid_until"]
    left = words.span(words.seconds_left(until))
    show.say(f"{grant['database']} as {credential['username']}, until {words.clock(until)} ({left}).", style="dim")
    env = environment(credential, dict(os.environ))
    status = _status_of(command, env)
    if release:
        _give_back(portal, grant["id"])
    else:
        _say_what_is_left(portal, grant["id"])
    raise typer.Exit(status)


def _give_back(portal: Portal, grant_id: str) -> None:
    """The program has run: its status is the answer, whatever comes of this."""
    try:
        portal.post(f"/grants/{grant_id}/release", {"reason": ""})
    except Failure as failure:
        show.say(f"It could not be given back: {failure.sentence}", style="yellow")
    else:
        show.say("Given back.", style="dim")


def _status_of(command: Sequence[str], env: dict[str, str]) -> int:
    """Run it in this terminal; its exit status, or 128 and the number of the signal that ended it."""
    with _left_to_the_program():
        try:
            status = subprocess.run(command, env=env, check=False).returncode
        except OSError as error:
            raise Failure(f"{command[0]} cannot be run: {error.strerror}.", status=Exit.FAILED) from error
    return status if status >= 0 else 128 - status


@contextmanager
def _left_to_the_program() -> Iterator[None]:
    """Ctrl-C cancels a statement in psql; it must not end us meanwhile."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say_what_is_left(portal: Portal, grant_id: str) -> None:
    row = access.reread(portal, grant_id)
    if row is None:
        return
    if row["status"] == "active":
        left = words.span(words.seconds_left(row["expires_at"]))
        show.say(f"The access lives on for {left}; `jit release {grant_id}` gives it back.", style="dim")
    else:
        show.say("The access has ended.", style="dim")


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        hint = "Install it (Debian: postgresql-client), or use `jit run -- …`." if program == "psql" else ""
        raise Failure(f"{program} is not on this machine.", status=Exit.USAGE, hint=hint)
    return path
