"""Bearer tokens, each held to its scopes."""

from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.throttling import SimpleRateThrottle

from apps.accounts import tokens
from apps.accounts.models import ApiToken, TokenScope, User
from apps.core.errors import NotAllowed


class Token(HttpBearer):
    """Lets in whoever holds a live token with this scope."""

    openapi_name = "token"

    def __init__(self, scope: TokenScope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        found = tokens.authenticate_token(token)
        if found is None:
            return None
        if self.scope.value not in found.scopes:
            raise NotAllowed(f"This token lacks the scope `{self.scope.value}`: {self.scope.label}.")
        request.user = found.user
        return found


def user_of(request: HttpRequest) -> User:
    """The person behind the token; the body never says who acts (field notes A4)."""
    token: Any = request.auth  # type: ignore[attr-defined]  # ninja sets it
    return token.user  # type: ignore[no-any-return]


class PerPerson(SimpleRateThrottle):
    """So many calls of one person, whatever token they take. Statements have a limit of their own, over all processes
    (apps.console.record).
    """

    scope = "person"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        token: Any = getattr(request, "auth", None)
        return f"api:person:{token.user_id}" if token is not None else None
