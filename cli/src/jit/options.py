"""Options that several commands share."""

from typing import Annotated

import typer

from jit import show
from jit.errors import Failure
from jit.portal import Portal


def complete_database(incomplete: str) -> list[str]:
    """For the shell: what one may ask for, or nothing where that cannot be told quickly."""
    try:
        return [row["slug"] for row in Portal.signed_in().all("/databases") if row["slug"].startswith(incomplete)]
    except Failure:
        return []


Json = Annotated[
    bool, typer.Option("--json", help="Answer in JSON, ask nothing.", callback=show.choose_json, is_eager=True)
]
Url = Annotated[str | None, typer.Option("--url", help="Address of the portal.", envvar="JIT_URL", metavar="URL")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask no question before it is done.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Give up waiting after so many seconds.", min=0)]
Database = Annotated[
    str, typer.Argument(help="Name of the database, as `jit databases` shows it.", autocompletion=complete_database)
]
Access = Annotated[
    str,
    typer.Argument(
        help="Id of a grant, or the name of the database that you have access to.",
        metavar="ACCESS",
        autocompletion=complete_database,
    ),
]
Request = Annotated[str, typer.Argument(help="Id of a request.", metavar="REQUEST")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why: it stands in the record.")]

# What is asked for
_WISH = "What to ask for"
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table", "-t", metavar="TABLE", help="schema.table or schema.*; say it again for more.", rich_help_panel=_WISH
    ),
]
Unmask = Annotated[
    list[str] | None,
    typer.Option("--unmask", metavar="COLUMN", help="schema.table.column to be shown as it is.", rich_help_panel=_WISH),
]
Level = Annotated[
    str | None,
    typer.Option("--level", metavar="LEVEL", help="query, export or change: query unless said.", rich_help_panel=_WISH),
]
Minutes = Annotated[
    int | None,
    typer.Option("--minutes", "-m", help="How long, once it works: 60 unless said.", min=1, rich_help_panel=_WISH),
]
Ticket = Annotated[
    str, typer.Option("--ticket", metavar="TEXT", help="What it belongs to, as OPS-1.", rich_help_panel=_WISH)
]
Starts = Annotated[
    str | None,
    typer.Option("--starts-at", metavar="TIME", help="Not before this time (RFC 3339).", rich_help_panel=_WISH),
]
