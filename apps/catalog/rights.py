"""Which groups may ask for a database, own it or its data, or break its glass. Changed by set_rights() alone."""

from typing import Final

from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, Q, QuerySet
from guardian.models import GroupObjectPermission, UserObjectPermission

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


def held(permission: str, *, user: str, database: str) -> Q:
    """For a query of other rows: whether the person and the database behind these paths belong together by this right,
    which a group of the person's has, or they have themselves.
    """
    right = {
        "permission__codename": permission,
        "permission__content_type__app_label": Database._meta.app_label,
        "permission__content_type__model": Database._meta.model_name,
        "object_pk": OuterRef(database),
    }
    by_group = GroupObjectPermission.objects.filter(group__user=OuterRef(user), **right)
    return Q(Exists(by_group)) | Q(Exists(UserObjectPermission.objects.filter(user=OuterRef(user), **right)))
