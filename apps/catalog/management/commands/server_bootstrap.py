"""manage.py server_bootstrap eu-1 > bootstrap.sql: for the server's administrator, to be run there with psql -f."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.actors import OPERATOR
from apps.catalog import services
from apps.catalog.commands import servers_called
from apps.catalog.models import Server
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Print the SQL that prepares a registered server; the first time, a password is made and sealed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the server is called in the portal")
        parser.add_argument(
            "--new-password",
            action="store_true",
            help="make another password; until the SQL has run, the portal cannot work on the server",
        )

    def handle(self, *args: Any, name: str, new_password: bool, **options: Any) -> None:
        server = servers_called(name, among=Server.objects.all())[0]
        make = services.new_manager_secret if new_password else services.make_bootstrap
        try:
            self.stdout.write(make(actor=OPERATOR, server_id=server.pk), ending="")
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
