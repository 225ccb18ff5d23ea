"""Signing in of the `jit` command: three addresses for the machine, one page for its person."""

import json
from http import HTTPStatus

from allauth.core import ratelimit
from allauth.core.internal import ratelimit as tries
from allauth.idp.oidc.models import Client
from allauth.idp.oidc.views import DeviceCodeView
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from apps.accounts import devices, services
from apps.accounts.adminsite import person
from apps.accounts.forms import DeviceForm
from apps.accounts.models import TokenScope
from apps.accounts.signing import address_of
from apps.accounts.views import TooManyTries
from apps.core.errors import Invalid, PortalError

_new_code = DeviceCodeView.as_view()


@csrf_exempt
@login_not_required
@never_cache
@require_POST
def code(request: HttpRequest) -> HttpResponse:
    """A code to show and one to poll with. `machine` is what it calls itself."""
    if not ratelimit.consume(request, action="device_code"):
        return _refusal("slow_down", "Too many codes were asked for from this address. Wait a minute.", 429)
    response: HttpResponse = _new_code(request)
    if response.status_code == HTTPStatus.OK:
        made = json.loads(response.content)
        devices.remember(
            device_code=made["device_code"],
            machine=request.POST.get("machine", ""),
            address=address_of(request),
            scopes=request.POST.get("scope", "").split() or list(devices.DEFAULT_SCOPES),
            seconds=made["expires_in"],
        )
    return response


@csrf_exempt
@login_not_required
@never_cache
@sensitive_post_parameters("device_code")
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """An API token for a confirmed code, once."""
    if request.POST.get("grant_type") != Client.GrantType.DEVICE_CODE:
        return _refusal("unsupported_grant_type", "Only device codes are exchanged here.", HTTPStatus.BAD_REQUEST)
    try:
        user, asking = devices.poll(request)
    except OAuth2Error as error:
        return HttpResponse(error.json, content_type="application/json", status=error.status_code)
    try:
        made, plaintext = devices.issue(user=user, asking=asking, address=address_of(request))
    except PortalError as refusal:
        return _refusal("access_denied", refusal.sentence, HTTPStatus.BAD_REQUEST)
    return JsonResponse(
        {
            "access_token": plaintext,
            "token_type": "Bearer",
            "expires_in": settings.CLI_TOKEN_DAYS * 86_400,
            "scope": " ".join(made.scopes),
        }
    )


@csrf_exempt
@login_not_required
@never_cache
@sensitive_post_parameters("token")
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """End the token that is sent (RFC 7009): always 200."""
    services.revoke_presented(request.POST.get("token", ""))
    return HttpResponse(status=HTTPStatus.OK)


@never_cache
@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Type the code or come with it; see who asks and for what; say yes or no."""
    said = request.POST if request.method == "POST" else request.GET
    if not said:
        return _code_form(request, DeviceForm())
    form = DeviceForm(said)
    if not form.is_valid():
        return _code_form(request, form, status=Invalid.status)
    try:
        if not tries.consume(request, app="allauth.account", action="device_user_code", limit_get=True):
            raise TooManyTries("Too many codes were tried from this address. Wait a minute.", field="code")
        return _decided(request, form) if "do" in request.POST else _shown(request, form)
    except PortalError as refusal:
        form.add_error("code", refusal.sentence)
        return _code_form(request, form, status=refusal.status)


def _shown(request: HttpRequest, form: DeviceForm) -> HttpResponse:
    user_code = devices.canonical(form.cleaned_data["code"])
    _, asking = devices.waiting(user_code)
    scopes = [(scope.value, scope.label) for scope in TokenScope if scope in asking.scopes]
    context = {"code": user_code, "asking": asking, "scopes": scopes, "days": settings.CLI_TOKEN_DAYS}
    return render(request, "accounts/device_confirm.html", context)


def _decided(request: HttpRequest, form: DeviceForm) -> HttpResponse:
    yes = request.POST["do"] == "confirm"
    asking = devices.decide(actor=person(request), user_code=form.cleaned_data["code"], yes=yes)
    return render(request, "accounts/device_done.html", {"yes": yes, "asking": asking})


def _code_form(request: HttpRequest, form: DeviceForm, *, status: int = 200) -> HttpResponse:
    return render(request, "accounts/device.html", {"form": form}, status=status)


def _refusal(error: str, sentence: str, status: int) -> HttpResponse:
    return JsonResponse({"error": error, "error_description": sentence}, status=status)
