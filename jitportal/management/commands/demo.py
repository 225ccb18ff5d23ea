"""`manage.py demo`: the whole portal on this machine."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jitportal.demo.supervisor import Demo, DemoError
from jitportal.demo.terminal import Terminal
from jitportal.embedded_install import EmbeddedError


class Command(BaseCommand):
    help = "Run the portal, a sign-on, and two PostgreSQL servers on loopback. Local state is in JITPORTAL_DATA."
    requires_system_checks = ()  # its processes check themselves, when their database is there

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Where the portal answers on 127.0.0.1.")

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        try:
            Demo(settings.DATA_DIR, port, Terminal()).run()
        except (DemoError, EmbeddedError) as error:
            raise CommandError(str(error)) from error
