"""The demo signs its record by itself, as a worker of any portal does."""

import json

from apps.audit.notes import opened, read_signer
from tests.story.walk import wait_for
from tests.support.demo import RunningDemo


def test_demo_when_it_runs_has_its_record_signed_and_kept_by_an_anchor(demo: RunningDemo) -> None:
    anchor = demo.folder / "anchor.jsonl"
    key = demo.folder / "signing.key"
    wait_for("a checkpoint in the anchor", lambda: anchor.exists() and anchor.read_text().endswith("\n"), 180)
    note = json.loads(anchor.read_text(encoding="utf-8").splitlines()[-1])["note"]
    found, _ = opened(note, [read_signer(key.read_text(encoding="ascii")).key])
    assert found.size > 0
    assert found.origin.startswith("demo-")
    assert key.stat().st_mode & 0o777 == 0o600
