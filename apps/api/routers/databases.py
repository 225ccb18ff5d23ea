"""What I may ask for."""

from functools import partial
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Prefetch
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router

from apps.accounts.models import TokenScope
from apps.api import represent
from apps.api.auth import Token, user_of
from apps.api.paging import page
from apps.api.schemas import DatabasePage, TablePage
from apps.catalog.masking import class_masks
from apps.catalog.models import Column, Database, is_masked

router = Router(tags=["catalog"])


@router.get("/databases", response=DatabasePage, auth=Token(TokenScope.READ))
def list_databases(request: HttpRequest, cursor: str | None = None, limit: int = 200) -> dict[str, Any]:
    """Databases that I may ask for or own."""
    user = user_of(request)
    askable = set(Database.objects.askable_by(user).values_list("pk", flat=True))
    owned = set(Database.objects.owned_by(user).values_list("pk", flat=True))
    return page(
        Database.objects.filter(pk__in=askable | owned),
        ["slug"],
        cursor=cursor,
        limit=limit,
        represent=lambda row: represent.database(row, may_request=row.pk in askable, owned=row.pk in owned),
    )


@router.get("/databases/{slug}/tables", response=TablePage, by_alias=True, auth=Token(TokenScope.READ))
def list_tables(
    request: HttpRequest, slug: str, search: str = "", cursor: str | None = None, limit: int = 500
) -> dict[str, Any]:
    """Tables with their columns; `search` is part of a table's name."""
    seen = Database.objects.visible_to(user_of(request)).select_related("server")
    database = get_object_or_404(seen, slug=slug)
    columns = Column.objects.filter(gone_at=None).annotate(
        masked=ExpressionWrapper(is_masked(), output_field=BooleanField())
    )
    tables = database.tables.filter(gone_at=None).prefetch_related(Prefetch("columns", queryset=columns))
    if search:
        tables = tables.filter(name__icontains=search)
    shown = partial(represent.table, server=database.server, classes=class_masks())
    return page(tables, ["schema", "name"], cursor=cursor, limit=limit, represent=shown)
