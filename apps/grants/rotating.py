"""Encrypting anew after a key was rotated: everything that is kept opens with the newest keys afterwards."""

from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from apps.accounts.actors import Actor, actor_id
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.rotating import reseal_secrets
from apps.core import sealed
from apps.core.errors import PortalError
from apps.core.verbs import verb
from apps.grants.issuing import encrypted_anew
from apps.grants.models import Grant

_BATCH: Final = 500


def rotate_keys(*, actor: Actor) -> tuple[int, int]:
    """(servers, grants) whose secrets were sealed or encrypted anew. Again and again does no harm.

    Raises NotAllowed, and PortalError for a secret that no key at hand opens: then the old keys must stay.
    """
    servers, grants, after = reseal_secrets(actor=actor), 0, ""
    while ids := list(_kept().filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        grants += _encrypt_batch(ids=ids)
        after = ids[-1]
    _record(actor=actor, servers=servers, grants=grants)
    return servers, grants


@verb
def _encrypt_batch(*, ids: list[str]) -> int:
    rows = _kept().filter(pk__in=ids).select_for_update(no_key=True).order_by("pk")
    done = 0
    for grant in rows:
        try:
            grant.password = encrypted_anew(grant)
        except sealed.CannotOpen as error:
            raise PortalError(
                f"The password of grant {grant.pk} opens with no key of the ring: put the key back that it was made "
                "with, and run this again."
            ) from error
        grant.save(update_fields=["password"])
        done += 1
    return done


@verb
def _record(*, actor: Actor, servers: int, grants: int) -> None:
    facts = {"servers": servers, "grants": grants, "ring": len(settings.GRANT_PASSWORD_RING)}
    audit.record(Action.KEYS_ROTATED, actor=actor_id(actor), subject="portal:keys", facts=facts)


def _kept() -> "QuerySet[Grant]":
    """Grants that have a password still: at the end it is deleted."""
    return Grant.objects.exclude(password=None)
