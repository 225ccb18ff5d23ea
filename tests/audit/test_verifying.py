"""A worker follows the record by itself, and the pages say when, how far and beside which anchors."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from apps.audit import services as audit
from apps.audit import verifying
from apps.audit.models import VerificationRun
from apps.audit.signing import sign_due
from apps.audit.verification import verify
from apps.audit.verifying import last_run, running, verify_due
from apps.core import clock
from apps.notifications import services as notifications
from apps.notifications.models import Notification
from tests.audit.signers import happened, signing_by
from tests.audit.tampering import run, tampering
from tests.factories import Cast, cast
from tests.support.people import listening, signed_in

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@pytest.fixture
def people() -> Cast:
    return cast()


def earlier(by: timedelta) -> None:
    """What was done was done so much earlier."""
    for row in VerificationRun.objects.all():
        row.started_at -= by
        row.save()


def of_an_altered_record(monkeypatch: pytest.MonkeyPatch) -> VerificationRun | None:
    """A run that finds what verification finds when the owner has changed an entry; that is taken back again."""
    with tampering():
        run(
            "UPDATE audit.entry SET body = set_byte(body, 20, get_byte(body, 20) # 1) WHERE id = "
            "(SELECT entry_id FROM audit.seal ORDER BY index DESC LIMIT 1)"
        )
        found = verify(using="owner")
    assert not found.ok
    with monkeypatch.context() as patch:
        patch.setattr(verifying, "verify", lambda **_: found)
        return verify_due()


def test_verify_due_follows_all_of_it_first_and_then_what_is_new_each_hour() -> None:
    happened()
    first = verify_due()
    assert first is not None
    assert (first.from_index, first.reached, first.problem_count) == (0, audit.head().size, 0)
    assert first.hash == audit.head().hash.hex()
    assert verify_due() is None

    happened()
    assert verify_due() is None  # an hour is not over
    earlier(timedelta(hours=1))
    second = verify_due()
    assert second is not None
    assert (second.from_index, second.reached) == (first.reached, audit.head().size)
    earlier(timedelta(hours=1))
    assert verify_due() is None  # nothing is new


def test_verify_due_follows_all_of_it_again_when_a_day_is_over() -> None:
    happened()
    verify_due()
    earlier(timedelta(days=1))
    run = verify_due()
    assert run is not None
    assert run.from_index == 0


def test_verify_due_when_the_record_was_altered(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    happened()
    told = listening()
    run = of_an_altered_record(monkeypatch)
    assert run is not None
    assert run.problem_count > 0
    (entry,) = told("record.altered")
    assert entry.facts["problems"] == run.problem_count
    assert entry.disclosed["problems"] == "\n".join(run.problems)
    notifications.fold()
    called = {row.user.username for row in Notification.objects.filter(kind="broken")}
    assert called == {"dana", "sam", "audrey"}

    for who in (people.dana, people.audrey):
        assert "The record is not as it was sealed" in signed_in(who).get("/").content.decode()
    assert "The record is not as it was sealed" not in signed_in(people.alice).get("/").content.decode()

    earlier(timedelta(hours=1))
    again = of_an_altered_record(monkeypatch)
    assert again is not None
    assert again.from_index == 0
    assert len(told("record.altered")) == 1  # told once
    earlier(timedelta(hours=1))
    good = verify_due()
    assert good is not None
    assert good.problem_count == 0
    assert "not as it was sealed" not in signed_in(people.dana).get("/").content.decode()


def test_record_page_says_when_it_was_verified_and_beside_which_anchors(
    people: Cast, settings: Any, tmp_path: Path
) -> None:
    page = signed_in(people.audrey)
    assert "No worker has verified it yet" in page.get(reverse("portal:record")).content.decode()
    anchor = tmp_path / "anchor.jsonl"
    signing_by(settings, tmp_path, f"file:{anchor}")
    happened()
    sign_due()
    verify_due()

    shown = page.get(reverse("portal:record")).content.decode()

    assert "All of it, from the first entry." in shown
    assert f"file:{anchor}" in shown
    assert "had seen the same" in shown


def test_record_page_shows_how_far_it_is_when_it_is_on_its_way(people: Cast) -> None:
    VerificationRun.objects.create(started_at=clock.now(), from_index=0, reached=40, size=80)
    run = running()
    assert run is not None
    assert run.percent == 50
    assert "40 of 80 entries" in signed_in(people.audrey).get(reverse("portal:record")).content.decode()
    assert last_run() is None


def test_runs_that_are_old_go_and_the_last_whole_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "KEPT", 2)
    happened()
    whole = verify_due()
    for _ in range(3):
        happened()
        earlier(timedelta(hours=1))
        assert verify_due() is not None
    assert whole in set(VerificationRun.objects.all())
    assert VerificationRun.objects.count() == 3
