"""manage.py erase_person USERNAME --reason "…" --yes: take away who somebody was; what they did stays."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.errors import PortalError
from apps.erasing.services import erase_person, has_owner


class Command(BaseCommand):
    help = (
        "Erase somebody who has left: their name, addresses, reasons, comments and statements, here and beside the "
        "record, whose chain stays whole. There is no way back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="why, without their name: it stands in the record for good")
        parser.add_argument("--yes", action="store_true", help="do it; without this it is only counted")

    def handle(self, *args: Any, username: str, reason: str, yes: bool, **options: Any) -> None:
        if not has_owner():
            raise CommandError(
                "Only the owner of the portal's tables may do this: set DATABASE_OWNER_URL, as for `migrate`."
            )
        try:
            done = erase_person(username=username, reason=reason, confirmed=yes)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        counted = f"{done.texts} texts beside {done.entries} entries of the record"
        if yes:
            self.stdout.write(f"Erased: {counted}, and what the pages show. From now on they are {done.name}.")
        else:
            self.stdout.write(f"Nothing is done yet. It would erase {counted}, and what the pages show: add --yes.")
