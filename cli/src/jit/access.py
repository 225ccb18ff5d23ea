"""Which live access is meant, and asking for it where there is none."""

from dataclasses import dataclass
from typing import Any

from jit import show, waiting, words
from jit.errors import Exit, Failure
from jit.portal import Portal

LEVELS = ("query", "export", "change")
CONNECTIONS = ("direct", "console")
_MINUTES = 60


@dataclass(frozen=True)
class Wish:
    """What somebody may have said about the access they want; None where nothing was said."""

    database: str | None = None
    tables: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()
    level: str | None = None
    connection: str | None = None
    minutes: int | None = None
    reason: str | None = None
    ticket: str = ""
    starts_at: str | None = None
    statement: str = ""
    expected_rows: int | None = None

    @property
    def is_particular(self) -> bool:
        """Whether any live access will not do."""
        return bool(self.tables or self.unmask or self.level or self.starts_at)


def held(portal: Portal, what: str, *, connection: str | None = None) -> dict[str, Any]:
    """My live grant with this id, or to this database. Raises Failure where there is none, or not just one."""
    mine = live(portal)
    for row in mine:
        if row["id"] == what:
            return row
    found = [row for row in mine if row["database"] == what and connection in (None, row["connection"])]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(_known_as(row) for row in found)
        hint = f"Say the id of one: {names}."
        raise Failure(f"You have {len(found)} accesses to {what}.", status=Exit.USAGE, hint=hint)
    kind = {"direct": " with a credential", "console": " for the console"}.get(connection or "", "")
    raise Failure(
        f"You have no live access to {what}{kind}.",
        status=Exit.NO_ACCESS,
        hint=f"Ask for it: `jit request {what}`. `jit status` shows what you have.",
    )


def _known_as(row: dict[str, Any]) -> str:
    left = f", {words.span(words.seconds_left(row['expires_at']))} left" if row["expires_at"] else ""
    return f"{row['id']} ({row['connection']}{left})"


def live(portal: Portal) -> list[dict[str, Any]]:
    """My active grants, newest first."""
    me = portal.get("/me")["username"]
    return [row for row in portal.all("/grants", status="active") if row["holder"] == me]


def have_or_ask(portal: Portal, wish: Wish, *, yes: bool, new: bool, timeout: float | None) -> dict[str, Any]:
    """A live grant with a credential for the wish: one that is there, one that is asked for already, or a new one."""
    if not new:
        there = [row for row in live(portal) if row["database"] == wish.database and row["connection"] == "direct"]
        there = [
            row for row in there if not wish.is_particular or _covers(portal.get(f"/requests/{row['request']}"), wish)
        ]
        if there:
            return max(there, key=lambda row: str(row["expires_at"]))
        if asked := _asked_already(portal, wish):
            show.say(f"You have asked already ({asked}).", style="dim")
            return waiting.until_usable(portal, asked, timeout=timeout)
    row = submit(portal, completed(portal, wish), yes=yes)
    return waiting.until_usable(portal, row["id"], timeout=timeout)


def completed(portal: Portal, wish: Wish) -> dict[str, Any]:
    """The body of a request; what was not said is asked of the person. Raises Failure where nobody is there."""
    database = wish.database or _choose_database(portal)
    tables = list(wish.tables) or _choose_tables(portal, database)
    level = wish.level or ("query" if wish.tables else _choose_level())
    connection = wish.connection or "direct"
    reason = wish.reason or show.ask("Reason", option="--reason")
    body = {
        "database": database,
        "level": level,
        "tables": tables,
        "unmask": list(wish.unmask),
        "connection": connection,
        "minutes": wish.minutes or _MINUTES,
        "starts_at": wish.starts_at,
        "reason": reason,
        "ticket": wish.ticket,
        "break_glass": False,
    }
    if wish.statement:
        body["statement"] = wish.statement
        body["expected_rows"] = wish.expected_rows
    return body


def submit(portal: Portal, body: dict[str, Any], *, yes: bool) -> dict[str, Any]:
    """Show risk and route, ask the person, send it. Raises Failure."""
    answer = portal.post("/requests/preview", body)
    if not show.is_json():
        what = f"{body['level']}, {body['connection']}, {words.span(body['minutes'] * 60)}"
        names = show.few([words.line(name) for name in answer["tables"]])
        show.say(f"{body['database']}: {what}: {names}")
        show.preview(answer)
    if answer["outcome"] == "deny":
        raise Failure(
            " ".join(["A policy would deny this.", *answer["reasons"]]), status=Exit.REFUSED, hint="Ask for less."
        )
    show.confirm("Ask for this?", yes=yes)
    row: dict[str, Any] = portal.create("/requests", body)
    show.say(f"Asked: request {row['id']}.")
    return row


def _asked_already(portal: Portal, wish: Wish) -> str | None:
    me = portal.get("/me")["username"]
    for row in portal.all("/requests", status="pending"):
        mine = (row["requester"], row["database"], row["connection"]) == (me, wish.database, "direct")
        if mine and not row["extends"] and (not wish.is_particular or _covers(row, wish)):
            return str(row["id"])
    return None


def _covers(request: dict[str, Any], wish: Wish) -> bool:
    """Whether what was asked for holds all that is wished now. What `schema.*` stands for, only the portal knows."""
    return (
        wish.starts_at is None
        and wish.level in (None, request["level"])
        and set(wish.tables) <= set(request["tables"])
        and set(wish.unmask) <= set(request["unmask"])
    )


def _choose_level() -> str:
    return show.ask("Level", option="--level", choices=LEVELS, default="query") if show.interactive() else "query"


def _choose_database(portal: Portal) -> str:
    names = [row["slug"] for row in portal.all("/databases") if row["may_request"]] if show.interactive() else []
    return show.ask("Database", option="the name of a database", choices=names)


def _choose_tables(portal: Portal, database: str) -> list[str]:
    if show.interactive():
        schemas: dict[str, int] = {}
        for row in portal.all(f"/databases/{database}/tables"):
            schemas[row["schema"]] = schemas.get(row["schema"], 0) + 1
        shown = ", ".join(f"{words.line(name)}.* ({count})" for name, count in schemas.items())
        show.say(f"Schemas: {shown}. `jit tables {database}` lists the tables.", style="dim")
    said = show.ask("Tables", option="--table schema.table", hint="schema.table or schema.*, with spaces between")
    return said.replace(",", " ").split()


def exactly_one(portal: Portal) -> dict[str, Any]:
    """The one live grant with a credential. Raises Failure where there is none, or several."""
    found = [row for row in live(portal) if row["connection"] == "direct"]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{row['id']} ({row['database']})" for row in found)
        raise Failure(f"You have several accesses: {names}.", status=Exit.USAGE, hint="Say which one: --access …")
    raise Failure("You have no live access with a credential.", status=Exit.NO_ACCESS, hint="Ask for it: jit request …")


def reread(portal: Portal, grant_id: str) -> dict[str, Any] | None:
    """The grant as it is now; None where that cannot be told."""
    try:
        row: dict[str, Any] = portal.get(f"/grants/{grant_id}")
    except Failure:
        return None
    return row
