"""`jit request`, `wait`, `cancel`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jit import options, show, waiting, words
from jit.access import Wish, completed, submit
from jit.errors import Exit, Failure
from jit.options import Json, Reason, Request, Timeout, Url, Yes
from jit.portal import Portal


def request(
    database: Annotated[
        str | None, typer.Argument(help="Name of the database.", autocompletion=options.complete_database)
    ] = None,
    tables: options.Tables = None,
    reason: Reason = None,
    level: options.Level = None,
    minutes: options.Minutes = None,
    unmask: options.Unmask = None,
    console: Annotated[
        bool, typer.Option("--console", help="For the portal's console only, without a credential.")
    ] = False,
    ticket: options.Ticket = "",
    starts_at: options.Starts = None,
    statement: Annotated[
        str | None,
        typer.Option("--statement", help="File with the one statement to run once approved; - reads it from here."),
    ] = None,
    expect_rows: Annotated[
        int | None, typer.Option("--expect-rows", help="Rows that it must touch; another number rolls it back.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is usable.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show risk and route, and ask for nothing.")] = False,
    yes: Yes = False,
    timeout: Timeout = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask for access: risk and route are shown before anything is sent."""
    portal = Portal.signed_in(url)
    wish = Wish(
        database=database,
        tables=tuple(tables or ()),
        unmask=tuple(unmask or ()),
        level=level,
        connection="console" if console or statement else "direct",
        minutes=minutes,
        reason=reason,
        ticket=ticket,
        starts_at=starts_at,
        statement=_read(statement) if statement else "",
        expected_rows=expect_rows,
    )
    body = completed(portal, wish)
    if dry_run:
        _preview(portal, body, json=json)
        return
    row = submit(portal, body, yes=yes or json)
    if wait:
        _tell(portal, waiting.until_usable(portal, row["id"], timeout=timeout), json=json)
    elif json:
        show.data(row)
    else:
        _say_next(row)


def wait(request: Request, timeout: Timeout = None, url: Url = None, json: Json = False) -> None:
    """Wait until a request has become access, or has come to nothing."""
    portal = Portal.signed_in(url)
    _tell(portal, waiting.until_usable(portal, request, timeout=timeout), json=json)


def cancel(
    request: Request,
    comment: Annotated[str, typer.Option("--comment", "-c", help="Why.")] = "",
    url: Url = None,
    json: Json = False,
) -> None:
    """Take back a request of your own that still waits."""
    row = Portal.signed_in(url).post(f"/requests/{request}/cancel", {"comment": comment})
    if json:
        show.data(row)
    show.say(f"The request {request} was taken back.")


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{name} cannot be read: {error}", status=Exit.USAGE) from error


def _preview(portal: Portal, body: dict[str, Any], *, json: bool) -> None:
    answer = portal.post("/requests/preview", body)
    if json:
        show.data(answer)
    else:
        show.preview(answer)


def _say_next(row: dict[str, Any]) -> None:
    if row["status"] == "pending":
        show.say(f"It waits for {words.waits_for(row['route'])}. `jit wait {row['id']}` waits with you.")
    else:
        show.say(f"It is {row['status']}. `jit wait {row['id']}` waits until it is usable.")


def _tell(portal: Portal, grant: dict[str, Any], *, json: bool) -> None:
    if json:
        show.data(grant)
        return
    show.say(f"You have access to {grant['database']}: {grant['id']}.", style="green")
    show.grant(grant)
    if grant["connection"] == "direct":
        show.say(f"`jit psql {grant['database']}` opens it.", style="dim")
    else:
        show.say(f"In the browser: {portal.url}/grants/{grant['id']}/", style="dim")
