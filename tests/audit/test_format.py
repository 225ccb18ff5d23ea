"""The example of docs/audit-format.md, checked with nothing of ours but the document."""

import json
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from django.conf import settings

DOCUMENT = (settings.BASE_DIR / "docs/audit-format.md").read_text(encoding="utf-8")


def given(name: str) -> str:
    found = re.search(rf"^    {name} +(\S.*)$", DOCUMENT, re.MULTILINE)
    assert found is not None
    return found[1]


def test_example_when_recomputed_by_hand_holds() -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(given("recorded_at")))
    assert moment.isoformat() == "2026-11-22T12:00:00.250000+00:00"
    commit = sha256(bytes(range(32)) + b"Ticket OPS-1").hexdigest()
    assert json.loads(given("body"))["disclosed"] == {"reason": {"commit": commit}}
    head = b"\x00" + (0).to_bytes(8, "big") + int(given("recorded_at")).to_bytes(8, "big")
    leaf = sha256(head + given("recorded_by").encode() + b"\x00" + given("body").encode()).digest()
    assert leaf.hex() == given("leaf_0")
    assert sha256(b"\x01" + bytes(32) + leaf).hexdigest() == given("hash_0")
