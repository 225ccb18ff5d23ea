"""A report, or a bundle of evidence, as a download, for pages and API alike."""

from collections.abc import Iterator

from django.http import StreamingHttpResponse

from apps.reports.models import Bundle
from apps.reports.services import Taken, in_pieces


def as_file(taken: Taken) -> StreamingHttpResponse:
    """Streamed, the header line first. What it is folded from goes ahead of it; its digest is in JSON and page."""
    response = StreamingHttpResponse(in_pieces(taken.csv()), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{taken.file_name}"'
    response["Record-Size"] = str(taken.checkpoint.size)
    response["Record-Hash"] = taken.checkpoint.hash
    return response


def as_zip(bundle: Bundle, pieces: Iterator[bytes]) -> StreamingHttpResponse:
    """Its length goes ahead, so that a part of it does not look whole."""
    response = StreamingHttpResponse(pieces, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{bundle.file_name}"'
    response["Content-Length"] = str(bundle.bytes)
    response["Cache-Control"] = "no-store"
    return response
