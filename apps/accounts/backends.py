"""How a page session finds its person. Asked on every request, so that an end is felt at once."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from apps.accounts.models import User
from apps.accounts.roles import is_welcome


class EmergencyBackend(ModelBackend):
    """The local emergency administrator: a password, until a set time. Nobody else has a password here."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if not username or not password:
            return None
        user = User.objects.filter(username=username, emergency_until__isnull=False).first()
        if user is None:
            make_password(password)  # as slow as for a name that is there
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None

    def user_can_authenticate(self, user: AbstractBaseUser | AnonymousUser | None) -> bool:
        return isinstance(user, User) and user.emergency_until is not None and is_welcome(user)


class SsoBackend(AuthenticationBackend):  # type: ignore[misc]
    """Everybody else: allauth signs them in, and no password ever does."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        return None

    def user_can_authenticate(self, user: AbstractBaseUser | None) -> bool:
        return isinstance(user, User) and user.emergency_until is None and is_welcome(user)
