"""A worker looks at a server: what is missing or dangerous there, and how far its clock is off."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.conf import settings

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog import exposure
from apps.catalog.models import Server
from apps.catalog.targets import engine_for, target_for
from apps.core import clock
from apps.core.errors import NotFound, PortalError
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Engine, EngineError, Exposure, Finding, Severity, Target

_WORST_FIRST: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.OK: 2}
_SKEW_SAMPLES: Final = 3
# What the answer was about: if any of it has changed meanwhile, the answer is about another server.
_LOOKED_AT: Final = ("host", "port", "tls", "ca_certificate", "manager", "manager_secret", "maintenance_database")


@dataclass(frozen=True)
class _Look:
    findings: tuple[Finding, ...]  # worst first
    skew: timedelta | None  # of the server's clock against the portal's; None where it could not be read
    exposure: dict[str, list[Exposure]] = field(default_factory=dict)  # by the database's id


def run_preflight(server_id: str) -> None:
    """Look at a server and keep what is found. Asking the server happens outside of any transaction."""
    try:
        server = Server.objects.get(pk=server_id)
    except Server.DoesNotExist as error:
        raise NotFound("There is no such server.") from error
    _keep(seen=server, look=_look(server))


def _look(server: Server) -> _Look:
    databases = list(server.databases.filter(is_active=True).select_related("server").order_by("datname"))
    try:
        engine, target = engine_for(server), target_for(server)
        findings = engine.preflight(target, [database.datname for database in databases])
    except (PortalError, EngineError) as problem:
        return _Look((Finding(Severity.ERROR, problem.sentence),), None)
    skew = _skew(engine, target)
    if skew is not None and abs(skew) > timedelta(seconds=settings.MAX_SKEW_SECONDS):
        findings.append(_skewed(skew))
    # A server that does not tell the time will not answer this either.
    looks = exposure.look_at([] if skew is None else databases, target)
    findings += looks.findings
    return _Look(tuple(sorted(findings, key=lambda finding: _WORST_FIRST[finding.severity])), skew, looks.found)


def _skew(engine: Engine, target: Target) -> timedelta | None:
    """From the quickest of a few answers: the truth lies within the time that one took."""
    samples = []
    for _ in range(_SKEW_SAMPLES):
        before = clock.now()
        try:
            theirs = engine.now(target)
        except EngineError:  # then the preflight itself has said why the server cannot be asked
            return None
        took = clock.now() - before
        samples.append((took, theirs - before - took / 2))
    return min(samples)[1]


def _skewed(skew: timedelta) -> Finding:
    seconds = round(abs(skew).total_seconds())
    where = "ahead of" if skew > timedelta(0) else "behind"
    return Finding(
        Severity.ERROR,
        f"The server's clock is {seconds} s {where} the portal's; access would end "
        f"at the wrong time. At most {settings.MAX_SKEW_SECONDS} s are allowed: let both follow one time source.",
    )


@verb
def _keep(*, seen: Server, look: _Look) -> None:
    server = Server.objects.select_for_update(no_key=True).get(pk=seen.pk)
    if any(getattr(server, name) != getattr(seen, name) for name in _LOOKED_AT):
        return  # the wish to look stays, and the next look is at what the server is now
    findings = [asdict(finding) for finding in look.findings]
    wanted = server.check_wanted_at is not None
    changed = server.checked_at is None or _sentences(findings) != _sentences(server.findings)
    if server.check_wanted_at == seen.check_wanted_at:
        server.check_wanted_at = None
    server.findings, server.checked_at = findings, clock.now()
    server.skew_seconds = None if look.skew is None else look.skew.total_seconds()
    server.save(update_fields=["findings", "checked_at", "check_wanted_at", "skew_seconds"])
    exposure.keep(look.exposure)
    if changed or wanted:
        _record(server, look)
        nudge()


def _record(server: Server, look: _Look) -> None:
    count = {severity: sum(finding.severity == severity for finding in look.findings) for severity in Severity}
    bad = [finding.sentence for finding in look.findings if finding.severity != Severity.OK]
    audit.record(
        Action.SERVER_PREFLIGHTED,
        actor="worker",
        subject=server.audit_id,
        facts={
            "errors": count[Severity.ERROR],
            "warnings": count[Severity.WARNING],
            "skew_ms": None if look.skew is None else look.skew // timedelta(milliseconds=1),
        },
        disclosed={"findings": "\n".join(bad)} if bad else {},
    )


def _sentences(findings: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(finding["severity"], finding["sentence"]) for finding in findings]
