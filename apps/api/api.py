"""The JSON API: thin routers over the same verbs that the pages call. Contract: docs of design §8."""

from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from apps.api import problems
from apps.api.auth import PerPerson
from apps.api.routers import audit, console, databases, grants, me, reports, requests
from apps.console.errors import TooMany
from apps.core.errors import NotSeen, PortalError

PER_MINUTE: Final = "1200/m"  # of one person, by one process

api = NinjaAPI(
    title="jitportal",
    version="1",
    description="Just-in-time access to databases. Bearer tokens, RFC 9457 problems, UTC RFC 3339 times.",
    docs_url=None,  # its page loads scripts from elsewhere; the document itself is at openapi.json
    openapi_url="/openapi.json",
    urls_namespace="api",
    throttle=[PerPerson(PER_MINUTE)],
)
api.add_router("", me.router)
api.add_router("", databases.router)
api.add_router("", requests.router)
api.add_router("", grants.router)
api.add_router("", console.router)
api.add_router("", audit.router)
api.add_router("", reports.router)


@api.exception_handler(PortalError)
def refuse(request: HttpRequest, error: PortalError) -> HttpResponse:
    answer = problems.response(error.status, error.title, error.sentence, field=error.field, more=error.more)
    if error.status == NotSeen.status:
        answer["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany):
        answer["Retry-After"] = str(error.retry_after)
    return answer


@api.exception_handler(Throttled)
def throttled(request: HttpRequest, error: Throttled) -> HttpResponse:
    answer = problems.response(429, "Too many", "You have sent too many requests: wait for a moment.")
    answer["Retry-After"] = str(max(1, int(error.wait or 1)))
    return answer


@api.exception_handler(AuthenticationError)
def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    answer = problems.response(
        401,
        "Who are you?",
        "The API token is missing, has ended or was revoked: send a valid one as `Authorization: Bearer …`.",
    )
    answer["WWW-Authenticate"] = "Bearer"
    return answer


@api.exception_handler(ValidationError)
def malformed(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return problems.of_validation(error.errors)


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problems.response(error.status_code, "This request cannot be read", str(error))


@api.exception_handler(Http404)
def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problems.response(404, "Not found", "Nothing here, or nothing that you may see.")
