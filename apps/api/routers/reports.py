"""Reports folded from the record, for auditors. Each one that is taken is recorded."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Status

from apps.accounts.models import TokenScope
from apps.api.auth import Token, user_of
from apps.api.represent import moment
from apps.api.schemas import BundleIn, BundleOut, BundlePage, ReportPage, ReportQuery, ReportSaidOut
from apps.reports import bundles
from apps.reports import services as reports
from apps.reports.listing import REPORTS
from apps.reports.models import Bundle
from apps.reports.responses import as_file, as_zip

router = Router(tags=["reports"])


@router.get("/reports", response=ReportPage, auth=Token(TokenScope.AUDIT))
def listed(request: HttpRequest) -> dict[str, Any]:
    """What there is, with the meaning of each column."""
    reports.require_auditor(user_of(request))
    items = [
        {
            "name": report.name,
            "title": report.title,
            "answers": report.answers,
            "counts": report.counts,
            "parameters": reports.parameters(report),
            "columns": [{"name": column.name, "meaning": column.meaning} for column in report.columns],
        }
        for report in REPORTS.values()
    ]
    return {"items": items, "next": None}


@router.get("/reports/{name}.csv", auth=Token(TokenScope.AUDIT))
def as_csv(request: HttpRequest, name: str, given: Query[ReportQuery]) -> StreamingHttpResponse:
    """The rows, streamed: the header line first. The same parameters and `size` give the same bytes again."""
    return as_file(_taken(request, name, given, "csv"))


@router.get("/reports/{name}.json", response=ReportSaidOut, by_alias=True, auth=Token(TokenScope.AUDIT))
def as_json(request: HttpRequest, name: str, given: Query[ReportQuery]) -> Mapping[str, Any]:
    """What belongs to the file: how many entries and rows, its SHA-256, and the part of the record behind it."""
    taken = _taken(request, name, given, "json")
    reports.first_rows(taken, at_most=0)
    return reports.said(taken)


@router.post("/bundles", response={201: BundleOut}, by_alias=True, auth=Token(TokenScope.AUDIT))
def want_bundle(request: HttpRequest, body: BundleIn) -> Status[dict[str, Any]]:
    """Ask for the evidence of a period as one file, which a worker makes: entries, texts, signed heads, reports."""
    made = bundles.want_bundle(
        actor=user_of(request),
        since=reports.moment(body.since, field="from"),
        until=reports.moment(body.until, field="to"),
        reports=body.reports,
    )
    return Status(201, _bundle(made))


@router.get("/bundles", response=BundlePage, by_alias=True, auth=Token(TokenScope.AUDIT))
def listed_bundles(request: HttpRequest) -> dict[str, Any]:
    """The newest hundred that auditors have asked for."""
    return {"items": [_bundle(one) for one in bundles.bundles_of(user_of(request))[:100]], "next": None}


@router.get("/bundles/{bundle_id}", response=BundleOut, by_alias=True, auth=Token(TokenScope.AUDIT))
def bundle(request: HttpRequest, bundle_id: str) -> dict[str, Any]:
    """How far one is."""
    return _bundle(bundles.bundle_of(user_of(request), bundle_id))


@router.get("/bundles/{bundle_id}/file", auth=Token(TokenScope.AUDIT))
def bundle_file(request: HttpRequest, bundle_id: str) -> StreamingHttpResponse:
    """The zip; that it is taken is recorded first."""
    return as_zip(*bundles.take_bundle(actor=user_of(request), bundle_id=bundle_id))


def _bundle(one: Bundle) -> dict[str, Any]:
    return {
        "id": one.pk,
        "status": one.status,
        "from": moment(one.since),
        "to": moment(one.until),
        "reports": one.reports,
        "wanted_by": one.wanted_by.username,
        "wanted_at": moment(one.wanted_at),
        "done": one.done,
        "total": one.total,
        "problem": one.problem,
        "name": one.file_name,
        "bytes": one.bytes,
        "sha256": one.sha256,
        "expires_at": moment(one.expires_at) if one.expires_at else None,
    }


def _taken(request: HttpRequest, name: str, given: ReportQuery, as_what: str) -> reports.Taken:
    actor = user_of(request)
    reports.require_auditor(actor)
    wanted = reports.Wanted(
        since=reports.moment(given.since, field="from"),
        until=reports.moment(given.until, field="to"),
        person=given.person,
        database=given.database,
        size=given.size,
    )
    return reports.take(actor=actor, name=name, wanted=wanted, as_what=as_what)
