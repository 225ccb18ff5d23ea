"""The policy as a database administrator edits it. Every change makes a version and an entry in the record."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts.adminsite import PortalModelAdmin, ReadOnlyAdmin, person, portal_admin
from apps.policies import services
from apps.policies.forms import RuleForm
from apps.policies.models import PolicyVersion, Rule
from apps.policies.risk import span
from apps.policies.rules import step_text


@admin.register(Rule, site=portal_admin)
class RuleAdmin(PortalModelAdmin):
    """Rules in the order in which they are tried."""

    form = RuleForm
    may_add = may_change = True
    actions = ["remove"]
    list_display = ["position", "name", "when", "then", "is_active"]
    list_display_links = ["name"]
    ordering = ["position"]
    fieldsets = [
        (None, {"fields": ["name", "position", "is_active"]}),
        (
            "When all of this holds",
            {
                "fields": [
                    "environments",
                    "levels",
                    "connections",
                    "classified",
                    "unmask",
                    "unmask_classes",
                    "whole_schema",
                    "longer_than_minutes",
                    "at_most_minutes",
                ]
            },
        ),
        ("Then", {"fields": ["outcome", "steps", "max_minutes"]}),
    ]

    @admin.display(description="when")
    def when(self, rule: Rule) -> str:
        parts = [", ".join(values) for values in (rule.environments, rule.levels, rule.connections) if values]
        flags = {"classified columns": rule.classified, "unmasking": rule.unmask, "a whole schema": rule.whole_schema}
        parts += [f"{'with' if value else 'without'} {name}" for name, value in flags.items() if value is not None]
        if rule.unmask_classes:
            parts.append(f"unmasking {' or '.join(rule.unmask_classes)}")
        if rule.longer_than_minutes is not None:
            parts.append(f"longer than {span(rule.longer_than_minutes)}")
        if rule.at_most_minutes is not None:
            parts.append(f"at most {span(rule.at_most_minutes)}")
        return " · ".join(parts) or "always"

    @admin.display(description="then")
    def then(self, rule: Rule) -> str:
        cap = f", at most {span(rule.max_minutes)}" if rule.max_minutes is not None else ""
        route = f": {', then '.join(map(step_text, rule.steps))}" if rule.steps else ""
        return f"{rule.get_outcome_display()}{route}{cap}"

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in [*RuleForm.Meta.fields, "position"]}
        saved = services.save_rule(actor=person(request), rule_id=obj.pk if change else None, **fields)
        obj.pk = saved.pk

    @admin.action(description="Remove from the policy")
    def remove(self, request: HttpRequest, rules: QuerySet[Rule]) -> None:
        actor = person(request)
        self.call_verb(request, rules, lambda rule: services.remove_rule(actor=actor, rule_id=rule.pk), done="Removed")


@admin.register(PolicyVersion, site=portal_admin)
class PolicyVersionAdmin(ReadOnlyAdmin):
    """What the policy was at any time; requests cite the number."""

    list_display = ["number", "created_at", "author", "count"]
    fields = ("number", "created_at", "author", "in_full")
    readonly_fields = ("number", "created_at", "author", "in_full")

    @admin.display(description="rules")
    def count(self, version: PolicyVersion) -> int:
        return len(version.rules)

    @admin.display(description="rules")
    def in_full(self, version: PolicyVersion) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(version.rules, indent=2, ensure_ascii=False))
