"""What allauth asks us while it signs somebody in."""

import hmac
import logging
from http import HTTPStatus
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from requests import RequestException

from apps.accounts import claims, services
from apps.accounts.models import User
from apps.accounts.signing import address_of, sign_out
from apps.accounts.sso import PROVIDER_ID, SignInFailed, SsoProvider
from apps.core.errors import NotAllowed, PortalError

_log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody makes an account of their own, and signing in needs no message."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """The page that follows says enough."""

    def logout(self, request: HttpRequest) -> None:
        sign_out(request)


class SsoAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """One provider, from settings; people are found by (issuer, sub) and by nothing else."""

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[Any]:
        """Only what stands in settings: a row in the database could name another provider."""
        return [app for app in super().list_apps(request, provider, client_id) if app.pk is None]

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> SsoProvider:
        if provider != PROVIDER_ID:
            raise SocialApp.DoesNotExist
        return SsoProvider(request, app=self.get_app(request, provider=PROVIDER_ID))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """The claims are verified; whose they are is decided here, and never by a name or an address."""
        said = sociallogin.account.extra_data
        try:
            sociallogin.user = self._person(request, said, nonce=sociallogin.state.get("nonce"))
        except PortalError as refusal:
            services.record_refused_sign_in(
                issuer=settings.SSO_ISSUER,
                subject=sociallogin.account.uid if sociallogin.account.uid.isprintable() else "",
                why=refusal.sentence,
                address=address_of(request),
            )
            raise ImmediateHttpResponse(refused(request, refusal.sentence, status=refusal.status)) from refusal

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: str | None = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Every failure before that: a page with a sentence and a way back."""
        raise ImmediateHttpResponse(failed(request, exception, cancelled=error == AuthError.CANCELLED))

    def _person(self, request: HttpRequest, said: dict[str, Any], *, nonce: str | None) -> AbstractBaseUser:
        if not nonce or not hmac.compare_digest(nonce.encode(), str(said.get("nonce", "")).encode()):
            raise NotAllowed("This answer of single sign-on belongs to another sign-in. Start again.")
        vouched = claims.read(said, issuer=settings.SSO_ISSUER, groups_claim=settings.SSO_GROUPS_CLAIM)
        user: User = services.sign_in_from_sso(vouched=vouched, address=address_of(request))
        return user


def failed(request: HttpRequest, exception: Exception | None, *, cancelled: bool = False) -> HttpResponse:
    """The page for a sign-in that came to nothing; details go to the log."""
    if cancelled:
        return refused(request, "The sign-in was cancelled at single sign-on.", status=HTTPStatus.FORBIDDEN)
    _log.warning("single sign-on failed: %r", exception)
    if isinstance(exception, SignInFailed):
        return refused(request, str(exception), status=HTTPStatus.FORBIDDEN)
    if isinstance(exception, RequestException):
        return refused(
            request, "Single sign-on cannot be reached just now. Try again in a moment.", status=HTTPStatus.BAD_GATEWAY
        )
    return refused(
        request,
        "This sign-in could not be completed: it was started elsewhere, is too old, or was used already. Start again.",
        status=HTTPStatus.BAD_REQUEST,
    )


def refused(request: HttpRequest, sentence: str, *, status: int) -> HttpResponse:
    response = render(request, "accounts/refused.html", {"sentence": sentence}, status=status)
    response["Cache-Control"] = "no-store"
    return response
