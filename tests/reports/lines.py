"""Lines of a record that was never written, for folds: each a minute after the one before."""

from datetime import UTC, datetime, timedelta
from typing import Any

from apps.audit.actions import WORKER_ONLY, WORKER_ROLE
from apps.audit.body import rfc3339
from apps.audit.trail import Line
from apps.reports.base import Asked
from apps.reports.listing import REPORTS

START = datetime(2026, 11, 1, tzinfo=UTC)
ALICE, BOB, DANA, SAM = "user:alice", "user:bob", "user:dana", "user:sam"
SHOP = "dbshop"
_NAMES = {ALICE: "Alice Ahrens", BOB: "Bob Becker", DANA: "Dana Doe", SAM: "Sam Sato"}


class Story:
    """Entries as the portal writes them. `tell` adds any; the other words are the acts of a usual life."""

    def __init__(self, *, knows_names: bool = True) -> None:
        self.lines: list[Line] = []
        self.now = START
        if knows_names:
            self.tell("database.added", "operator", f"database:{SHOP}", slug="shop", datname="shop")
            for user, name in _NAMES.items():
                self.tell("account.signed_in", user, user, username=user.partition(":")[2], name=name)

    def tell(
        self,
        action: str,
        actor: str,
        subject: str,
        facts: dict[str, Any] | None = None,
        *,
        problem: str = "",
        erased: tuple[str, ...] = (),
        **disclosed: str,
    ) -> Line:
        self.now += timedelta(minutes=1)
        texts = dict(disclosed)
        if actor in _NAMES and not action.startswith("account."):
            texts.setdefault("person", _NAMES[actor])
        line = Line(
            index=len(self.lines),
            recorded_at=self.now,
            recorded_by=WORKER_ROLE if action in WORKER_ONLY else "jitportal_web",
            hash=bytes(32),
            body=b"",
            action=action,
            actor=actor,
            subject=subject,
            at=rfc3339(self.now),
            facts=facts or {},
            disclosed={name: text for name, text in texts.items() if name not in erased},
            erased=erased,
            problem=problem,
        )
        self.lines.append(line)
        return line

    def wait(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now

    def ask(self, request: str = "r1", who: str = ALICE, **facts: Any) -> Line:
        scope = {
            "database": SHOP,
            "level": "query",
            "connection": "direct",
            "minutes": 60,
            "tables": ["sales.orders"],
            "table_count": 1,
            "unmask": [],
            "unmask_count": 0,
            "masked_count": 0,
            "digest": "d1",
            "rule": "production",
            "version": 3,
            "risk": "medium",
            "break_glass": False,
        }
        texts = {"reason": "Two reports differ", "ticket": "OPS-1"}
        return self.tell("request.submitted", who, f"request:{request}", scope | facts, **texts)

    def approve(self, request: str = "r1", who: str = BOB, *, last: bool = False, **facts: Any) -> Line:
        about = f"request:{request}"
        said = {"digest": "d1", "narrowed_from": None, "step": 0, "kind": "peer", "group": None} | facts
        line = self.tell("decision.approved", who, about, said, comment="Fine")
        if last:
            self.tell("request.approved", who, about, {"digest": "d1", "minutes": 60})
        return line

    def grant(self, action: str, actor: str = "worker", request: str = "r1", **facts: Any) -> Line:
        """One entry about the access that was made of `request`."""
        texts = {name: facts.pop(name) for name in ("reason", "opened", "problem_text") if name in facts}
        more = {name: facts.pop(name) for name in ("problem", "erased") if name in facts}
        identity = {"request": request, "holder": ALICE, "database": SHOP, "server": "srv"}
        return self.tell(action, actor, f"grant:g-{request}", identity | facts, login="jit_alice", **texts, **more)

    def issue(self, request: str = "r1", **more: Any) -> Line:
        self.grant("grant.queued", "clock", request, scope="d1", minutes=60)
        starts, ends = self.now, self.now + timedelta(minutes=60)
        times = {"starts_at": rfc3339(starts), "expires_at": rfc3339(ends), "connection": "direct"}
        return self.grant("grant.issued", "worker", request, **times, **more)

    def end(self, request: str = "r1", cause: str = "expired", **more: Any) -> Line:
        since, clean = rfc3339(self.now), rfc3339(self.now + timedelta(seconds=2))
        self.grant("grant.ending", "worker", request, cause=cause, since=since)
        proof = {"locked_at": since, "clean_at": clean, "sessions_ended": 1, "dropped": True, "leftover": ""}
        return self.grant("grant.ended", "worker", request, **{"cause": cause, "since": since, "proof": proof, **more})

    def whole_life(self, request: str = "r1", who: str = ALICE, **facts: Any) -> None:
        self.ask(request, who, **facts)
        self.approve(request, BOB if who != BOB else DANA, last=True)
        self.issue(request)
        self.wait(minutes=30)
        self.end(request)


def all_of_it(**parts: Any) -> Asked:
    return Asked(**{"since": START, "until": START + timedelta(days=365), **parts})


def folded(name: str, story: Story | list[Line], asked: Asked | None = None) -> list[dict[str, object]]:
    """Rows of a report; each has exactly the columns that the report documents."""
    report, lines = REPORTS[name], story if isinstance(story, list) else story.lines
    seen = [line for line in lines if report.reads is None or line.action in report.reads]
    rows = [dict(row) for row in report.fold(seen, asked or all_of_it())]
    columns = {column.name for column in report.columns}
    for row in rows:
        assert set(row) == columns
    return rows


def erase(lines: list[Line]) -> list[Line]:
    """The same record after everybody was erased."""
    return [line._replace(disclosed={}, erased=tuple(sorted({*line.disclosed, *line.erased}))) for line in lines]
