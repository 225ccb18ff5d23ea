"""`jit databases`, `tables`, `status`: what there is."""

from typing import Annotated, Any

import typer
from rich.text import Text

from jit import show, words
from jit.errors import Refused
from jit.options import Database, Json, Url
from jit.portal import Portal


def databases(url: Url = None, json: Json = False) -> None:
    """Databases that you may ask for, or own."""
    rows = list(Portal.signed_in(url).all("/databases"))
    if json:
        show.data(rows)
        return
    shown = [(row["slug"], row["environment"], _role(row), row["description"]) for row in rows]
    show.table(
        ["Database", "Environment", "You may", "What it is"],
        shown,
        empty="There is no database that you may ask for. Database administrators say who may.",
    )


def tables(
    database: Database,
    search: Annotated[str | None, typer.Argument(help="Part of a table's name.")] = None,
    columns: Annotated[bool, typer.Option("--columns", "-c", help="Show every column.")] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Tables of a database, with what is masked in them."""
    rows = list(Portal.signed_in(url).all(f"/databases/{database}/tables", search=search))
    if json:
        show.data(rows)
        return
    empty = "No table has such a name." if search else "No table is known; ask its owners to read them again."
    if columns:
        lines = [line for row in rows for line in _column_lines(row)]
        show.table(["Table", "Column", "Type", "Class", "Shown as"], lines, empty=empty)
    else:
        show.table(["Table", "Columns", "Masked"], [_table_line(row) for row in rows], empty=empty)


def status(
    what: Annotated[str | None, typer.Argument(help="Id of a request or of a grant.", metavar="[ID]")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Your access, your requests and what may wait for you; or one of them in full."""
    portal = Portal.signed_in(url)
    if what:
        _one(portal, what, json=json)
        return
    me = portal.get("/me")["username"]
    live = [row for state in ("queued", "active", "ending") for row in portal.all("/grants", status=state)]
    pending = list(portal.all("/requests", status="pending"))
    mine = [row for row in live if row["holder"] == me]
    asked = [row for row in pending if row["requester"] == me]
    others = [row for row in pending if row["requester"] != me]
    if json:
        show.data({"grants": mine, "requests": asked, "others": others})
        return
    show.table(
        ["Access", "Database", "Status", "Connection", "Left", "Login"],
        [_grant_line(row) for row in mine],
        empty="You have no access at present.",
    )
    show.table(["Request", "Database", "Level", "Waits for"], [_request_line(row) for row in asked], empty="")
    if others:
        heads = ["Of others", "Who", "Database", "Level", "Risk", "Reason"]
        show.table(heads, [_other_line(row) for row in others], empty="")


def find(portal: Portal, what: str) -> tuple[str, dict[str, Any]]:
    """("request" | "grant", the row) behind an id. Raises Refused where it is neither."""
    try:
        return "request", portal.get(f"/requests/{what}")
    except Refused as refused:
        if refused.answered != 404:
            raise
    return "grant", portal.get(f"/grants/{what}")


def _one(portal: Portal, what: str, *, json: bool) -> None:
    kind, row = find(portal, what)
    if json:
        show.data(row)
    elif kind == "request":
        show.request(row)
    else:
        show.grant(row)


def _role(row: dict[str, Any]) -> str:
    return " and ".join(word for word, yes in (("ask", row["may_request"]), ("decide", row["owned"])) if yes)


def _table_line(row: dict[str, Any]) -> tuple[str, str, str]:
    masked = [column["name"] for column in row["columns"] if column["mask"]]
    return f"{row['schema']}.{row['name']}", str(len(row["columns"])), ", ".join(masked)


def _column_lines(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            f"{row['schema']}.{row['name']}",
            column["name"],
            column["type"],
            column["classification"] or "",
            Text(words.mask(column["mask"]), style="yellow") if column["mask"] else "",
        )
        for column in row["columns"]
    ]


def _grant_line(row: dict[str, Any]) -> tuple[Any, ...]:
    left = words.span(words.seconds_left(row["expires_at"])) if row["expires_at"] and row["status"] == "active" else ""
    return row["id"], row["database"], show.status(row["status"]), row["connection"], left, row["login"]


def _request_line(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["id"], row["database"], row["level"], words.waits_for(row["route"])


def _other_line(row: dict[str, Any]) -> tuple[Any, ...]:
    risk = show.risk(row["risk"]["level"])
    return row["id"], row["requester"], row["database"], row["level"], risk, row["reason"]
