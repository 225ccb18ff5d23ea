"""What must be true of the portal and its target at any moment, whatever has just broken."""

from dataclasses import dataclass
from itertools import combinations

from apps.audit import services as audit
from apps.core import clock
from apps.engines.postgresql import names
from apps.grants.models import Grant, ServerLease
from apps.grants.states import LIVE, OVER, GrantStatus
from tests.grants.stage import told
from tests.support.soak import SOAK
from tests.support.targets import TargetServer

_PLAIN = ("sales.orders", "sales.order_lines", "stock.products", "stock.levels", '"Odd.Name"."T"')
# A scope of its own for each, so that making it is part of the work: its statements come first.
SCOPES = [tables for size in (1, 2, 3) for tables in combinations(_PLAIN, size)]


@dataclass(frozen=True)
class World:
    """One target, and all grants of the portal."""

    target: TargetServer

    def holds(self) -> None:
        """The promises that hold at every moment."""
        grants = {grant.login: grant for grant in Grant.objects.all()}
        for login, may_log_in, sessions in self._logins():
            grant = grants.get(login)
            if grant is None:
                continue  # of a test before
            assert not may_log_in or grant.status in LIVE, f"{login} may log in, but its grant is {grant.status}"
            assert not sessions or grant.status in LIVE, f"{login} has {sessions} sessions, but is {grant.status}"
            assert "grant.issuing" in told(grant), f"{login} is there, and nobody has said that it would be made"
        for grant in grants.values():
            self._keeps_its_order(grant)

    def is_at_peace(self) -> None:
        """And those that hold when all is done: nothing is left, and the record is whole."""
        self.holds()
        there = {login for login, _, _ in self._logins()}
        for grant in Grant.objects.all():
            assert grant.status in OVER, f"{grant.login}: {grant.status}, {grant.problem}"
            assert grant.login not in there
            assert grant.password is None
        assert audit.verify().ok

    def _logins(self) -> list[tuple[str, bool, int]]:
        """Each login of the portal: its name, whether it may log in now, and how many sessions it has."""
        with self.target.admin() as admin:
            return admin.execute(
                "SELECT rolname::text, rolcanlogin AND coalesce(rolvaliduntil > clock_timestamp(), true),"
                " (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)"
                " FROM pg_roles r WHERE shobj_description(oid, 'pg_authid') LIKE %s AND rolname ~ '^jit_'",
                [f"{names.comment('testportal', '')}%"],
            ).fetchall()

    def _keeps_its_order(self, grant: Grant) -> None:
        """Intent before effect, each once."""
        usual = ["grant.queued", "grant.issuing", "grant.issued", "grant.ending", "grant.ended"]
        story = [action for action in told(grant) if action in usual]
        assert story == usual[: len(story)], story
        if grant.status == GrantStatus.ENDED:
            assert story[-1] == "grant.ended"


def leases_run_out() -> None:
    """As much time passes as others wait for a dead worker, and for their own next try."""
    now = clock.now()
    ServerLease.objects.exclude(until=None).update(until=now)
    Grant.objects.exclude(claimed_until=None).update(claimed_until=now)
    Grant.objects.exclude(next_try_at=None).filter(next_try_at__gt=now).update(next_try_at=now)


def some(total: int, few: int) -> list[int]:
    """1 to `total`; in the short profile `few` of them, spread evenly, the first and the last included."""
    if SOAK or total <= few:
        return list(range(1, total + 1))
    return sorted({1 + round(index * (total - 1) / (few - 1)) for index in range(few)})
