"""Edits that wait for a second person, on the pages."""

from typing import Any

import pytest
from django.urls import reverse

from apps.accounts.dual_control import Waits, agree
from apps.accounts.models import ProposedEdit, User
from apps.notifications import services as notifications
from apps.notifications.models import Notification
from apps.policies.models import Rule
from apps.policies.services import save_rule
from tests.factories import Cast
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

RULE: dict[str, Any] = {"name": "at night", "environments": ["staging"], "outcome": "approve"}
LIST = reverse("portal:edits")


@pytest.fixture
def edit(people: Cast) -> ProposedEdit:
    with pytest.raises(Waits) as waits:
        save_rule(actor=people.dana, rule_id=None, **RULE)
    return waits.value.edit


def page(user: User, path: str) -> str:
    return signed_in(user).get(path).content.decode()


def at(edit: ProposedEdit, what: str = "") -> str:
    return reverse("portal:edit_decide", args=[edit.pk, what]) if what else reverse("portal:edit", args=[edit.pk])


@pytest.mark.parametrize("who", ["alice", "audrey"])
def test_pages_when_they_are_no_minders(people: Cast, edit: ProposedEdit, who: str) -> None:
    client = signed_in(getattr(people, who))
    assert client.get(LIST).status_code == 404
    assert client.get(at(edit)).status_code == 404
    for what in ("agree", "decline", "withdraw"):
        assert client.post(at(edit, what), {"comment": "x"}).status_code == 404
    assert ProposedEdit.objects.get().status == "waiting"
    assert LIST not in client.get("/").content.decode()


def test_page_when_it_is_ones_own(people: Cast, edit: ProposedEdit) -> None:
    shown = page(people.dana, at(edit))
    assert "another database administrator or security decides" in shown
    assert "Sam can agree" in shown
    assert at(edit, "agree") not in shown
    answer = signed_in(people.dana).post(at(edit, "agree"))
    assert answer.status_code == 403
    assert "You have put this edit" in answer.content.decode()
    assert not Rule.objects.filter(name="at night").exists()


def test_inbox_when_an_edit_waits(people: Cast, edit: ProposedEdit) -> None:
    assert "Rule “at night”" in page(people.sam, reverse("portal:inbox"))
    assert "Rule “at night”" not in page(people.dana, reverse("portal:inbox"))
    assert '<span class="count">1' in page(people.sam, "/")


def test_agree_when_pressed(people: Cast, edit: ProposedEdit) -> None:
    shown = page(people.sam, at(edit))
    assert "<ins>approve</ins>" in shown

    answer = signed_in(people.sam).post(at(edit, "agree"), {"comment": "Yes"}, follow=True)

    assert "Agreed: the change is made." in answer.content.decode()
    assert Rule.objects.filter(name="at night").exists()
    assert "agreed to and made by Sam" in page(people.dana, LIST)


def test_decline_when_no_reason_is_given_keeps_the_page(people: Cast, edit: ProposedEdit) -> None:
    answer = signed_in(people.sam).post(at(edit, "decline"), {"comment": ""})
    assert answer.status_code == 422
    assert "reason" in answer.content.decode()
    signed_in(people.sam).post(at(edit, "decline"), {"comment": "Not now <b>"})
    assert "Not now &lt;b&gt;" in page(people.dana, at(edit))


def test_withdraw_when_pressed(people: Cast, edit: ProposedEdit) -> None:
    signed_in(people.dana).post(at(edit, "withdraw"))
    assert ProposedEdit.objects.get().status == "withdrawn"
    assert signed_in(people.sam).post(at(edit, "agree")).status_code == 409


def test_edit_when_the_word_is_none_of_ours(people: Cast, edit: ProposedEdit) -> None:
    assert signed_in(people.sam).post(f"/edits/{edit.pk}/approve/").status_code == 404
    assert signed_in(people.sam).get("/edits/%00/").status_code == 404


def test_admin_form_when_it_waits_says_so(people: Cast) -> None:
    client = signed_in(people.dana)
    form = {**RULE, "is_active": "on", "position": "1", "steps": "", "max_minutes": ""}

    answer = client.post(reverse("admin:policies_rule_add"), form, follow=True)

    shown = answer.content.decode()
    assert "this widens access, so nothing is changed yet" in shown
    assert reverse("portal:edit", args=[ProposedEdit.objects.get().pk]) in shown
    assert "was added successfully" not in shown
    assert not Rule.objects.filter(name="at night").exists()


def test_admin_form_when_only_rights_wait_saves_the_rest(people: Cast) -> None:
    client = signed_in(people.dana)
    address = reverse("admin:catalog_database_change", args=[people.shop.pk])
    form = {
        name: "" if field.value() is None else field.value()
        for name, field in ((bound.name, bound) for bound in client.get(address).context["adminform"].form)
    }
    form |= {"description": "Told anew", "break_glass": [people.web_team.pk]}

    answer = client.post(address, form, follow=True)

    people.shop.refresh_from_db()
    assert people.shop.description == "Told anew"
    shown = answer.content.decode()
    assert "Rights on" in shown
    assert "was changed successfully" not in shown
    assert ProposedEdit.objects.get().lines[:2] == [
        ["the group “web-team”", "", "break glass"],
        ["on", "", "production"],
    ]


def test_notifications_when_an_edit_is_put_and_agreed_to(people: Cast, edit: ProposedEdit) -> None:
    notifications.fold()
    assert {row.user.username for row in Notification.objects.filter(kind="edit")} == {"sam"}
    agree(actor=people.sam, edit_id=edit.pk)
    notifications.fold()
    told = Notification.objects.get(kind="edit_decided")
    assert (told.user, told.path) == (people.dana, f"/edits/{edit.pk}/")
