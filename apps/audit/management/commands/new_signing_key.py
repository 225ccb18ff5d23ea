"""manage.py new_signing_key FILE: a key that signs checkpoints; auditors are given what this prints."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.audit.notes import new_signer
from apps.core.errors import PortalError


class Command(BaseCommand):
    help = "Make a signing key in a new file that only its owner reads; its verifier key is the last line."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            signer = new_signer(settings.AUDIT_ORIGIN)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except PortalError as refusal:
            raise CommandError(refusal.sentence) from refusal
        except OSError as error:
            raise CommandError(f"The key cannot be written to {file} ({error.strerror}): name a new file.") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as written:
            written.write(f"{signer}\n")
        self.stderr.write(f"The key is in {file}; only workers may read it. Auditors pin this line:")
        self.stdout.write(str(signer.key))
