"""What widens access takes two people, and whoever put it brings security into what they ask and approve."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection

from apps.accounts import dual_control
from apps.accounts import services as accounts
from apps.accounts.actors import OPERATOR
from apps.accounts.dual_control import Waits, agree, decline, waiting, waiting_for, widened_lately, withdraw
from apps.accounts.models import ProposedEdit, User
from apps.catalog import services as catalog
from apps.catalog.models import Classification, Column, DataClass, Table
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.policies.models import PolicyVersion, Rule
from apps.policies.services import remove_rule, save_rule
from tests.factories import Cast, cast
from tests.support.people import Told, listening
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

STAGING_YES: dict[str, Any] = {"name": "staging", "environments": ["staging"], "outcome": "approve"}


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def told(people: Cast) -> Told:
    return listening()


def another_dba(people: Cast) -> User:
    people.carol.groups.add(Group.objects.get(profile__duty="dba"))
    return User.objects.get(pk=people.carol.pk)


def put(verb: Any, **given: Any) -> ProposedEdit:
    with pytest.raises(Waits) as waits:
        verb(**given)
    return waits.value.edit


def put_rule(people: Cast) -> ProposedEdit:
    return put(save_rule, actor=people.dana, rule_id=None, **STAGING_YES)


def email(people: Cast) -> Column:
    table = Table.objects.get(database=people.shop, schema="sales", name="customers")
    return Column.objects.get(table=table, name="email")


def test_save_rule_changes_nothing_until_a_second_person_agrees(people: Cast, told: Told) -> None:
    edit = put_rule(people)

    assert not Rule.objects.exists()
    assert not PolicyVersion.objects.exists()
    (entry,) = told("edit.proposed")
    assert (entry.actor, entry.facts["verb"]) == (people.dana.audit_id, "rule.save")
    assert "outcome: nothing → approve" in entry.disclosed["difference"]

    agree(actor=people.sam, edit_id=edit.pk, comment="As discussed")

    assert Rule.objects.get().name == "staging"
    changed, agreed = told("policy.changed")[0], told("edit.agreed")[0]
    assert (changed.actor, agreed.actor) == (people.dana.audit_id, people.sam.audit_id)
    assert agreed.index == changed.index + 1
    assert agreed.disclosed["comment"] == "As discussed"


@pytest.mark.parametrize("who", ["dana", "alice", "audrey"])
def test_agree_when_they_are_no_second_person(people: Cast, told: Told, who: str) -> None:
    edit, somebody = put_rule(people), getattr(people, who)

    with pytest.raises((NotAllowed, NotFound)):
        agree(actor=somebody, edit_id=edit.pk)
    with pytest.raises((NotAllowed, NotFound)):
        decline(actor=somebody, edit_id=edit.pk, comment="No")

    assert not Rule.objects.exists()
    assert ProposedEdit.objects.get().status == "waiting"
    assert len(told("edit.refused")) == (2 if who == "dana" else 0)  # to the others there is no such edit


def test_agree_when_the_second_person_was_deactivated(people: Cast) -> None:
    edit = put_rule(people)
    accounts.deactivate(actor=OPERATOR, user=people.sam, reason="left")

    with pytest.raises((NotAllowed, NotFound)):
        agree(actor=User.objects.get(pk=people.sam.pk), edit_id=edit.pk)


def test_agree_when_the_first_person_administers_no_more(people: Cast) -> None:
    edit = put_rule(people)
    accounts.deactivate(actor=OPERATOR, user=people.dana, reason="left")

    with pytest.raises(Conflict, match="may not do this any more"):
        agree(actor=people.sam, edit_id=edit.pk)
    assert not Rule.objects.exists()
    assert ProposedEdit.objects.get().status == "waiting"


def test_agree_when_it_would_do_something_else_by_now(people: Cast) -> None:
    rule = save_rule(actor=OPERATOR, rule_id=None, **STAGING_YES)
    edit = put(save_rule, actor=people.dana, rule_id=rule.pk, max_minutes=600)
    save_rule(actor=OPERATOR, rule_id=rule.pk, max_minutes=30)

    with pytest.raises(Conflict, match="no longer what was shown"):
        agree(actor=people.sam, edit_id=edit.pk)
    assert Rule.objects.get().max_minutes == 30


def test_agree_when_two_do_at_once(people: Cast, told: Told) -> None:
    edit, carol = put_rule(people), another_dba(people)

    answers = at_once(*[partial(agree, actor=one, edit_id=edit.pk) for one in (people.sam, carol)])

    assert sorted(isinstance(answer, Conflict) for answer in answers) == [False, True]
    assert len(told("policy.changed")) == len(told("edit.agreed")) == 1


def test_put_when_it_is_put_twice_waits_once(people: Cast, told: Told) -> None:
    assert put_rule(people) == put_rule(people)
    assert len(told("edit.proposed")) == 1


def test_put_when_two_do_at_once_waits_once(people: Cast) -> None:
    def put_it() -> None:
        with pytest.raises(Waits):
            save_rule(actor=people.dana, rule_id=None, **STAGING_YES)

    at_once(put_it, put_it)
    assert waiting().count() == 1


def test_agree_when_it_has_waited_too_long(people: Cast) -> None:
    edit = put_rule(people)
    ProposedEdit.objects.update(expires_at=clock.now())

    with pytest.raises(Conflict, match="put again"):
        agree(actor=people.sam, edit_id=edit.pk)
    again = put_rule(people)
    assert again != edit
    assert set(ProposedEdit.objects.values_list("status", flat=True)) == {"lapsed", "waiting"}


def test_decline_when_no_reason_is_given(people: Cast) -> None:
    edit = put_rule(people)
    with pytest.raises(Invalid):
        decline(actor=people.sam, edit_id=edit.pk, comment=" ")


def test_decline_and_withdraw_change_nothing(people: Cast, told: Told) -> None:
    first = put_rule(people)
    decline(actor=people.sam, edit_id=first.pk, comment="Not in production weeks")
    second = put_rule(people)
    with pytest.raises(NotAllowed):
        withdraw(actor=people.sam, edit_id=second.pk)
    withdraw(actor=people.dana, edit_id=second.pk)

    assert not Rule.objects.exists()
    assert [line.action for line in told("edit.")] == [
        "edit.proposed", "edit.declined", "edit.proposed", "edit.withdrawn",
    ]  # fmt: skip
    for edit in (first, second):
        with pytest.raises(Conflict):
            agree(actor=people.sam, edit_id=edit.pk)


def test_waiting_for_leaves_out_ones_own_and_what_is_about_oneself(people: Cast) -> None:
    carol = another_dba(people)
    mine = put_rule(people)
    about_sam = put(
        accounts.set_membership,
        actor=people.dana,
        user=people.sam,
        group=Group.objects.get(profile__duty="dba"),
        present=True,
    )

    assert list(waiting_for(people.dana)) == []
    assert list(waiting_for(people.sam)) == [mine]
    assert list(waiting_for(carol)) == [mine, about_sam]
    assert list(waiting_for(people.alice)) == []
    with pytest.raises(NotAllowed, match="about you"):
        agree(actor=people.sam, edit_id=about_sam.pk)


def test_the_database_refuses_an_edit_made_by_one_person(people: Cast) -> None:
    edit = put_rule(people)
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_proposededit SET status = 'made', decided_at = now(), decided_by_id = proposer_id "
            "WHERE id = %s",
            [edit.pk],
        )


def widenings(people: Cast) -> dict[str, Any]:
    """Calls that widen access, by what they are."""
    dana, shop, column = people.dana, people.shop, email(people)
    catalog.classify(actor=OPERATOR, column_id=column.pk, classification="restricted", data_class="email")
    save_rule(actor=OPERATOR, rule_id=None, **STAGING_YES)
    by = Column.objects.get(table=column.table_id, name="id")
    catalog.classify(actor=OPERATOR, column_id=by.pk, classification="public")
    catalog.add_filter(actor=OPERATOR, table_id=column.table_id, column="id", operator="=", values=["7"])
    catalog.change_database(actor=OPERATOR, database_id=shop.pk, hides_unclassified=True)
    limit, team = column.table.standing_filters.get(), Group.objects.create(name="newcomers")
    closed = people.bob
    accounts.deactivate(actor=OPERATOR, user=closed, reason="away")
    DataClass.objects.update_or_create(name="email", defaults={"mask": "hidden"})
    other = Column.objects.filter(table__database=shop, classification="").exclude(name="id").first()
    assert other is not None
    group = partial(accounts.save_group, actor=dana, name="newcomers")
    label = partial(catalog.classify, actor=dana, column_id=column.pk)
    rights = partial(catalog.set_rights, actor=dana, database_id=shop.pk, group=team, present=True)
    return {
        "a rule is removed": partial(remove_rule, actor=dana, rule_id=Rule.objects.get().pk),
        "a column is less sensitive": partial(label, classification="internal", data_class="email"),
        "a column is masked with less": partial(
            label, classification="restricted", data_class="email", mask="partial(1,1)"
        ),
        "a column has another class": partial(label, classification="restricted", data_class="name"),
        "what nobody classified is shown": partial(
            catalog.classify, actor=dana, column_id=other.pk, classification="public"
        ),
        "a class is masked with less": partial(catalog.save_data_class, actor=dana, name="email", mask="email"),
        "a limit on rows goes": partial(catalog.remove_filter, actor=dana, filter_id=limit.pk),
        "a group may ask": partial(rights, permission="request_database"),
        "a group owns": partial(rights, permission="own_database"),
        "a group owns the data": partial(rights, permission="own_data"),
        "a group may break the glass": partial(rights, permission="break_glass"),
        "a server is elsewhere": partial(catalog.change_server, actor=dana, server_id=shop.server_id, host="127.0.0.2"),
        "a server is at another port": partial(catalog.change_server, actor=dana, server_id=shop.server_id, port=5999),
        "a database is less production": partial(
            catalog.change_database, actor=dana, database_id=shop.pk, environment="development"
        ),
        "unclassified columns are shown": partial(
            catalog.change_database, actor=dana, database_id=shop.pk, hides_unclassified=False
        ),
        "a claim is mapped": partial(group, claim="everybody", is_team=False, duty=None),
        "a group becomes a team": partial(group, claim=None, is_team=True, duty=None),
        "an account is opened again": partial(accounts.reactivate, actor=dana, user=closed, reason="back"),
        "a level is taken away": partial(label, classification="", data_class=""),
        "somebody joins by hand": partial(
            accounts.set_membership, actor=dana, user=people.alice, group=team, present=True
        ),
    }


WIDENINGS = (
    "a rule is removed", "a column is less sensitive", "a column is masked with less", "a column has another class",
    "what nobody classified is shown", "a class is masked with less", "a limit on rows goes", "a group may ask",
    "a group owns", "a group owns the data", "a group may break the glass", "a server is elsewhere",
    "a server is at another port", "a database is less production", "unclassified columns are shown",
    "a claim is mapped", "a group becomes a team", "somebody joins by hand", "an account is opened again",
    "a level is taken away",
)  # fmt: skip


@pytest.mark.parametrize("what", WIDENINGS)
def test_edit_waits_when(people: Cast, what: str) -> None:
    call = widenings(people)[what]
    told = listening()

    edit = put(call)

    assert [line.action for line in told()] == ["edit.proposed"]
    assert edit.lines
    assert all(before != after for _, before, after in edit.lines)
    agree(actor=people.sam, edit_id=edit.pk)
    actions = [line.action for line in told()]
    assert len(actions) == 3, actions
    assert actions[2] == "edit.agreed"
    assert told()[1].actor == people.dana.audit_id


def test_widenings_are_all_tried(people: Cast) -> None:
    assert set(widenings(people)) == set(WIDENINGS)


def test_edit_is_made_at_once_when_it_narrows(people: Cast) -> None:
    dana, shop, column = people.dana, people.shop, email(people)
    team = Group.objects.create(name="newcomers")
    catalog.set_rights(actor=OPERATOR, database_id=shop.pk, permission="own_database", group=team, present=True)

    catalog.classify(actor=dana, column_id=column.pk, classification="confidential", data_class="email", mask="email")
    catalog.classify(actor=dana, column_id=column.pk, classification="restricted", data_class="email", mask="hidden")
    by = Column.objects.get(table=column.table_id, name="id")
    catalog.classify(actor=dana, column_id=by.pk, classification="public")
    catalog.add_filter(actor=dana, table_id=column.table_id, column="id", operator="=", values=["7"])
    catalog.set_rights(actor=dana, database_id=shop.pk, permission="own_database", group=team, present=False)
    catalog.change_database(actor=dana, database_id=shop.pk, hides_unclassified=True)
    catalog.change_server(actor=dana, server_id=shop.server_id, is_active=False)
    accounts.save_group(actor=dana, name="newcomers", claim=None, is_team=False, duty=None)

    assert not ProposedEdit.objects.exists()
    assert not widened_lately(dana)


def test_operator_needs_no_second_person(people: Cast) -> None:
    for call in widenings(people).values():
        partial(call.func, *call.args, **{**call.keywords, "actor": OPERATOR})()
    assert not ProposedEdit.objects.exists()


def test_widened_lately_when_it_was_made_in_seven_days(people: Cast) -> None:
    edit = put_rule(people)
    assert not widened_lately(people.dana)  # it waits
    agree(actor=people.sam, edit_id=edit.pk)

    assert widened_lately(people.dana)
    assert not widened_lately(people.sam)
    ProposedEdit.objects.update(decided_at=clock.now() - timedelta(days=7, seconds=1))
    assert not widened_lately(people.dana)


def test_command_agrees_when_there_is_nobody_else(people: Cast, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    accounts.deactivate(actor=OPERATOR, user=people.sam, reason="left")
    edit = put_rule(people)
    assert f"manage.py agree_to_edit {edit.pk}" in str(_refusal_of(people))

    call_command("agree_to_edit")
    assert "outcome: nothing → approve" in capsys.readouterr().out
    with pytest.raises(CommandError, match="--reason"):
        call_command("agree_to_edit", edit.pk)
    call_command("agree_to_edit", edit.pk, reason="dana is alone this week")

    assert Rule.objects.get().name == "staging"
    assert told("edit.agreed")[0].actor == "operator"


def test_command_agrees_to_all_when_asked(people: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    put_rule(people)
    put(accounts.save_group, actor=people.dana, name="newcomers", claim="newcomers", is_team=True, duty=None)

    call_command("agree_to_edit", all=True, reason="first set-up")

    assert not waiting().exists()
    assert Group.objects.filter(name="newcomers", profile__is_team=True).exists()
    capsys.readouterr()
    call_command("agree_to_edit")
    assert "Nothing waits" in capsys.readouterr().out


def _refusal_of(people: Cast) -> Waits:
    with pytest.raises(Waits) as waits:
        save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    return waits.value


def test_classification_when_only_some_are_less_protected_waits_whole(people: Cast) -> None:
    column = email(people)
    catalog.classify(actor=OPERATOR, column_id=column.pk, classification="restricted", data_class="email")
    others = Column.objects.filter(table=column.table).exclude(pk=column.pk).values_list("pk", flat=True)

    edit = put(catalog.classify_many, actor=people.dana, column_ids=[column.pk, *others], classification="internal")

    assert edit.lines[0][0].endswith(".email")  # what is less protected comes first
    assert edit.lines[0][2] == "internal email (protected less)"
    assert set(Column.objects.filter(pk__in=others).values_list("classification", flat=True)) != {
        Classification.INTERNAL
    }


def test_registry_names_each_verb_once() -> None:
    with pytest.raises(ValueError, match="already"):
        dual_control.widening("rule.save")(lambda: None)


def test_rule_when_a_group_is_called_like_a_route_is_still_another_rule(people: Cast) -> None:
    Group.objects.create(name="security, owner, peer")
    steps = [{"kind": "group", "group": "security", "needed": 1}, {"kind": "owner", "group": None, "needed": 1}]
    rule = save_rule(actor=OPERATOR, rule_id=None, name="r", outcome="route", steps=steps)

    edit = put(
        save_rule,
        actor=people.dana,
        rule_id=rule.pk,
        steps=[{"kind": "group", "group": "security, owner, peer", "needed": 1}],
    )

    assert ["step 1", '1 of the group "security"', '1 of the group "security, owner, peer"'] in edit.lines
    assert ["step 2", "1 owner", ""] in edit.lines


def test_rule_when_another_one_has_changed_has_to_be_put_again(people: Cast) -> None:
    edit = put_rule(people)
    save_rule(actor=OPERATOR, rule_id=None, name="another", outcome="deny", position=1)
    with pytest.raises(Conflict, match="no longer what was shown"):
        agree(actor=people.sam, edit_id=edit.pk)


def test_data_class_when_a_column_got_it_meanwhile_has_to_be_put_again(people: Cast) -> None:
    catalog.save_data_class(actor=OPERATOR, name="harmless", mask="hidden")
    edit = put(catalog.save_data_class, actor=people.dana, name="harmless", mask="partial(32,32)")
    column = email(people)
    catalog.classify(actor=OPERATOR, column_id=column.pk, classification="restricted", data_class="harmless")

    with pytest.raises(Conflict, match="no longer what was shown"):
        agree(actor=people.sam, edit_id=edit.pk)
    again = put(catalog.save_data_class, actor=people.dana, name="harmless", mask="partial(32,32)")
    assert any(line[0].endswith("customers.email") for line in again.lines)


def test_database_when_it_would_show_more_columns_by_now_has_to_be_put_again(people: Cast) -> None:
    column = email(people)
    catalog.classify(actor=OPERATOR, column_id=column.pk, classification="restricted")
    catalog.change_database(actor=OPERATOR, database_id=people.shop.pk, hides_unclassified=True)
    edit = put(catalog.change_database, actor=people.dana, database_id=people.shop.pk, hides_unclassified=False)
    catalog.classify(actor=OPERATOR, column_id=column.pk, classification="")

    with pytest.raises(Conflict, match="no longer what was shown"):
        agree(actor=people.sam, edit_id=edit.pk)


def test_edit_when_something_widens_tells_all_that_the_call_changes(people: Cast) -> None:
    edit = put(
        catalog.change_database,
        actor=people.dana,
        database_id=people.shop.pk,
        environment="development",
        slug="scratch",
        console_rows=100_000,
    )
    assert {line[0] for line in edit.lines} == {"console rows", "environment", "slug"}


def test_agree_when_it_was_done_meanwhile(people: Cast) -> None:
    team = Group.objects.create(name="newcomers")
    right = {"database_id": people.shop.pk, "permission": "own_data", "group": team, "present": True}
    edit = put(catalog.set_rights, actor=people.dana, **right)
    catalog.set_rights(actor=OPERATOR, **right)

    with pytest.raises(Conflict, match="change nothing any more"):
        agree(actor=people.sam, edit_id=edit.pk)
    assert not widened_lately(people.dana)


def test_agree_when_they_are_the_emergency_administrator(people: Cast) -> None:
    edit = put_rule(people)
    emergency, _ = accounts.create_emergency_admin(username="glass", reason="drill")
    with pytest.raises(NotAllowed):
        agree(actor=emergency, edit_id=edit.pk)
    assert list(waiting_for(emergency)) == []
    own = put(save_rule, actor=emergency, rule_id=None, name="theirs", outcome="approve")
    withdraw(actor=emergency, edit_id=own.pk)


def test_agree_when_single_sign_on_has_not_vouched_for_them_lately(people: Cast) -> None:
    edit = put_rule(people)
    User.objects.filter(pk=people.sam.pk).update(seen_at=clock.now() - timedelta(days=300))
    with pytest.raises(NotAllowed, match="Sign in once more"):
        agree(actor=User.objects.get(pk=people.sam.pk), edit_id=edit.pk)


def test_widened_lately_when_they_agreed_as_another_administrator(people: Cast) -> None:
    carol = another_dba(people)
    edit = put_rule(people)
    agree(actor=carol, edit_id=edit.pk)
    assert widened_lately(carol)
    assert widened_lately(people.dana)


@pytest.mark.parametrize("name", ["friends\u202e", "fri\u200bends", "friends\noutcome: deny → deny"])
def test_group_when_its_name_would_mislead(people: Cast, name: str) -> None:
    with pytest.raises(Invalid):
        accounts.save_group(actor=people.dana, name=name, claim=None, is_team=False, duty=None)
    with pytest.raises(Invalid):
        accounts.save_group(actor=people.dana, name="fine", claim=f"x{name}x", is_team=False, duty=None)


def test_group_when_more_people_get_what_it_holds_says_what_that_is(people: Cast) -> None:
    edit = put(accounts.save_group, actor=people.dana, name="shop-team", claim="everybody", is_team=True, duty=None)
    assert [f"its people may: request database ({people.shop})", "", "yes"] in edit.lines


def test_edit_when_its_names_are_long(people: Cast) -> None:
    people.alice.first_name, people.alice.last_name = "A" * 150, "B" * 150
    people.alice.save()
    group = Group.objects.create(name="g" * 150)
    edit = put(accounts.set_membership, actor=people.dana, user=people.alice, group=group, present=True)
    assert len(edit.about) == 300
