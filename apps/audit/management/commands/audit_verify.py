"""`manage.py audit_verify`: is the record whole?"""

import argparse
import os
import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from apps.audit.signing import Memories, memories
from apps.audit.verification import verify
from apps.core.errors import NotFound


class Command(BaseCommand):
    help = (
        "Follow the record from its first entry, compare it with what was signed of it before, and say what is wrong "
        "with it. Exit status 1 if anything is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from-index", type=_index, default=0, help="Begin here; what is before it is trusted.")
        parser.add_argument(
            "--checkpoint", type=_checkpoint, metavar="SIZE:HASH", help="A checkpoint that the record must contain."
        )

        parser.add_argument(
            "--processes", type=_number, default=_cores(), help="How many read at the same time; one for each core."
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Alias to read by."
        )

    def handle(
        self,
        *args: Any,
        from_index: int,
        checkpoint: tuple[int, str] | None,
        processes: int,
        database: str,
        **options: Any,
    ) -> None:
        try:
            result = verify(
                from_index=from_index,
                against=checkpoint,
                progress=self._progress,
                using=database,
                processes=processes,
            )
        except NotFound as error:
            raise CommandError(error.sentence) from error
        self._clear()
        for sentence in result.problems:
            self.stdout.write(sentence)
        remembered = self._remembered()
        for sentence in (*remembered.lost, *remembered.given_up, *remembered.silent):
            self.stdout.write(sentence)
        if not settings.ANCHORS:
            self.stdout.write("No anchor is set in this environment: only the portal's own checkpoints were asked.")
        if result.erased:
            self.stdout.write(
                f"{result.erased} texts about people are no longer kept; the entries still commit to them."
            )
        if problems := result.problem_count + len(remembered.lost):
            raise CommandError(f"The record is NOT whole: {problems} problems in {result.count} entries.")
        for seen in remembered.here:
            self.stdout.write(f"It goes on from what was seen: {seen.size} entries by {seen.anchor}.")
        self.stdout.write(f"The record is whole: {result.count} entries verified, head {result.size}:{result.hash}.")

    def _remembered(self) -> Memories:
        try:
            return memories()
        except Exception as error:
            raise CommandError(f"The record could not be compared with what was signed of it: {error}") from error

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


def _number(given: str) -> int:
    if re.fullmatch(r"[1-9]\d{0,2}", given) is None:
        raise argparse.ArgumentTypeError("give a number of processes, 1 or more")
    return int(given)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checkpoint(given: str) -> tuple[int, str]:
    found = re.fullmatch(r"(\d{1,18}):([0-9a-fA-F]{64})", given)
    if found is None:
        raise argparse.ArgumentTypeError("give SIZE:HASH, such as 17:9f86d081… with 64 hex digits")
    return int(found[1]), found[2].lower()
