"""What management commands share."""

from django.core.management.base import CommandError
from django.db.models import QuerySet

from apps.catalog.models import Server


def servers_called(name: str | None, *, among: QuerySet[Server], that: str = "") -> QuerySet[Server]:
    """The one with this name, or without a name all of them. Raises CommandError, with those there are; `that` says
    what they have in common.
    """
    if name is None:
        return among
    chosen = among.filter(name=name)
    if not chosen:
        known = ", ".join(among.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no server called {name}{that}; known: {known}.")
    return chosen
