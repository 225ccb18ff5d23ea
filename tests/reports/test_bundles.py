"""Evidence of a period as one file: made by a worker, taken by auditors, checked without the portal."""

import io
import json
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.audit import services as audit
from apps.audit import signing
from apps.audit.body import rfc3339
from apps.audit.notes import Signer
from apps.audit.offline import verify as offline
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.reports import building, bundle_file, bundles
from apps.reports.listing import REPORTS
from apps.reports.models import Bundle, BundlePart
from tests.audit.bundles import write_zip
from tests.audit.signers import signing_by
from tests.factories import Cast
from tests.support.pages import ask
from tests.support.people import signed_in
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signer(transactional_db: None, settings: Any, tmp_path: Path) -> Signer:
    """A worker's key."""
    return signing_by(settings, tmp_path)


@pytest.fixture
def since(people: Cast) -> datetime:
    """A period in which something has happened."""
    began = clock.now()
    ask(people.alice, reason="Because <of> this")
    ask(people.carol, reason="=1+1")
    return began


def made(people: Cast, since: datetime, **more: Any) -> Bundle:
    bundle = bundles.want_bundle(actor=people.audrey, since=since, until=clock.now(), **more)
    building.build_wanted()
    bundle.refresh_from_db()
    return bundle


def file_of(people: Cast, bundle: Bundle) -> bytes:
    return b"".join(bundles.take_bundle(actor=people.audrey, bundle_id=bundle.pk)[1])


def checked(path: Path, signer: Signer) -> subprocess.CompletedProcess[str]:
    """As an auditor does it, with a bare Python."""
    command = [sys.executable, "-I", "-S", "-W", "error", offline.__file__, str(path), "--key", str(signer.key)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_build_when_it_is_checked_elsewhere(people: Cast, signer: Signer, since: datetime, tmp_path: Path) -> None:
    bundle = made(people, since)
    assert (bundle.status, bundle.problem) == ("ready", "")
    path = tmp_path / bundle.file_name
    path.write_bytes(file_of(people, bundle))

    proved = checked(path, signer)
    assert proved.returncode == 0, proved.stdout + proved.stderr
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        assert {f"reports/{name}.csv" for name in REPORTS} < names
        texts = [json.loads(line) for line in archive.read("disclosures.jsonl").splitlines()]
        assert "Because <of> this" in {text["value"] for text in texts}
        manifest = json.loads(archive.read("manifest.json"))
        assert (manifest["entries"]["first"], manifest["entries"]["last"]) == (bundle.first, bundle.last)
        assert path.name in archive.read("README.txt").decode()
    told = [line.action for line in audit.latest(limit=40) if line.action.startswith("bundle.")]
    assert told == ["bundle.taken", "bundle.made", "bundle.wanted"]


@pytest.mark.parametrize("where", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_check_when_one_byte_of_a_file_was_changed(
    people: Cast, signer: Signer, since: datetime, tmp_path: Path, where: float
) -> None:
    """Of the entries, so that what is changed is never a date of the zip itself, which nobody is told."""
    with zipfile.ZipFile(io.BytesIO(file_of(people, made(people, since)))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    entries = bytearray(files["entries.jsonl"])
    entries[int(len(entries) * where)] ^= 1
    path = write_zip(tmp_path / "changed.zip", {**files, "entries.jsonl": bytes(entries)})
    assert checked(path, signer).returncode in {1, 2}


def test_build_when_nothing_is_signed(people: Cast, since: datetime, settings: Any) -> None:
    """Nothing could be proved by it, so that there is none."""
    settings.SIGNING_KEY_FILE = ""
    bundle = made(people, since)
    assert bundle.status == "failed"
    assert "signing key" in bundle.problem
    with pytest.raises(Conflict, match="ask for another one"):
        file_of(people, bundle)


def test_build_when_a_worker_died_in_the_middle(
    people: Cast, signer: Signer, since: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles.want_bundle(actor=people.audrey, since=since, until=clock.now(), reports=["denied"])
    assert building._claim() is not None  # and nobody ever hears of it again
    assert building.build_wanted() == 0
    with clock.shifted(timedelta(minutes=11)):
        assert building.build_wanted() == 1
    bundle.refresh_from_db()
    assert bundle.status == "ready"


def test_build_when_two_workers_come_at_once(people: Cast, signer: Signer, since: datetime) -> None:
    for _ in range(2):
        bundles.want_bundle(actor=people.audrey, since=since, until=clock.now(), reports=["denied"])
    assert sum(at_once(building.build_wanted, building.build_wanted)) == 2
    assert {one.status for one in Bundle.objects.all()} == {"ready"}


def test_build_when_whoever_wanted_it_is_no_auditor_any_more(people: Cast, signer: Signer, since: datetime) -> None:
    bundle = bundles.want_bundle(actor=people.audrey, since=since, until=clock.now())
    people.audrey.groups.clear()
    building.build_wanted()
    bundle.refresh_from_db()
    assert (bundle.status, "for auditors" in bundle.problem) == ("failed", True)


def test_build_when_the_record_is_another_than_an_anchor_has_seen(
    people: Cast, signer: Signer, since: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "sign_due", lambda: None)
    bundle = made(people, since)
    assert (bundle.status, "break" in bundle.problem) == ("failed", True)


def test_want_bundle_when_it_cannot_be(people: Cast) -> None:
    now = clock.now()
    day = timedelta(days=1)
    for since, until, why in ((now, now - day, "ends before"), (now - day, now + day, "not over yet")):
        with pytest.raises(Invalid, match=why):
            bundles.want_bundle(actor=people.audrey, since=since, until=until)
    with pytest.raises(NotFound, match="no report 'nonsense'"):
        bundles.want_bundle(actor=people.audrey, since=now - day, until=now, reports=["nonsense"])
    for stranger in (people.alice, people.dana, people.sam):
        with pytest.raises(NotAllowed):
            bundles.want_bundle(actor=stranger, since=now - day, until=now)
    for _ in range(3):
        bundles.want_bundle(actor=people.audrey, since=now - day, until=now)
    with pytest.raises(Conflict, match="3 of your bundles"):
        bundles.want_bundle(actor=people.audrey, since=now - day, until=now)


def test_take_bundle_when_it_may_not_be(people: Cast, signer: Signer, since: datetime) -> None:
    bundle = bundles.want_bundle(actor=people.audrey, since=since, until=clock.now())
    with pytest.raises(Conflict, match="not there yet"):
        file_of(people, bundle)
    building.build_wanted()
    for stranger in (people.alice, people.dana):
        with pytest.raises(NotAllowed):
            bundles.take_bundle(actor=stranger, bundle_id=bundle.pk)
    for key in ("nothing", "\0"):
        with pytest.raises(NotFound):
            bundles.take_bundle(actor=people.audrey, bundle_id=key)


def test_drop_old_when_it_was_kept_for_long_enough(people: Cast, signer: Signer, since: datetime) -> None:
    bundle = made(people, since)
    assert bundles.drop_old() == 0
    with clock.shifted(timedelta(days=7, minutes=1)):
        with pytest.raises(Conflict, match="not kept any more"):
            file_of(people, bundle)
        assert bundles.drop_old() == 1
    assert not BundlePart.objects.exists()
    assert Bundle.objects.get().status == "gone"


def test_write_when_the_record_is_long(people: Cast, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some checkpoints of many, the last one among them, and progress meanwhile."""
    monkeypatch.setattr(bundle_file, "_NOTES", 2)
    monkeypatch.setattr(bundle_file, "_TOLD_EVERY", 2)
    began = clock.now()
    for _ in range(5):
        ask(people.alice)
        signing.sign_due()
    bundle, heard = bundles.want_bundle(actor=people.audrey, since=began, until=clock.now(), reports=[]), list[int]()
    signing.sign_due()
    plan = bundle_file.plan_of(since=bundle.since, until=bundle.until, reports=[])
    file = io.BytesIO()
    bundle_file.write(plan, file, actor=people.audrey, name="x.zip", progress=heard.append)
    with zipfile.ZipFile(file) as archive:
        notes = archive.read("checkpoints.jsonl").splitlines()
    assert 2 <= len(notes) <= 4
    assert heard[-1] == plan.last + 1 - plan.first
    assert heard == sorted(heard)


@pytest.fixture
def audrey(people: Cast) -> Client:
    return signed_in(people.audrey)


def test_bundles_page_when_one_is_made(people: Cast, signer: Signer, since: datetime, audrey: Client) -> None:
    assert "None yet" in audrey.get("/reports/bundles/").content.decode()
    until = f"{clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"
    sent = {"since": since.isoformat(), "until": until, "report": ["denied", "approvals"]}
    assert audrey.post("/reports/bundles/", sent).status_code == 302
    assert "every 2s" in audrey.get("/reports/bundles/").content.decode()
    building.build_wanted()
    page = audrey.get("/reports/bundles/").content.decode()
    bundle = Bundle.objects.get()
    assert bundle.sha256 in page
    assert str(signer.key) in page
    assert "every 2s" not in page
    file = audrey.get(f"/reports/bundles/{bundle.pk}.zip")
    assert int(file["Content-Length"]) == bundle.bytes
    assert zipfile.is_zipfile(io.BytesIO(b"".join(file.streaming_content)))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("since", "until"),
    [("", "2026-01-01"), ("2026-02-01", "2026-01-01"), ("soon", "2026-01-01"), ("2026-01-01", "9999-01-01")],
)
def test_bundles_page_when_the_period_is_none(people: Cast, audrey: Client, since: str, until: str) -> None:
    answer = audrey.post("/reports/bundles/", {"since": since, "until": until})
    assert answer.status_code == 422
    assert not Bundle.objects.exists()


@pytest.mark.parametrize("name", ["alice", "dana", "sam"])
def test_bundles_page_when_somebody_else_looks(people: Cast, name: str) -> None:
    assert signed_in(getattr(people, name)).get("/reports/bundles/").status_code == 403
    assert signed_in(getattr(people, name)).get("/reports/bundles/x.zip").status_code == 403


# By API ---------------------------------------------------------------------------------------------------------------


def call(user: User, path: str, body: Any = None, scopes: list[str] | None = None) -> Any:
    """With a body a POST."""
    _, token = accounts.create_token(actor=user, name="test", scopes=scopes or TokenScope.values, days=1)
    how = "GET" if body is None else "POST"
    headers = {"Authorization": f"Bearer {token}"}
    sent = "" if body is None else json.dumps(body)
    return Client().generic(how, f"/api/v1{path}", data=sent, content_type="application/json", headers=headers)


def test_api_when_a_bundle_is_wanted_made_and_taken(
    people: Cast, signer: Signer, since: datetime, tmp_path: Path
) -> None:
    until = clock.now()
    period = {"from": rfc3339(since), "to": rfc3339(until)}
    answer = call(people.audrey, "/bundles", {**period, "reports": ["approvals"]})
    assert answer.status_code == 201, answer.content
    wanted = answer.json()
    assert (wanted["status"], wanted["wanted_by"], wanted["reports"]) == ("queued", "audrey", ["approvals"])
    assert {name: wanted[name] for name in period} == period
    building.build_wanted()

    found = call(people.audrey, f"/bundles/{wanted['id']}").json()
    assert (found["status"], found["done"], {name: found[name] for name in period}) == ("ready", found["total"], period)
    assert call(people.audrey, "/bundles").json() == {"items": [found], "next": None}
    taken = call(people.audrey, f"/bundles/{wanted['id']}/file")
    content = b"".join(taken.streaming_content)
    assert (len(content), sha256(content).hexdigest()) == (found["bytes"], found["sha256"])
    path = tmp_path / found["name"]
    path.write_bytes(content)
    assert checked(path, signer).returncode == 0


def test_api_when_a_bundle_cannot_be_meant_says_why(people: Cast, signer: Signer, since: datetime) -> None:
    for body in (
        {},
        {"from": "2026-12-01", "to": "2026-11-01"},
        {"from": "yesterday", "to": "today"},
        {"from": "2026-01-01", "to": "2100-01-01"},
    ):
        answer = call(people.audrey, "/bundles", body)
        assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json"), body
    answer = call(people.audrey, "/bundles", {"from": "2026-01-01", "to": "2026-02-01", "reports": ["everything"]})
    assert (answer.status_code, "everything" in answer.json()["detail"]) == (404, True)
    assert call(people.audrey, "/bundles/nowhere").status_code == 404
    assert call(people.audrey, "/bundles/nowhere/file").status_code == 404
    assert not Bundle.objects.exists()


def test_api_when_no_auditor_asks_for_bundles_is_refused(people: Cast, signer: Signer, since: datetime) -> None:
    bundle = made(people, since)
    period = {"from": rfc3339(since), "to": rfc3339(clock.now())}
    for path, body in (("/bundles", period), ("/bundles", None), (f"/bundles/{bundle.pk}", None)):
        for user in (people.alice, people.dana):
            assert call(user, path, body).status_code == 403
        assert call(people.audrey, path, body, scopes=["read"]).status_code == 403
    assert call(people.dana, f"/bundles/{bundle.pk}/file").status_code == 403
    assert Client().get(f"/api/v1/bundles/{bundle.pk}/file").status_code == 401
