"""manage.py rotate_manager_password eu-1: another password for the portal's own login on a server, or on each."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.actors import OPERATOR
from apps.catalog.commands import servers_called
from apps.catalog.models import Server
from apps.catalog.rotating import rotate_manager_password
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Give the portal's manager a new password on a server, or on every one; run it where a worker runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="what the server is called in the portal; all of them without it")

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        servers = Server.objects.filter(retired_at=None).exclude(manager_secret=None)
        chosen = servers_called(name or None, among=servers, that=" with a manager's password")
        left = [one for one in chosen if not self._rotate(one)]
        if left:
            raise CommandError(f"Not done on {', '.join(map(str, left))}: run this again when they answer.")

    def _rotate(self, server: Server) -> bool:
        try:
            rotate_manager_password(actor=OPERATOR, server_id=server.pk)
        except PortalError as refusal:
            self.stderr.write(f"{server}: {refusal.sentence}")
            return False
        self.stdout.write(f"{server}: the manager has a new password, and the server lets it in.")
        return True
