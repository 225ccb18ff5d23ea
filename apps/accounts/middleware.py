"""Keeps the list of one's own sessions up to date, without a write on every request."""

import time
from collections.abc import Callable
from typing import Final

from allauth.usersessions.models import UserSession
from django.http import HttpRequest, HttpResponse

_SEEN: Final = "seen_at"
_EVERY_SECONDS: Final = 300


class SessionActivityMiddleware:
    """allauth's own middleware does this with four queries on each request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and time.time() - request.session.get(_SEEN, 0) > _EVERY_SECONDS:
            UserSession.objects.create_from_request(request)
            request.session[_SEEN] = int(time.time())
        return self.get_response(request)
