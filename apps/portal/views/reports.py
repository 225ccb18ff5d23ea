"""Reports folded from the record, for auditors. Each one that is shown or taken along is recorded."""

from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.signing import signing_key
from apps.core.errors import Conflict, Invalid
from apps.portal.charts import Chart, bars
from apps.portal.context import surroundings
from apps.portal.forms import BundleForm, ReportForm
from apps.reports import bundles as evidence
from apps.reports import services as reports
from apps.reports.base import Report, Row
from apps.reports.listing import REPORTS
from apps.reports.responses import as_file, as_zip
from apps.reports.services import Taken
from apps.reports.weeks import RISKS, Week

_SHOWN: Final = 200  # rows on a page; the file has all of them
_QUICK: Final = 20_000  # entries that are read while nobody notices
_WEEKS: Final = 12
_BUNDLES: Final = 50


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What there is, and which question each one answers."""
    _reader(request)
    return render(request, "portal/reports.html", {"reports": REPORTS.values()})


@require_safe
def show(request: HttpRequest, name: str) -> HttpResponse:
    """One report: first its form, and when that is sent its rows; of a long record they come after the page."""
    reader = _reader(request)
    report = reports.named(name)
    form = ReportForm(request.GET) if request.GET else ReportForm(initial=_usual(request))
    context: dict[str, Any] = {"report": report, "form": form}
    taken = None
    try:
        if form.is_bound and (wanted := form.wanted()):
            if _takes_long(request):
                reports.check(name, wanted)
                return render(request, "portal/report.html", context | {"coming": audit.head().size})
            taken = reports.take(actor=reader, name=name, wanted=wanted, as_what="page")
    except Invalid as error:
        form.refuse(error)
    if taken is not None:
        context |= _shown(taken) | {"at": surroundings(request).now}
    return render(request, "portal/report.html", context, status=422 if form.errors else 200)


@require_safe
def charts(request: HttpRequest) -> HttpResponse:
    """What a look shows better than a table. Reading it is recorded as any reading of the record."""
    reader = _reader(request)
    figures = reports.weekly(actor=reader, weeks=_WEEKS)
    context = {
        "weeks": figures.weeks,
        "risks": RISKS,
        "entry_count": figures.entry_count,
        "size": figures.size,
        "hours": bars([(_word(week), list(week.hours.items())) for week in figures.weeks], stacked=True),
        "approve": _two(figures.weeks, "approve", per=60),
        "revoke": _two(figures.weeks, "revoke", per=1),
    }
    return render(request, "portal/report_charts.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def bundles(request: HttpRequest) -> HttpResponse:
    """Evidence bundles: a form for another one, and how far each is."""
    reader = _reader(request)
    form = BundleForm(request.POST) if request.method == "POST" else BundleForm(initial=_last_month(request))
    if form.is_bound:
        try:
            since, until = form.period()
            evidence.want_bundle(actor=reader, since=since, until=until, reports=form.chosen())
        except (Invalid, Conflict) as error:
            form.refuse(error)
        else:
            return HttpResponseRedirect(reverse("portal:bundles"))
    found = list(evidence.bundles_of(reader)[:_BUNDLES])
    context = {
        "form": form,
        "reports": REPORTS.values(),
        "chosen": form.chosen() or list(REPORTS),
        "bundles": found,
        "is_moving": any(bundle.is_moving for bundle in found),
        "key": signing_key(),
    }
    return render(request, "portal/bundles.html", context, status=422 if form.errors else 200)


@require_safe
def bundle_file(request: HttpRequest, bundle_id: str) -> StreamingHttpResponse:
    return as_zip(*evidence.take_bundle(actor=_reader(request), bundle_id=bundle_id))


@require_safe
def download(request: HttpRequest, name: str) -> HttpResponse | StreamingHttpResponse:
    """All rows, streamed."""
    reader = _reader(request)
    form = ReportForm(request.GET)
    try:
        taken = reports.take(actor=reader, name=name, wanted=form.wanted(), as_what="csv")
    except Invalid as error:
        form.refuse(error)
        context = {"report": reports.named(name), "form": form}
        return render(request, "portal/report.html", context, status=422)
    return as_file(taken)


def _takes_long(request: HttpRequest) -> bool:
    """Whether somebody would look at nothing for a second; whoever waits already is not told again."""
    return "HX-Request" not in request.headers and "now" not in request.GET and audit.head().size > _QUICK


def _two(weeks: list[Week], what: str, *, per: int) -> Chart:
    """Median and longest of each week, side by side."""
    columns = [
        (_word(week), [(kind, (getattr(week, f"{what}_{kind}") or 0) / per) for kind in ("median", "most")])
        for week in weeks
    ]
    return bars(columns, stacked=False)


def _word(week: Week) -> str:
    return f"{week.begins.day}.{week.begins.month}."


def _reader(request: HttpRequest) -> User:
    user = person(request)
    reports.require_auditor(user)
    return user


def _last_month(request: HttpRequest) -> dict[str, str]:
    """The last whole month."""
    until = surroundings(request).now.replace(day=1)
    since = (until - timedelta(days=1)).replace(day=1)
    return {"since": f"{since:%Y-%m-%d}", "until": f"{until:%Y-%m-%d}"}


def _usual(request: HttpRequest) -> dict[str, str]:
    """The last 30 days, today included."""
    until = surroundings(request).now + timedelta(days=1)
    return {"since": f"{until - reports.USUAL:%Y-%m-%d}", "until": f"{until:%Y-%m-%d}"}


def _shown(taken: Taken) -> dict[str, Any]:
    """All of it is read, for its numbers and its digest; the first rows are kept."""
    rows = reports.first_rows(taken, at_most=_SHOWN)
    said = reports.said(taken)
    columns = {name: name.replace("_", " ").capitalize() for name in _columns(taken.report)}
    return {
        "taken": taken,
        "said": said,
        # The file is of the same part of the record, so that it has this digest.
        "kept": {
            name: value
            for name, value in {
                "since": said["from"],
                "until": said["to"],
                "person": said["person"],
                "database": said["database"],
                "size": taken.checkpoint.size,
            }.items()
            if value
        },
        "columns": columns.items(),
        "rows": [
            [(name, words, _cell(name, row), _entries(name, row)) for name, words in columns.items()] for row in rows
        ],
        "is_cut": taken.row_count > len(rows),
    }


def _columns(report: Report) -> list[str]:
    """Without opaque ids, where a name stands beside them."""
    return [column.name for column in report.columns if not column.name.endswith("_id")]


def _cell(name: str, row: Row) -> str:
    """Times to the second: the file has all of them."""
    value = row[name]
    text = "" if value is None else str(value)
    is_time = name == "at" or name.endswith("_at")
    return text[:19].replace("T", " ") if is_time else text


def _entries(name: str, row: Row) -> list[tuple[str, int]]:
    """What is shown of each entry, and in front of which one the record's page has to begin."""
    if name != "entries":
        return []
    return [(span, int(span.rpartition("-")[2]) + 1) for span in str(row[name]).split()]
