"""`manage.py report NAME --from 2026-11-01 --to 2026-12-01 > file.csv`"""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.actors import OPERATOR
from apps.core.errors import PortalError
from apps.reports import services as reports
from apps.reports.describing import described


class Command(BaseCommand):
    help = "Write a report as CSV to standard output; what it was folded from goes to standard error. It is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", default="", help="Which one; `--columns` tells what there is.")
        parser.add_argument("--from", dest="since", default="", help="A day (UTC) or RFC 3339; 30 days before --to.")
        parser.add_argument("--to", dest="until", default="", help="Exclusive: a day (UTC) or RFC 3339; now.")
        parser.add_argument("--person", default="", help="A user name, a name or an id.")
        parser.add_argument("--database", default="", help="A short name or an id.")
        parser.add_argument("--size", type=int, default=None, help="Fold only so many entries of the record.")
        parser.add_argument("--columns", action="store_true", help="Describe all reports in Markdown instead.")

    def handle(self, *args: Any, name: str, columns: bool, since: str, until: str, **options: Any) -> None:
        if columns:
            self.stdout.write(described(), ending="")
            return
        try:
            wanted = reports.Wanted(
                since=reports.moment(since, field="from"),
                until=reports.moment(until, field="to"),
                **{key: options[key] for key in ("person", "database", "size")},
            )
            taken = reports.take(actor=OPERATOR, name=name, wanted=wanted, as_what="command")
        except PortalError as error:
            raise CommandError(error.sentence) from error
        try:
            for piece in reports.in_pieces(taken.csv()):
                self.stdout.write(piece.decode(), ending="")
        except BrokenPipeError:  # `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        self.stderr.write(
            f"{taken.row_count} rows of {taken.entry_count} entries; SHA-256 {taken.sha256}; "
            f"record {taken.checkpoint.size}:{taken.checkpoint.hash}"
        )
