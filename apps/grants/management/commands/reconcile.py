"""manage.py reconcile [eu-1]: compare what is on a server, or on each, with what should be there."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.accounts.actors import OPERATOR
from apps.catalog.commands import servers_called
from apps.catalog.models import Server
from apps.catalog.services import want_reconcile


class Command(BaseCommand):
    help = "Ask the workers to compare a server with what should be there; every one of them unless one is named."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="what the server is called in the portal")

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        for server in servers_called(name or None, among=Server.objects.filter(retired_at=None)):
            want_reconcile(actor=OPERATOR, server_id=server.pk)
            self.stdout.write(f"{server}: a worker compares it; what it finds is on its page and in the record.")
