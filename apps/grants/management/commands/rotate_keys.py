"""manage.py rotate_keys: after a new key was put in front of an old one, encrypt everything anew with the new one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.actors import OPERATOR
from apps.core.errors import PortalError
from apps.grants.rotating import rotate_keys


class Command(BaseCommand):
    help = "Seal managers' passwords and encrypt those of live grants with the newest keys, so that old keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            servers, grants = rotate_keys(actor=OPERATOR)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(
            f"Done: managers' passwords on {servers} servers and those of {grants} grants open with the newest keys. "
            "Take the old keys out of every process's environment now."
        )
