from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts import services
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Make or renew a local administrator for the day single sign-on is down; the password is the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="stands in the record")
        parser.add_argument("--hours", type=int, default=8, help="how long it works (default 8, at most 72)")

    def handle(self, *, username: str, reason: str, hours: int, **_: Any) -> None:
        try:
            user, password = services.create_emergency_admin(username=username, reason=reason, hours=hours)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stderr.write(
            f"{user.username} may sign in on /accounts/emergency/ until {user.emergency_until:%Y-%m-%d %H:%M} UTC. "
            "The record says so, and the password is shown only here:"
        )
        self.stdout.write(password)
