"""Every address of the portal."""

from django.urls import include, path

from apps.accounts.adminsite import portal_admin
from apps.api.api import api

urlpatterns = [
    path("admin/", portal_admin.urls),
    path("accounts/", include("apps.accounts.urls")),
    path("device/", include("apps.accounts.device_urls")),
    path("api/v1/", api.urls),
    path("", include("apps.portal.urls")),
]

handler400 = "apps.portal.views.errors.bad_request"
handler403 = "apps.portal.views.errors.forbidden"
handler404 = "apps.portal.views.errors.not_found"
handler500 = "apps.portal.views.errors.server_error"
