"""Signing in of the `jit` command. The names are those by which allauth finds the page of confirmation."""

from django.urls import include, path

from apps.accounts import device_views

app_name = "idp"
_oidc = (
    [
        path("", device_views.confirm, name="device_authorization"),
        path("code", device_views.code, name="device_code"),
        path("token", device_views.token, name="token"),
        path("revoke", device_views.revoke, name="revoke"),
    ],
    "oidc",
)
urlpatterns = [path("", include(_oidc))]
