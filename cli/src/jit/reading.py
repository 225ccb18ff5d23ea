"""`jit query` and `jit export`: statements that the portal runs, as the grant's own login."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any

import httpx2
import typer
from rich.text import Text

from jit import access, show, words
from jit.errors import Exit, Failure, Refused, Unreachable
from jit.options import Access, Json, Url
from jit.portal import Portal

_CUTS_TOLD = 3

Sql = Annotated[str | None, typer.Argument(help="The statement; from standard input where it is left out.")]


class Format(StrEnum):
    """How values are written."""

    CSV = "csv"
    JSONL = "jsonl"


def query(what: Access, sql: Sql = None, url: Url = None, json: Json = False) -> None:
    """Run one statement and see its rows."""
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    text = statement(sql)
    with pointing(text):
        answer = portal.run(grant, "query", {"sql": text})
    if json:
        show.data(answer)
        return
    show_result(answer)


def show_result(answer: dict[str, Any]) -> None:
    """The rows of one statement, or how many it affected, and what of them is not shown."""
    names = [_name(column) for column in answer["columns"]]
    rows = ([_cell(value) for value in row] for row in answer["rows"])
    if names:
        show.table(names, rows, empty="No rows.")
    count = len(answer["rows"]) if names else answer.get("affected") or 0
    what = "" if names else " affected"
    show.say(f"{count:,} {'row' if count == 1 else 'rows'}{what}, {answer['elapsed_ms']} ms", style="dim")
    for cut in answer.get("cut", ())[:_CUTS_TOLD]:
        place = f"Row {cut['row'] + 1}, {names[cut['column']]}"
        show.say(f"{place}: only the beginning of {_bytes(cut['bytes'])} is shown.", style="yellow")
    if answer["truncated"]:
        show.say(answer.get("sentence") or "There are more rows.", style="yellow")


def export(
    what: Access,
    sql: Sql = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output where it is left out.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How values are written.")] = Format.CSV,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    url: Url = None,
) -> None:
    """Run one statement and keep its rows; a file appears only when it is whole."""
    if output is None and sys.stdout.isatty():
        raise Failure("An export to the screen helps nobody.", status=Exit.USAGE, hint="Say --output FILE, or pipe it.")
    if output is not None and output.exists() and not force:
        raise Failure(f"{output} is there already.", status=Exit.USAGE, hint="Say --force to replace it.")
    portal = Portal.signed_in(url)
    grant = access.held(portal, what)
    text = statement(sql)
    with _target(output) as file, _at_another_level(grant["database"]):
        count = _copy(portal, grant["id"], text, form, file)
    show.say(f"{_bytes(count)} written{f' to {output}' if output else ''}.")


def _copy(portal: Portal, grant_id: str, sql: str, form: Format, file: IO[bytes]) -> int:
    """The bytes of the answer, as they are. Raises Failure where the stream does not end as it should."""
    count, run_id = 0, ""
    try:
        with (
            pointing(sql),
            show.err.status(Text("Waiting for the first row")) as spinner,
            portal.stream(f"/grants/{grant_id}/export", {"sql": sql}, format=form.value) as answer,
        ):
            run_id = _safe_id(answer.headers.get("X-Statement", ""))
            spinner.update(Text("It runs; waiting for the first row"))
            with _cancelled_when_stopped(portal, run_id):
                for piece in answer.iter_bytes():
                    file.write(piece)
                    count += len(piece)
                    spinner.update(Text(f"{_bytes(count)} so far"))
            _check_whole(answer, count)
    except Unreachable:
        if failed := _failed(portal, run_id):
            raise failed from None
        raise
    return count


def _safe_id(said: str) -> str:
    """It becomes part of an address: nothing that could lead elsewhere."""
    return said if said.isascii() and said.isalnum() else ""


def _failed(portal: Portal, statement: str) -> Failure | None:
    """Why a file broke off, where that was the statement and not the network.

    A cancelled one tells nothing: the portal cancels what it can send to nobody.
    """
    if not statement:
        return None
    try:
        row = portal.get(f"/statements/{statement}")
    except Failure:
        return None
    if row.get("status") != "failed" or not row.get("sentence"):
        return None
    return Failure(f"The statement failed before its last row. {row['sentence']}", status=Exit.REFUSED)


@contextmanager
def _cancelled_when_stopped(portal: Portal, statement: str) -> Iterator[None]:
    """Nobody reads on: the server need not either."""
    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError):
        if statement:
            with suppress(Failure, KeyboardInterrupt):
                portal.post(f"/statements/{statement}/cancel", {})
        raise


def _check_whole(answer: httpx2.Response, count: int) -> None:
    # Without chunks or a length an end is only a closed connection: it could be the middle.
    headers = answer.headers
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    if not chunked and "content-length" not in headers:
        raise Failure("The answer has no marked end, so that a part would look whole.", status=Exit.FAILED)
    length = headers.get("content-length")
    if length is not None and "content-encoding" not in headers and int(length) != count:
        raise Failure("The answer broke off.", status=Exit.UNREACHABLE)


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file beside its place that is moved there at the end, or removed."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        number, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.", suffix=".part")
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}.", status=Exit.USAGE) from error
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(output)
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}.", status=Exit.FAILED) from error
    except KeyboardInterrupt:
        sentence = f"Stopped. Nothing was written to {output}."
        raise Failure(sentence, status=Exit.INTERRUPTED) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def statement(sql: str | None) -> str:
    if sql is None and sys.stdin.isatty():
        show.say("The statement, then Ctrl-D:", style="dim")
    text = sys.stdin.read() if sql is None else sql
    if not text.strip():
        raise Failure("There is no statement.", status=Exit.USAGE)
    return text


@contextmanager
def _at_another_level(database: str) -> Iterator[None]:
    """What to ask for where this access does not let rows be taken along."""
    try:
        yield
    except Refused as refused:
        if refused.answered == 403 and not refused.hint:
            refused.hint = f"Ask for it: `jit request {database} --level export`."
        raise


@contextmanager
def pointing(sql: str) -> Iterator[None]:
    """Show the line of the statement that an error is about, with a mark under the place."""
    try:
        yield
    except Refused as refused:
        position = (refused.problem or {}).get("position")
        if isinstance(position, int) and 0 <= position <= len(sql):
            start = sql.rfind("\n", 0, position) + 1
            text = words.plain(sql[start:].partition("\n")[0].replace("\t", " "))
            refused.place = f"{text}\n{' ' * (position - start)}^"
        raise


def _name(column: Any) -> str:
    return words.line(column["name"] if isinstance(column, dict) else column)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("NULL", style="dim italic")
    return Text(words.cell(value))


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
