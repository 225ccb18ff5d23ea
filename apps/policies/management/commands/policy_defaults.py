"""`manage.py policy_defaults`: the sensible rules that the demo runs with, for a portal that has none."""

from typing import Any

from django.core.management.base import BaseCommand

from apps.policies.services import current_rules, ensure_default_rules


class Command(BaseCommand):
    help = "Writes the default rules, unless there are rules already; edit them in the admin afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_default_rules()
        version, rules = current_rules()
        self.stdout.write(f"Policy version {version}, {len(rules)} rules:")
        for rule in rules:
            self.stdout.write(f"  {rule.name}")
