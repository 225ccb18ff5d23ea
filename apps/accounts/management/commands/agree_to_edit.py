from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import dual_control
from apps.accounts.actors import OPERATOR
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Show the edits that wait for a second person, or be that second person where there is nobody else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("edit", nargs="*", help="ids; without any, what waits is listed")
        parser.add_argument("--all", action="store_true", help="agree to everything that waits, longest first")
        parser.add_argument("--reason", default="", help="stands in the record")

    def handle(self, *, edit: list[str], all: bool, reason: str, **_: Any) -> None:  # noqa: A002 - the option's name
        wanted = [row.pk for row in dual_control.waiting()] if all else edit
        if not wanted:
            self._list()
            return
        if not reason.strip():
            raise CommandError("Say why no second person agrees in the portal: --reason …")
        for edit_id in wanted:
            try:
                made = dual_control.agree(actor=OPERATOR, edit_id=edit_id, comment=reason)
            except PortalError as refusal:
                raise CommandError(f"{edit_id}: {refusal.sentence}") from refusal
            self.stdout.write(f"{made.about}: made. The record says that the operator agreed.")

    def _list(self) -> None:
        rows = list(dual_control.waiting())
        for row in rows:
            self.stdout.write(f"{row.pk}  {row.about}, put by {row.proposer.username} {row.proposed_at:%Y-%m-%d}")
            for line in row.lines:
                self.stdout.write(f"    {dual_control.Line(*line)}")
        if not rows:
            self.stdout.write("Nothing waits for a second person.")
