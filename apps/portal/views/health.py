"""Whether the portal is alive, for machines."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from apps.grants import services as grants


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when the portal, its database, a clock and a worker are alive; else 503 and what is not, in sentences."""
    health = grants.health()
    return JsonResponse({"ok": health.ok, "problems": list(health.problems)}, status=200 if health.ok else 503)
