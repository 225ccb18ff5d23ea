"""A rule as a form: conditions to tick, and a route of one step per line."""

import re
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from apps.accounts.adminsite import VerbForm
from apps.catalog.models import Database, DataClass
from apps.policies.models import LEVEL_CHOICES, Connection, Rule
from apps.policies.rules import step_text

_STEP: Final = re.compile(r"(?:(?P<needed>\d{1,3})\s+)?(?P<kind>peer|owner|data_owner|group:(?P<group>.+))")


class StepsField(forms.CharField):
    """A rule's steps as text: `peer`, `owner`, `data_owner`, `group:security`, `2 owner`, each on a line of its own."""

    widget = forms.Textarea(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(step_text, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        return [self._step(line) for line in lines if line]

    def _step(self, line: str) -> dict[str, Any]:
        found = _STEP.fullmatch(line)
        if found is None:
            raise ValidationError(
                f"“{line}” is no step: write peer, owner, data_owner, group:NAME, or 2 owner for two people."
            )
        group = found["group"]
        kind = "group" if group else found["kind"]
        return {"kind": kind, "group": group.strip() if group else None, "needed": int(found["needed"] or 1)}


def _any_of(choices: Any) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        choices=choices, required=False, widget=forms.CheckboxSelectMultiple, help_text="None ticked: does not matter."
    )


def _whether(label: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        choices=[("", "does not matter"), ("True", "yes"), ("False", "no")],
        coerce=lambda value: value == "True",
        empty_value=None,
        required=False,
        label=label,
    )


class RuleForm(VerbForm):
    """Every condition that is set has to hold; the first rule that matches decides."""

    position = forms.IntegerField(
        min_value=1, required=False, help_text="Rules are tried in this order. Empty: at the end."
    )
    environments = _any_of(Database.Environment.choices)
    levels = _any_of(LEVEL_CHOICES)
    connections = _any_of(Connection.choices)
    classified = _whether("A table with classified columns is asked for")
    unmask = _whether("Columns are to be unmasked")
    unmask_classes = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Data classes to be unmasked",
        help_text="None ticked: does not matter. A rule that denies or asks people matches when one of them is among "
        "the columns to be unmasked, a rule that approves when no other is.",
    )
    whole_schema = _whether("A whole schema is asked for")
    steps = StepsField(
        required=False,
        help_text="One step per line, in order: peer, owner, data_owner, group:NAME, 2 owner for two. Nobody counts "
        "twice. Where columns are to be unmasked a data owner is asked at the end, whatever stands here.",
    )

    class Meta:
        model = Rule
        fields = [
            "name", "is_active", "environments", "levels", "connections", "classified", "unmask",
            "unmask_classes", "whole_schema", "longer_than_minutes", "at_most_minutes", "outcome",
            "steps", "max_minutes",
        ]  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.fields["position"].initial = self.instance.position
        # One that is gone stays in sight: without it the rule would quietly say something else.
        names = {*DataClass.objects.values_list("name", flat=True), *self.instance.unmask_classes}
        self.fields["unmask_classes"].choices = [(name, name) for name in sorted(names)]  # type: ignore[attr-defined]

    def validate_unique(self) -> None:
        """The verb makes room for a position that is taken, and refuses a name that is."""
