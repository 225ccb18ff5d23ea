"""`jit approve` and `deny`: the request is shown first."""

from typing import Annotated, Any

import typer

from jit import show
from jit.options import Json, Request, Url, Yes
from jit.portal import Portal


def approve(
    request: Request,
    comment: Annotated[str, typer.Option("--comment", "-c", help="What you want to say to it.")] = "",
    minutes: Annotated[int | None, typer.Option("--minutes", "-m", help="Shorter than asked.", min=1)] = None,
    tables: Annotated[
        list[str] | None, typer.Option("--table", "-t", help="Only these of the tables; say it again for more.")
    ] = None,
    unmask: Annotated[list[str] | None, typer.Option("--unmask", help="Only these columns unmasked.")] = None,
    mask_all: Annotated[bool, typer.Option("--mask-all", help="No column unmasked.")] = False,
    yes: Yes = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Say yes to somebody's request, to all of it or to less."""
    body: dict[str, Any] = {"comment": comment}
    if minutes is not None:
        body["minutes"] = minutes
    if tables:
        body["tables"] = tables
    if unmask or mask_all:
        body["unmask"] = unmask or []
    portal = Portal.signed_in(url)
    before = _shown(portal, request)
    show.confirm(f"Say yes to {before['requester']}?", yes=yes)
    _tell(portal.post(f"/requests/{request}/approve", body), "Your yes is recorded", json=json)


def deny(
    request: Request,
    comment: Annotated[str | None, typer.Option("--comment", "-c", help="Why not.")] = None,
    yes: Yes = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Say no to somebody's request, with a comment."""
    portal = Portal.signed_in(url)
    before = _shown(portal, request)
    comment = comment or show.ask("Why not?", option="--comment")
    show.confirm(f"Say no to {before['requester']}?", yes=yes)
    _tell(portal.post(f"/requests/{request}/deny", {"comment": comment}), "Your no is recorded", json=json)


def _shown(portal: Portal, request: str) -> dict[str, Any]:
    row: dict[str, Any] = portal.get(f"/requests/{request}")
    if not show.is_json():
        show.request(row)
    return row


def _tell(row: dict[str, Any], done: str, *, json: bool) -> None:
    if json:
        show.data(row)
    show.say(f"{done}; the request is {row['status']}.")
