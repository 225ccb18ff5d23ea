"""What people, databases and servers were called, as the record itself tells it. Pure.

Bodies hold opaque ids; names are texts beside them, and the latest one counts. Memory grows with the number of
people, databases, servers and groups, not with that of entries.
"""

from collections.abc import Callable
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import ERASED, Asked
from apps.reports.reading import key, text

_ACCOUNTS: Final = frozenset(
    {
        Action.ACCOUNT_SIGNED_IN,
        Action.ACCOUNT_PROVISIONED,
        Action.ACCOUNT_EMERGENCY_CREATED,
        Action.ACCOUNT_DEACTIVATED,
        Action.ACCOUNT_REACTIVATED,
    }
)
# action: the text that holds the name of its subject
_THINGS: Final[dict[str, str]] = {
    Action.DATABASE_ADDED: "slug",
    Action.DATABASE_CHANGED: "slug",
    Action.SERVER_ADDED: "name",
    Action.SERVER_CHANGED: "name",
    Action.GROUP_CHANGED: "name",
    Action.EDIT_PROPOSED: "what",
}
NAMING: Final[frozenset[Action]] = _ACCOUNTS | {Action(action) for action in _THINGS}
_PROCESSES: Final = {"policy": "the policy", "operator": "an operator on the server"}
PORTAL: Final = frozenset({"worker", "clock"})


class Names:
    """`learn` from every line before asking."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._usernames: dict[str, str] = {}
        self._learn: dict[str, Callable[[Line], None]] = dict.fromkeys(map(str, _ACCOUNTS), self._account)
        self._learn |= dict.fromkeys(_THINGS, self._thing)

    def learn(self, line: Line) -> None:
        if line.problem:
            return
        if line.actor.startswith("user:") and (name := text(line, "person")):
            self._names[line.actor] = name
        if learn := self._learn.get(line.action):
            learn(line)

    def of(self, identity: str) -> str:
        """`user:…`, `database:…`, `server:…`, `group:…`; the last part of it where the record has no name."""
        if identity in PORTAL:
            return "the portal"
        return self._names.get(identity) or _PROCESSES.get(identity) or key(identity) or identity

    def database(self, pk: str) -> str:
        return self._names.get(f"database:{pk}") or pk

    def is_asked(self, asked: Asked, *, people: tuple[str, ...], database: str) -> bool:
        """Whether what is about one of `people` (`user:…`) and a database (its id) is asked for."""
        return (not asked.person or any(self._is_called(one, asked.person) for one in people)) and (
            not asked.database or asked.database in {database, self.database(database)}
        )

    def _is_called(self, identity: str, name: str) -> bool:
        if not identity:
            return False
        names = (self._names.get(identity, ""), self._usernames.get(identity, ""))
        return name in {identity, key(identity)} or name.casefold() in {one.casefold() for one in names}

    def _account(self, line: Line) -> None:
        username = text(line, "username")
        if username:
            self._usernames[line.subject] = username
        if name := text(line, "name") or username:
            self._names[line.subject] = name

    def _thing(self, line: Line) -> None:
        """A change tells `old → new`."""
        if name := text(line, _THINGS[line.action]):
            self._names[line.subject] = name if name == ERASED else name.rpartition(" → ")[2]
