"""CSV that a spreadsheet will not run: field notes W5, after CVE-2021-41270."""

import csv
from collections.abc import Iterable, Iterator

_RISKY = frozenset("=+-@\t\r\n\0＝＋－＠")


class _Echo:
    """A file that hands back what is written to it, so that rows can be streamed."""

    def write(self, value: str) -> str:
        return value


def cell(value: object) -> str:
    """Text for one cell; a value that a spreadsheet could read as a formula gets a leading apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in _RISKY else text


def plain(text: str) -> str:
    """What cell() was given, as far as can be told: an apostrophe that it would not have put there stays."""
    return text[1:] if text.startswith("'") and text[1:2] in _RISKY else text


def stream(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Lines of a CSV file, one by one, CRLF-ended as RFC 4180 has it."""
    writer = csv.writer(_Echo())
    yield writer.writerow([cell(name) for name in header])
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
