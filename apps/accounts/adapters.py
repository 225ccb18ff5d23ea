"""What allauth asks us while it signs somebody in."""

import hmac
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from requests import RequestException

from apps.accounts import claims, services, stepping_up
from apps.accounts.claims import Vouched
from apps.accounts.models import User
from apps.accounts.signing import address_of, sign_out
from apps.accounts.sso import PROVIDER_ID, SignInFailed, SsoLogin, SsoProvider
from apps.core import clock
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

    def pre_social_login(self, request: HttpRequest, sociallogin: SsoLogin) -> None:
        """The claims are verified; whose they are is decided here, and never by a name or an address."""
        state = sociallogin.state
        try:
            vouched = self._vouched(sociallogin.account.extra_data, nonce=state.get("nonce"))
            if stepping_up.STATE in state:
                self._step_up(request, sociallogin, vouched)
                raise ImmediateHttpResponse(HttpResponseRedirect(_after(state)))
            sociallogin.user = services.sign_in_from_sso(vouched=vouched, address=address_of(request))
        except PortalError as refusal:
            services.record_refused_sign_in(
                issuer=settings.SSO_ISSUER,
                subject=sociallogin.account.uid if sociallogin.account.uid.isprintable() else "",
                why=refusal.sentence,
                address=address_of(request),
            )
            page = refused(request, refusal.sentence, status=refusal.status, back=_after(state))
            raise ImmediateHttpResponse(page) from refusal

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: str | None = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Every failure before that: a page with a sentence and a way back."""
        back = _after((extra_context or {}).get("state") or {})
        raise ImmediateHttpResponse(failed(request, exception, cancelled=error == AuthError.CANCELLED, back=back))

    def _vouched(self, said: dict[str, Any], *, nonce: str | None) -> Vouched:
        if not nonce or not hmac.compare_digest(nonce.encode(), str(said.get("nonce", "")).encode()):
            raise NotAllowed("This answer of single sign-on belongs to another sign-in. Start again.")
        return claims.read(said, issuer=settings.SSO_ISSUER, groups_claim=settings.SSO_GROUPS_CLAIM)

    def _step_up(self, request: HttpRequest, sociallogin: SsoLogin, vouched: Vouched) -> None:
        """Whoever is signed in stays signed in; only the very same person gets a stamp."""
        trip = stepping_up.RoundTrip.from_json(sociallogin.state[stepping_up.STATE])
        if not isinstance(request.user, User) or request.user.pk != trip.user:
            raise NotAllowed("This proof was begun by somebody else. Sign in, and start again.")
        at = trip.signed_in_at(sociallogin.signed, clock.now())
        user = services.step_up_from_sso(user=request.user, vouched=vouched, at=at, address=address_of(request))
        stepping_up.stamp(request, user, at)


def failed(
    request: HttpRequest, exception: Exception | None, *, cancelled: bool = False, back: str = "/"
) -> HttpResponse:
    """The page for a sign-in that came to nothing; details go to the log."""
    if cancelled:
        return refused(request, "The sign-in was cancelled at single sign-on.", status=HTTPStatus.FORBIDDEN, back=back)
    _log.warning("single sign-on failed: %r", exception)
    if isinstance(exception, SignInFailed):
        return refused(request, str(exception), status=HTTPStatus.FORBIDDEN, back=back)
    if isinstance(exception, RequestException):
        sentence = "Single sign-on cannot be reached just now. Try again in a moment."
        return refused(request, sentence, status=HTTPStatus.BAD_GATEWAY, back=back)
    sentence = (
        "This sign-in could not be completed: it was started elsewhere, is too old, or was used already. Start again."
    )
    return refused(request, sentence, status=HTTPStatus.BAD_REQUEST, back=back)


def _after(state: Mapping[str, Any]) -> str:
    """Where the round trip was to lead; the view that began it has seen that it is an address of ours."""
    return str(state.get("next") or settings.LOGIN_REDIRECT_URL)


def refused(request: HttpRequest, sentence: str, *, status: int, back: str = "/") -> HttpResponse:
    """`back` is for whoever is signed in, and stays so."""
    response = render(request, "accounts/refused.html", {"sentence": sentence, "back": back}, status=status)
    response["Cache-Control"] = "no-store"
    return response
