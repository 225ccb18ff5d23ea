from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import services
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Make an API token with all scopes for somebody; it is the last line, and shown only here."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--days", type=int, default=30, help="until it expires (default 30, at most 365)")

    def handle(self, *, username: str, days: int, **_: Any) -> None:
        try:
            token, plaintext = services.create_token_for(username=username, days=days)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stderr.write(f"A token for {username}, until {token.expires_at:%Y-%m-%d %H:%M} UTC:")
        self.stdout.write(plaintext)
