"""All reports there are, in the order in which pages and documents show them."""

from typing import Final

from apps.reports.access import ACCESS_GRANTS, ACTIVE_ACCESS, SENSITIVE_ACCESS
from apps.reports.base import Report
from apps.reports.changes import CHANGES, DENIED, RECORD_READERS
from apps.reports.decisions import APPROVALS
from apps.reports.drift import DRIFT
from apps.reports.ends import REVOCATION_TIMELINESS
from apps.reports.glass import BREAK_GLASS
from apps.reports.integrity import LOG_INTEGRITY
from apps.reports.statements import STATEMENTS

REPORTS: Final[dict[str, Report]] = {
    report.name: report
    for report in (
        ACCESS_GRANTS,
        APPROVALS,
        REVOCATION_TIMELINESS,
        ACTIVE_ACCESS,
        SENSITIVE_ACCESS,
        BREAK_GLASS,
        CHANGES,
        DENIED,
        DRIFT,
        STATEMENTS,
        LOG_INTEGRITY,
        RECORD_READERS,
    )
}
