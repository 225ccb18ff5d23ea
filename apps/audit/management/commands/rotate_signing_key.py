"""manage.py rotate_signing_key FILE: from now on the key in FILE signs; the old one stays good for old sizes."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.audit.notes import read_signer
from apps.audit.signing import add_key
from apps.core.errors import Invalid, PortalError


class Command(BaseCommand):
    help = "Let a key made by new_signing_key sign from now on; then point the workers at it and start them again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            key = read_signer(file.read_text(encoding="ascii")).key
            if key.name != settings.AUDIT_ORIGIN:
                raise Invalid(f"The key is of {key.name!a}, and this record is {settings.AUDIT_ORIGIN!a}.")
            added = add_key(key, actor="operator")
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        except (OSError, UnicodeError) as error:
            raise CommandError(f"{file} cannot be read ({error}).") from error
        self.stderr.write(f"It signs from {added.from_size} entries on, once workers have it. Auditors pin this too:")
        self.stdout.write(str(key))
