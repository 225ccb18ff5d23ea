"""`jit extend`, `release`, `revoke`."""

from typing import Annotated

import typer

from jit import access, show, waiting, words
from jit.options import Access, Json, Reason, Timeout, Url, Yes
from jit.portal import Portal


def extend(
    what: Access,
    minutes: Annotated[int, typer.Option("--minutes", "-m", help="How many more.", min=1)],
    reason: Reason = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is longer.")] = False,
    timeout: Timeout = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask for more time; sessions go on without a gap."""
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    reason = reason or show.ask("Reason", option="--reason")
    row = portal.create(f"/grants/{grant['id']}/extend", {"minutes": minutes, "reason": reason})
    show.say(f"Asked: request {row['id']}.")
    if wait:
        row = waiting.until_extended(portal, row["id"], timeout=timeout)
        show.say(f"The access lasts {words.span(minutes * 60)} longer.", style="green")
    elif row["status"] == "pending":
        show.say(f"It waits for {words.waits_for(row['route'])}.")
    if json:
        show.data(row)


def release(what: Access, reason: Reason = None, url: Url = None, json: Json = False) -> None:
    """Give your access back before its time."""
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    row = portal.post(f"/grants/{grant['id']}/release", {"reason": reason or ""})
    if json:
        show.data(row)
    show.say(f"Given back: {row['id']} ({row['database']}) is {row['status']}.")


def revoke(
    grant: Annotated[str, typer.Argument(help="Id of somebody's grant.")],
    reason: Reason = None,
    yes: Yes = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Take somebody's access away."""
    portal = Portal.signed_in(url)
    row = portal.get(f"/grants/{grant}")
    if not json:
        show.grant(row)
    reason = reason or show.ask("Reason", option="--reason")
    show.confirm(f"Take this access of {row['holder']} away now?", yes=yes)
    row = portal.post(f"/grants/{grant}/revoke", {"reason": reason})
    if json:
        show.data(row)
    show.say(f"Taken away: {row['id']} of {row['holder']} is {row['status']}.")
