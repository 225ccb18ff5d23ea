"""Who am I."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from apps.accounts.models import TokenScope
from apps.api.auth import Token, user_of
from apps.api.schemas import Me

router = Router(tags=["me"])


@router.get("/me", response=Me, auth=Token(TokenScope.READ))
def me(request: HttpRequest) -> dict[str, Any]:
    """The person behind the token, their groups and what the token may do."""
    user = user_of(request)
    groups = list(user.groups.select_related("profile").order_by("name"))
    duties = [group.profile.duty for group in groups if getattr(group, "profile", None) and group.profile.duty]
    return {
        "id": user.pk,
        "username": user.username,
        "name": user.name,
        "email": user.email,
        "time_zone": user.time_zone,
        "groups": [group.name for group in groups],
        "duties": sorted(duties),
        "scopes": request.auth.scopes,  # type: ignore[attr-defined]
    }
