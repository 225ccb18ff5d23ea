"""Run a clock in the foreground. It needs no key; run as many as you like."""

import gc
import signal
from typing import Any

from django.core.management.base import BaseCommand

from apps.grants.clock import Clock


class Command(BaseCommand):
    help = "Look for what is due and ask workers to do it, until told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        clock = Clock()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: clock.stop())
        gc.freeze()  # what is imported is there to stay: it is not looked through again and again
        clock.run()
