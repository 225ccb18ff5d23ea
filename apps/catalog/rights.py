"""Which groups may ask for a database, own it or its data, or break its glass. Changed by set_rights() alone."""

from typing import Final

from django.contrib.auth.models import Group
from django.db.models import QuerySet
from guardian.models import GroupObjectPermission

from apps.catalog.models import Database

PERMISSIONS: Final = ("request_database", "own_database", "own_data", "break_glass")


def groups_with(database: Database, permission: str) -> QuerySet[Group]:
    held = GroupObjectPermission.objects.filter(
        permission__codename=permission,
        permission__content_type__app_label=Database._meta.app_label,
        permission__content_type__model=Database._meta.model_name,
        object_pk=database.pk,
    )
    return Group.objects.filter(pk__in=held.values("group")).order_by("name")
