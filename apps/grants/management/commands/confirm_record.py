"""manage.py confirm_record --anchor file:/… --person dana --reason "…": the first of two who let signing go on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.errors import PortalError
from apps.grants.record_break import propose


class Command(BaseCommand):
    help = "Propose to go on with a record that is not the one an anchor has seen; another person confirms it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anchor", required=True, help="its address, as the break names it")
        parser.add_argument("--person", required=True, help="user name of who answers for it: DBA or security")
        parser.add_argument("--reason", required=True, help="what happened; it stands in the record")

    def handle(self, *args: Any, anchor: str, person: str, reason: str, **options: Any) -> None:
        try:
            found = propose(anchor=anchor, username=person, reason=reason)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(
            f"Proposed. The anchor has seen {found.size_there} entries that end in {found.hash_there}; here are "
            f"{found.size_here} that end in {found.hash_here}. Another database administrator or security confirms it "
            "in the portal; then a worker signs again."
        )
