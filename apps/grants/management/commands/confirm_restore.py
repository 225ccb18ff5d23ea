"""manage.py confirm_restore --reason "…": let a portal go on whose database was restored from an earlier copy."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.actors import OPERATOR
from apps.core.errors import PortalError
from apps.grants.continuity import confirm_restored


class Command(BaseCommand):
    help = "Confirm that the portal may go on with the record that it has; until then it does nothing on any server."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="what happened; it stands in the record")

    def handle(self, *args: Any, reason: str, **options: Any) -> None:
        try:
            found = confirm_restored(actor=OPERATOR, reason=reason)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(
            f"Confirmed. The record here has {found.size_here} entries; servers remember {found.size_there}. "
            "Workers compare every server now, and then go on."
        )
