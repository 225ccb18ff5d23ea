"""`manage.py audit_verify`: is the record whole?"""

import argparse
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from apps.audit.verification import verify
from apps.core.errors import NotFound


class Command(BaseCommand):
    help = "Follow the record from its first entry and say what is wrong with it. Exit status 1 if anything is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from-index", type=_index, default=0, help="Begin here; what is before it is trusted.")
        parser.add_argument(
            "--checkpoint", type=_checkpoint, metavar="SIZE:HASH", help="A checkpoint that the record must contain."
        )

        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Alias to read by."
        )

    def handle(
        self, *args: Any, from_index: int, checkpoint: tuple[int, str] | None, database: str, **options: Any
    ) -> None:
        try:
            result = verify(from_index=from_index, against=checkpoint, progress=self._progress, using=database)
        except NotFound as error:
            raise CommandError(error.sentence) from error
        self._clear()
        for problem in result.problems:
            self.stdout.write(problem)
        if result.erased:
            self.stdout.write(
                f"{result.erased} texts about people are no longer kept; the entries still commit to them."
            )
        if not result.ok:
            raise CommandError(f"The record is NOT whole: {result.problem_count} problems in {result.count} entries.")
        self.stdout.write(f"The record is whole: {result.count} entries verified, head {result.size}:{result.hash}.")

    def _progress(self, done: int, size: int) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r{done} of {size} entries", ending="")

    def _clear(self) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\x1b[K", ending="")


def _index(given: str) -> int:
    if re.fullmatch(r"\d{1,18}", given) is None:
        raise argparse.ArgumentTypeError("give the index of an entry, 0 or more")
    return int(given)


def _checkpoint(given: str) -> tuple[int, str]:
    found = re.fullmatch(r"(\d{1,18}):([0-9a-fA-F]{64})", given)
    if found is None:
        raise argparse.ArgumentTypeError("give SIZE:HASH, such as 17:9f86d081… with 64 hex digits")
    return int(found[1]), found[2].lower()
