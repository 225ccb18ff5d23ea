"""`manage.py demo_seed`: a step of `manage.py demo`, in a process that may see the portal's database."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.core.errors import PortalError
from jitportal.demo.seed import SeedError, seed
from jitportal.demo.supervisor import target_cluster


class Command(BaseCommand):
    help = "Tell the demo's portal about its people, target server, classification and rules (a step of `demo`)."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seed(target_cluster(settings.DATA_DIR), self.stdout.write)
        except (PortalError, SeedError) as error:
            raise CommandError(str(error)) from error
