"""What every report is and what its columns mean, as a part of docs/compliance.md: written from the code."""

from collections.abc import Iterator

from apps.reports.base import ENTRIES, PROBLEMS
from apps.reports.listing import REPORTS
from apps.reports.services import parameters


def described() -> str:
    """Markdown, ending in one line break."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    last = f"`{PROBLEMS.name}` ({PROBLEMS.meaning}) and `{ENTRIES.name}` ({ENTRIES.meaning})"
    yield f"Every report ends in {last}."
    for report in REPORTS.values():
        limits = ", ".join(f"`{name}`" for name in parameters(report))
        yield from ["", f"### {report.name}", "", f"**{report.answers}** {report.counts} Parameters: {limits}.", ""]
        yield from ["| column | meaning |", "|---|---|"]
        yield from [f"| `{column.name}` | {column.meaning} |" for column in report.own_columns]
