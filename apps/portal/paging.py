"""Lists in pages: a number in the address, no counting of rows."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

SIZE: Final = 30
_LAST: Final = 10_000
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Page(Generic[M]):
    """`query` is the rest of the address, so that the links to other pages keep the filters."""

    rows: list[M]
    number: int
    has_next: bool
    query: str

    @property
    def newer(self) -> str:
        return f"?{self.query}page={self.number - 1}" if self.number > 1 else ""

    @property
    def older(self) -> str:
        return f"?{self.query}page={self.number + 1}" if self.has_next else ""


def page_of(request: HttpRequest, rows: QuerySet[M]) -> Page[M]:
    """The page that the address names; the first, if it names none that can be."""
    wanted = request.GET.get("page", "1")
    number = min(max(int(wanted), 1), _LAST) if wanted.isdecimal() and len(wanted) < 9 else 1
    found = list(rows[(number - 1) * SIZE : number * SIZE + 1])
    rest = request.GET.copy()
    for name in ("page", "state"):
        rest.pop(name, None)
    query = f"{rest.urlencode()}&" if rest else ""
    return Page(found[:SIZE], number, len(found) > SIZE, query)
