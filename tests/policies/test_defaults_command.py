import io

import pytest
from django.core.management import call_command

from apps.policies.models import PolicyVersion, Rule

pytestmark = pytest.mark.django_db(transaction=True)


def test_policy_defaults_writes_the_rules_once_when_called_twice() -> None:
    for _ in range(2):
        call_command("policy_defaults", stdout=io.StringIO())
    assert Rule.objects.count() == 7
    assert PolicyVersion.objects.count() == 1
