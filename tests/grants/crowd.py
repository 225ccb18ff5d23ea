"""Many live grants at once: rows as the verbs would have made them, cloned from one that they have made."""

from datetime import datetime

from apps.core.ids import new_id
from apps.engines.postgresql import names
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.requests.models import AccessRequest


def crowd(one: Grant, size: int, *, ends_at: datetime | None = None) -> list[Grant]:
    """So many more like `one`, which is live; there is nothing of them on the target."""
    requests, grants = [], []
    for _ in range(size):
        request = AccessRequest.objects.get(pk=one.request_id)
        request.pk, request.status = new_id(), "pending"
        requests.append(request)
        grant_id = new_id()
        made = {name: getattr(one, name) for name in _ALIKE}
        login = names.login_name("crowd", grant_id)
        grants.append(Grant(id=grant_id, request=request, login=login, **made, expires_at=ends_at or one.expires_at))
    AccessRequest.objects.bulk_create(requests)
    AccessRequest.objects.filter(status="pending").update(status="approved")
    Grant.objects.bulk_create(grants)
    ids = [grant.pk for grant in grants]
    Grant.objects.filter(pk__in=ids).update(status=GrantStatus.ACTIVE, starts_at=one.starts_at, password=one.password)
    return list(Grant.objects.filter(pk__in=ids))


_ALIKE = (
    *("holder_id", "database_id", "server_id", "connection", "scope", "scope_digest", "scope_role", "minutes"),
    *("queued_at", "evidence"),
)
