"""What the person sees. Answers go to standard output, everything else to standard error; `--json` is for scripts."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.prompt import Confirm, Prompt
from rich.table import Table
from rich.text import Text

from jit import words
from jit.errors import Exit, Failure

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

_RISK = {"low": "green", "medium": "yellow", "high": "red", "critical": "bold red"}
_STATUS = {"active": "green", "approved": "green", "pending": "yellow", "queued": "yellow", "ending": "red"}


class _Mode:
    as_json = False


def choose_json(value: bool) -> bool:
    """For the option: whoever reads is a script."""
    _Mode.as_json = value
    return value


def is_json() -> bool:
    return _Mode.as_json


def interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and not _Mode.as_json


def data(value: Any) -> None:
    """The answer for a script: one JSON document."""
    sys.stdout.write(_document(value, indent=2 if sys.stdout.isatty() else None))


def _document(value: Any, indent: int | None = None) -> str:
    """In ASCII: the same to a script, and nothing in it moves a terminal. DEL is ASCII, too."""
    return json.dumps(value, indent=indent).replace("\x7f", r"\u007f") + "\n"


def say(text: str = "", style: str = "") -> None:
    """A remark beside the answer."""
    if not _Mode.as_json:
        err.print(Text(words.line(text), style=style))


def quote(text: str, style: str = "") -> None:
    """Lines of somebody else's, set in: none of them passes for a remark."""
    if not _Mode.as_json:
        for line in Text(words.plain(text), style=style).wrap(err, max(1, err.width - 2)):
            err.print(Text.assemble("  ", line))


def failure(failed: Failure) -> None:
    if _Mode.as_json:
        sys.stderr.write(_document(failed.to_json()))
        return
    err.print(Text.assemble(("✗ ", "red"), words.line(failed.sentence)))
    for one in (failed.problem or {}).get("errors", [])[1:]:
        err.print(Text(f"  {words.line(one.get('field', ''))}: {words.line(one.get('detail', ''))}"))
    if failed.place:
        quote(failed.place, style="dim")
    if failed.hint:
        err.print(Text(f"  {words.line(failed.hint)}", style="dim"))


def confirm(question: str, *, yes: bool) -> None:
    """Raises Failure unless the person agrees; without anybody to ask, `--yes` has to have said so."""
    if yes:
        return
    if not interactive():
        raise Failure("Nobody is here to confirm this.", status=Exit.USAGE, hint="Say --yes if you mean it.")
    if not Confirm.ask(Text(words.line(question)), console=err, default=False):
        raise Failure("Nothing was done.", status=Exit.FAILED)


def ask(question: str, *, option: str, choices: Sequence[str] = (), default: str | None = None, hint: str = "") -> str:
    """A missing value, from the person or not at all. Raises Failure."""
    if not interactive():
        raise Failure(f"Missing: {question.rstrip('?').lower()}.", status=Exit.USAGE, hint=f"Say {option}.")
    asked = Text(f"{question} ({hint})" if hint else question)
    while True:
        said = Prompt.ask(
            asked,
            console=err,
            choices=[words.line(choice) for choice in choices] or None,
            default=default or "",
            show_default=bool(default),
        )
        if said.strip():
            return said.strip()


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Rows for reading. A cell is text, or Text with a style."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for head in heads:
        shown.add_column(Text(words.line(head)), overflow="fold")
    count = 0
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(words.line(cell)) for cell in row))
        count += 1
    if count:
        out.print(shown)
    else:
        say(empty, style="dim")


def status(word: str) -> Text:
    return Text(words.line(word), style=_STATUS.get(word, "dim"))


def risk(level: str) -> Text:
    return Text(words.line(level), style=_RISK.get(level, ""))


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """A name and a value to a line, or to several where it is Text; empty values are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        text = value if isinstance(value, Text) else Text(words.cell("" if value is None else value))
        if text:
            grid.add_row(name, text)
    out.print(grid)


def preview(answer: dict[str, Any]) -> None:
    """Risk, route and what is masked, before anything is sent."""
    _risk_and_route(answer["risk"], answer["route"], outcome=answer["outcome"])
    for reason in answer["reasons"]:
        err.print(Text(f"          {words.line(reason)}", style="dim"))
    if answer.get("masked"):
        names = [words.line(column["name"]) for column in answer["masked"]]
        err.print(Text.assemble(("  Masked  ", "dim"), few(names)))
    if answer.get("unmasked"):
        names = [words.line(column["name"]) for column in answer["unmasked"]]
        err.print(Text.assemble(("Unmasked  ", "dim"), (few(names), "yellow")))


def _risk_and_route(found: dict[str, Any], route: list[dict[str, Any]], *, outcome: str) -> None:
    err.print(Text.assemble(("    Risk  ", "dim"), risk(found["level"])))
    for factor in found["factors"]:
        err.print(Text(f"          {words.line(factor['why'])}", style="dim"))
    if outcome == "approve":
        said = Text("approved at once by a policy", style="green")
    elif outcome == "deny":
        said = Text("would be denied", style="red")
    else:
        said = Text(", then ".join(_step(row) for row in route) or "people")
    err.print(Text.assemble(("   Route  ", "dim"), said))


def _step(row: dict[str, Any]) -> str:
    who = words.step(row)
    return f"{who} ({row['eligible']} can)" if row["eligible"] else f"{who} (nobody can, as things are)"


def few(names: Sequence[str], most: int = 8) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def request(row: dict[str, Any]) -> None:
    """One request as whoever decides has to see it."""
    rows: list[tuple[str, Any]] = [
        ("Request", row["id"]),
        ("Status", status(row["status"])),
        ("Who", row["requester"]),
        ("Database", row["database"]),
        ("Level", row["level"] + (", credential for native clients" if row["connection"] == "direct" else "")),
        ("Tables", _lines(row["tables"])),
        ("Unmasked", _lines(row["unmask"], style="yellow")),
        ("Rows", _lines(one["text"] for one in row.get("filters") or ())),
        ("How long", words.span(row["minutes"] * 60) + (" more" if row["extends"] else "")),
        ("Starts", words.clock(row["starts_at"]) if row["starts_at"] else ""),
        ("Reason", row["reason"]),
        ("Ticket", row["ticket"]),
        ("Statement", Text(words.plain(row.get("statement") or ""))),
        ("Rows it may touch", "" if row.get("expected_rows") is None else f"exactly {row['expected_rows']}"),
        ("Risk", risk(row["risk"]["level"])),
        ("", _lines(factor["why"] for factor in row["risk"]["factors"])),
        ("Route", _lines(_progress(step) for step in row["route"]) or "by policy"),
        ("Closed", row["closed_reason"]),
        ("Access", f"{row['grant']['id']} ({row['grant']['status']})" if row["grant"] else ""),
    ]
    facts(rows)


def _lines(parts: Iterable[Any], style: str = "") -> Text:
    """One line to each of them."""
    return Text("\n".join(map(words.line, parts)), style=style)


def _progress(row: dict[str, Any]) -> str:
    by = ", ".join(words.line(name) for name in row["approved_by"])
    if len(row["approved_by"]) >= row["needed"]:
        return f"✓ {words.step(row)}: {by}"
    people = ", ".join(words.line(name) for name in row.get("people", ()))
    return f"· {words.step(row)}" + (f": {by}, and" if by else ":") + f" {people or str(row['eligible']) + ' can'}"


def grant(row: dict[str, Any]) -> None:
    facts(
        [
            ("Access", row["id"]),
            ("Status", status(row["status"])),
            ("Who", row["holder"]),
            ("Database", row["database"]),
            ("Connection", row["connection"]),
            ("Login", row["login"]),
            ("Until", _until(row)),
            ("Ended", words.clock(row["ended_at"]) if row["ended_at"] else ""),
            ("Why", row["end_reason"]),
            ("Problem", row["problem"]),
            ("Request", row["request"]),
        ]
    )


def _until(row: dict[str, Any]) -> str:
    if not row["expires_at"]:
        return ""
    left = f", {words.span(words.seconds_left(row['expires_at']))} left" if row["status"] == "active" else ""
    return words.clock(row["expires_at"]) + left
