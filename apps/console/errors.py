"""Refusals of the console, besides those of apps.core.errors."""

from apps.core.errors import Conflict, PortalError
from apps.requests.errors import Refused


class RefusedStatement(Refused):
    """Well put, and not run here: worth an entry in the record."""


class StatementFailed(PortalError):
    """The database said no. `position`: characters from the beginning of the text that was given, from 0."""

    status = 422
    title = "The statement failed"

    def __init__(self, sentence: str, *, why: str, sqlstate: str = "", position: int | None = None) -> None:
        super().__init__(sentence, field="sql")
        self.why, self.sqlstate, self.position = why, sqlstate, position

    @property
    def more(self) -> dict[str, object]:
        return {"why": self.why, "sqlstate": self.sqlstate, "position": self.position}


class AlreadyBegun(Conflict):
    """With this token it was begun already."""


class TooMany(PortalError):
    """More than one person may do in a while: 429."""

    status = 429
    title = "Too many"
    retry_after = 60  # seconds


class Unavailable(PortalError):
    """The target did not answer, or did not let the login in: 503. `offers_reset`: its password may be another."""

    status = 503
    title = "The database cannot be reached"

    def __init__(self, sentence: str, *, offers_reset: bool = False) -> None:
        super().__init__(sentence)
        self.offers_reset = offers_reset

    @property
    def more(self) -> dict[str, object]:
        return {"offers_reset": self.offers_reset}
