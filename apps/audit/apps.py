from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "apps.audit"
    label = "audit"

    def ready(self) -> None:
        post_migrate.connect(_grant_runtime_rights, sender=self)


def _grant_runtime_rights(*, using: str, **_: Any) -> None:
    """Tables are made by the owner; what the runtime roles may do with them follows after every migrate."""
    from apps.audit.rights import OWNER_ALIAS, grant_runtime_rights  # noqa: PLC0415 - needs loaded apps

    if using == OWNER_ALIAS:
        grant_runtime_rights(connections[using])
