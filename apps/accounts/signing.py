"""Around a page session: where it comes from, and its end."""

from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib.auth import logout
from django.http import HttpRequest


def sign_out(request: HttpRequest) -> None:
    """End this session, and its row in the list of one's sessions."""
    UserSession.objects.filter(session_key=request.session.session_key).delete()
    logout(request)


def address_of(request: HttpRequest) -> str:
    """The client's network address. Raises PermissionDenied where it cannot be told."""
    return str(get_adapter(request).get_client_ip(request))
