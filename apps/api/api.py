"""The JSON API: thin routers over the same verbs that the pages call. Contract: docs of design §8."""

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from apps.api import problems
from apps.api.routers import audit, databases, grants, me, requests
from apps.core.errors import NotSeen, PortalError

api = NinjaAPI(
    title="jitportal",
    version="1",
    description="Just-in-time access to databases. Bearer tokens, RFC 9457 problems, UTC RFC 3339 times.",
    docs_url=None,  # its page loads scripts from elsewhere; the document itself is at openapi.json
    openapi_url="/openapi.json",
    urls_namespace="api",
)
api.add_router("", me.router)
api.add_router("", databases.router)
api.add_router("", requests.router)
api.add_router("", grants.router)
api.add_router("", audit.router)


@api.exception_handler(PortalError)
def refuse(request: HttpRequest, error: PortalError) -> HttpResponse:
    answer = problems.response(error.status, error.title, error.sentence, field=error.field)
    if error.status == NotSeen.status:
        answer["WWW-Authenticate"] = "Bearer"
    return answer


@api.exception_handler(AuthenticationError)
def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    answer = problems.response(401, "Who are you?", "Send a valid API token as `Authorization: Bearer …`.")
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
