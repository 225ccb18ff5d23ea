#!/usr/bin/env python
"""Django's command line for the portal."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jitportal.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo makes the environment that settings.py reads, so it comes before them.
        from jitportal.demo.environment import Environment

        Environment()
    execute_from_command_line(sys.argv)
