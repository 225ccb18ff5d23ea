"""Pages about coming in, going out, and one's own sessions and tokens. All of them work without JavaScript."""

from urllib.parse import urlencode

from allauth.account.utils import get_next_redirect_url
from allauth.core import ratelimit
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.usersessions.models import UserSession
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from requests import RequestException

from apps.accounts import services, stepping_up
from apps.accounts.adapters import failed
from apps.accounts.adminsite import person
from apps.accounts.forms import EmergencyForm, PasswordForm, ProfileForm, TokenForm
from apps.accounts.models import ApiToken, User
from apps.accounts.signing import address_of, sign_out
from apps.accounts.sso import SsoProtocol
from apps.core import clock
from apps.core.errors import Invalid, NotAllowed, PortalError


class TooManyTries(PortalError):
    """Refused unread: 429."""

    status = 429
    title = "Too many tries"


@login_not_required
@never_cache
@require_GET
def login_page(request: HttpRequest) -> HttpResponse:
    """One door. Whoever is in already goes on."""
    wanted = get_next_redirect_url(request)
    if request.user.is_authenticated:
        return HttpResponseRedirect(wanted or settings.LOGIN_REDIRECT_URL)
    return render(request, "accounts/login.html", {"next": wanted, "sso_name": settings.SSO_NAME})


@login_not_required
@never_cache
@require_GET
def sso_login(request: HttpRequest) -> HttpResponse:
    """Off to the identity provider. A link, because CSP would hold a form to the addresses it names."""
    try:
        response: HttpResponse = SsoProtocol(request).get_provider().redirect_from_request(request)
    except (RequestException, OAuth2Error) as error:
        return failed(request, error)
    return response


@login_not_required
@never_cache
@require_GET
def sso_callback(request: HttpRequest) -> HttpResponse:
    """Back from the identity provider."""
    try:
        response: HttpResponse = OAuth2CallbackView.adapter_view(SsoProtocol(request))(request)
    except (RequestException, OAuth2Error) as error:
        return failed(request, error)
    return response


@login_not_required
@never_cache
@csrf_protect
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def emergency(request: HttpRequest) -> HttpResponse:
    """The door for the day single sign-on is down."""
    form = EmergencyForm(request.POST or None)
    wanted = get_next_redirect_url(request)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            user = _emergency_user(request, **form.cleaned_data)
        except PortalError as refusal:
            form.add_error(None, refusal.sentence)
            status = refusal.status
        else:
            login(request, user)
            request.session.set_expiry(user.emergency_until)
            return HttpResponseRedirect(wanted or settings.LOGIN_REDIRECT_URL)
    return render(request, "accounts/emergency.html", {"form": form, "next": wanted}, status=status)


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def step_up(request: HttpRequest) -> HttpResponse:
    """On the way to proving anew who one is. Goes on by itself, but not as the answer to a form: see sso_login()."""
    actor, wanted = person(request), get_next_redirect_url(request) or settings.LOGIN_REDIRECT_URL
    if actor.emergency_until is not None:
        return _step_up_by_password(request, actor, wanted)
    onward = f"{reverse('sso_step_up')}?{urlencode({'next': wanted})}"
    context = {"onward": onward, "back": wanted, "sso_name": settings.SSO_NAME}
    response = render(request, "accounts/step_up.html", context)
    response["Refresh"] = f"0; url={onward}"
    return response


@never_cache
@require_GET
def sso_step_up(request: HttpRequest) -> HttpResponse:
    """Off to the identity provider, to sign in there anew whatever it remembers."""
    wanted = get_next_redirect_url(request) or settings.LOGIN_REDIRECT_URL
    try:
        provider = SsoProtocol(request).get_provider()
        response: HttpResponse = provider.redirect_to_step_up(request, person(request), wanted)
    except (RequestException, OAuth2Error) as error:
        return failed(request, error, back=wanted)
    return response


@require_POST
def logout_page(request: HttpRequest) -> HttpResponse:
    sign_out(request)
    messages.success(request, "You have signed out.")
    return redirect("account_login")


@require_GET
def sessions(request: HttpRequest) -> HttpResponse:
    found = UserSession.objects.purge_and_list(person(request))
    found.sort(key=lambda session: session.last_seen_at, reverse=True)
    return render(request, "accounts/sessions.html", {"sessions": found})


@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    services.end_session(actor=person(request), session_id=session_id)
    messages.success(request, "The session has ended.")
    return redirect("accounts_sessions")


@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """The list, and the one page on which a new token stands."""
    actor = person(request)
    form = TokenForm(request.POST or None)
    plaintext, status = "", 200
    if request.method == "POST" and form.is_valid():
        try:
            _, plaintext = services.create_token(actor=actor, **form.cleaned_data)
            form, status = TokenForm(), 201
        except PortalError as refusal:
            status = _show(form, refusal)
    elif request.method == "POST":
        status = Invalid.status
    context = {
        "form": form,
        "plaintext": plaintext,
        "tokens": ApiToken.objects.filter(user=actor, revoked_at=None),
        "now": clock.now(),
    }
    return render(request, "accounts/tokens.html", context, status=status)


@require_POST
def revoke_token(request: HttpRequest, token_id: str) -> HttpResponse:
    services.revoke_token(actor=person(request), token_id=token_id)
    messages.success(request, "The token was revoked.")
    return redirect("accounts_tokens")


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    actor = person(request)
    form = ProfileForm(request.POST or None, initial={"time_zone": actor.time_zone})
    if request.method == "POST" and form.is_valid():
        services.set_time_zone(actor=actor, time_zone=form.cleaned_data["time_zone"])
        messages.success(request, "Saved.")
        return redirect("accounts_profile")
    status = Invalid.status if form.errors else 200
    return render(request, "accounts/profile.html", {"form": form, "groups": actor.groups.all()}, status=status)


def _step_up_by_password(request: HttpRequest, actor: User, wanted: str) -> HttpResponse:
    form = PasswordForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            _checked_emergency(request, username=actor.username, password=form.cleaned_data["password"])
            at = clock.now()
            services.step_up_by_password(user=actor, at=at, address=address_of(request))
        except PortalError as refusal:
            form.add_error(None, refusal.sentence)
            status = refusal.status
        else:
            stepping_up.stamp(request, actor, at)
            return HttpResponseRedirect(wanted)
    return render(request, "accounts/step_up.html", {"form": form, "next": wanted, "back": wanted}, status=status)


def _emergency_user(request: HttpRequest, *, username: str, password: str) -> User:
    user = _checked_emergency(request, username=username, password=password)
    services.sign_in_emergency(user=user, address=address_of(request))
    return user


def _checked_emergency(request: HttpRequest, *, username: str, password: str) -> User:
    """Raises TooManyTries and NotAllowed. The password is random: the limit keeps noise out of the record."""
    address = address_of(request)
    if not ratelimit.consume(request, action="emergency", key=f"{address} {username}"):
        raise TooManyTries("Too many tries with this name. Wait a minute.")
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        services.record_refused_emergency(username=username, address=address)
        raise NotAllowed("This is not the name and password of an emergency administrator, or their time has ended.")
    return user


def _show(form: forms.Form, refusal: PortalError) -> int:
    """The sentence beside the field that it is about; the status of the page."""
    form.add_error(refusal.field if refusal.field in form.fields else None, refusal.sentence)
    return refusal.status
