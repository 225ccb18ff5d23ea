"""The command itself: what it is called, and how it ends."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from jit import __version__, asking, changing, deciding, ending, looking, reading, show, signing_in, using
from jit.errors import Exit, Failure

_HELP = """Access to databases, for a task and a time.

Nobody holds access: ask for it, and it is taken away by itself.

\b
  jit login                                   once
  jit psql shop -t sales.orders -r "OPS-1"    ask, wait, and be in psql
  jit run -- pg_dump -t sales.orders          any other program
  jit release shop                            give it back early
"""
_EPILOG = (
    "Ends with 0 when done, 1 failed, 2 wrong command line, 3 not signed in, 4 not allowed or not there, "
    "5 refused as asked, 6 portal not reachable, 7 no access, 8 still waiting, 130 interrupted."
)

app = typer.Typer(
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"jit {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Options before any command."""


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Signing in": (signing_in.login, signing_in.logout, signing_in.whoami),
    "Asking": (looking.databases, looking.tables, asking.request, asking.wait, looking.status, asking.cancel),
    "Using": (using.psql, using.run, reading.query, reading.export, changing.change, changing.apply),
    "Ending": (ending.extend, ending.release),
    "Deciding": (deciding.approve, deciding.deny, ending.revoke),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def main() -> None:
    try:
        app()
    except Failure as failure:
        show.failure(failure)
        sys.exit(int(failure.status))
    except KeyboardInterrupt:
        sys.exit(int(Exit.INTERRUPTED))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(int(Exit.FAILED))
