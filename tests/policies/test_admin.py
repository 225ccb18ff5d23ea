import pytest
from django.test import Client
from django.urls import reverse

from apps.policies.models import PolicyVersion, Rule
from apps.policies.services import current_rules, ensure_default_rules
from tests.factories import Cast, cast
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

ADD = reverse("admin:policies_rule_add")
LIST = reverse("admin:policies_rule_changelist")
RULE = {
    "name": "production at night",
    "is_active": "on",
    "environments": ["production"],
    "levels": ["query", "export"],
    "classified": "False",
    "unmask_classes": ["card", "email"],
    "outcome": "route",
    "steps": "peer\n2 owner\n\ndata_owner\ngroup:security",
    "max_minutes": "30",
    "position": "1",
}


@pytest.fixture
def people() -> Cast:
    made = cast()
    ensure_default_rules(actor="operator")
    return made


@pytest.fixture
def dana(people: Cast) -> Client:
    return signed_in(people.dana)


@pytest.mark.usefixtures("seconded")
def test_rule_is_added_by_the_verb_when_the_form_is_sent(people: Cast, dana: Client) -> None:
    answer = dana.post(ADD, RULE)

    assert answer.status_code == 302
    version, rules = current_rules()
    assert version == 2
    assert PolicyVersion.objects.get(number=2).author == people.dana.audit_id
    assert (rules[0].name, rules[0].classified, rules[0].unmask) == ("production at night", False, None)
    assert [(step.key, step.needed) for step in rules[0].steps] == [
        ("peer", 1),
        ("owner", 2),
        ("data_owner", 1),
        ("group:security", 1),
    ]
    assert rules[0].unmask_classes == {"card", "email"}


@pytest.mark.usefixtures("seconded")
def test_rule_shows_what_it_says_when_opened_and_saved_again(dana: Client) -> None:
    dana.post(ADD, RULE)
    rule = Rule.objects.get(position=1)
    page = reverse("admin:policies_rule_change", args=[rule.pk])

    form = dana.get(page).context["adminform"].form
    assert form["steps"].value() == "peer\n2 owner\ndata_owner\ngroup:security" or form["steps"].value() == rule.steps
    assert b"2 owner" in dana.get(page).content
    before = current_rules()[1]
    assert dana.post(page, RULE).status_code == 302
    assert current_rules() == (3, before)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": "everybody"}, "steps"),
        ({"steps": ""}, "steps"),
        ({"steps": "group:no-such-group"}, "steps"),
        ({"outcome": "approve"}, "steps"),
        ({"name": ""}, "name"),
        ({"name": "production: read"}, "name"),
        ({"max_minutes": "0"}, "max_minutes"),
        ({"environments": ["mars"]}, "environments"),
        ({"unmask_classes": ["mars"]}, "unmask_classes"),
        ({"position": "0"}, "position"),
    ],
)
def test_rule_is_refused_beside_the_field_when_it_cannot_be_meant(
    dana: Client, change: dict[str, str], field: str
) -> None:
    answer = dana.post(ADD, {**RULE, **change})

    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert current_rules()[0] == 1


def test_rule_list_says_what_rules_do_when_looked_at(dana: Client) -> None:
    page = dana.get(LIST).content.decode()

    assert "production · change, export" in page
    assert "ask people: peer, then owner, then group:security, at most 8 hours" in page
    assert "longer than 8 hours" in page
    assert "unmasking card" in page


@pytest.mark.usefixtures("seconded")
def test_rule_is_removed_when_the_action_is_chosen(dana: Client) -> None:
    rule = Rule.objects.get(position=1)

    dana.post(LIST, {"action": "remove", "_selected_action": [rule.pk]})

    assert current_rules()[0] == 2
    assert not Rule.objects.filter(pk=rule.pk).exists()


def test_versions_can_be_read_and_not_changed_when_looked_at(dana: Client) -> None:
    page = reverse("admin:policies_policyversion_change", args=[1])

    assert "no longer than a working day" in dana.get(page).content.decode()
    assert dana.post(page, {"number": "7"}).status_code == 403


@pytest.mark.parametrize("who", ["alice", "sam", "audrey"])
def test_rules_are_closed_when_the_person_is_no_administrator(people: Cast, who: str) -> None:
    client = signed_in(getattr(people, who))

    assert client.get(LIST).status_code in {302, 403}
    assert client.post(ADD, RULE).status_code in {302, 403}
    assert current_rules()[0] == 1
