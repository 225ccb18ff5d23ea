"""What must hold of one entry by itself, in sentences for the verifier and for the pages. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from apps.audit.actions import WORKER_ONLY, WORKER_ROLE
from apps.audit.body import MAX_NAME_BYTES, Body
from apps.audit.canonical import Json
from apps.audit.chain import commitment

SEVERAL: Final = "*"  # how an entry is listed that is about more than one database
_LIVES: Final = ("request:", "grant:")
_REMEMBERED: Final = 100_000  # requests and grants


def counts(action: str, recorded_by: str) -> bool:
    """Whether this role may say that."""
    return action not in WORKER_ONLY or recorded_by == WORKER_ROLE


def check_seal(index: int, listed_as: tuple[str, str, str], recorded_by: str, body: Body) -> Iterator[str]:
    """`listed_as` is what the seal says of action, actor and subject."""
    if listed_as != (body.action, body.actor, body.subject):
        yield f"Entry {index} is listed under another action, actor or subject than its body has."
    if not counts(body.action, recorded_by):
        yield (
            f"Entry {index} says {body.action}, but {recorded_by} recorded it and not {WORKER_ROLE}: it does not count."
        )


def database_named(subject: str, facts: Mapping[str, Json]) -> str | None:
    """The id of the database that a body names itself. The database computes the same in audit.database_named()."""
    name: object = None
    if subject.startswith("database:"):
        name = subject.removeprefix("database:")
    elif isinstance(facts.get("database"), str):
        name = facts["database"]
    elif isinstance(listed := facts.get("databases"), list) and listed:
        name = listed[0] if len(listed) == 1 else SEVERAL
    return name if isinstance(name, str) and 1 <= len(name.encode()) <= MAX_NAME_BYTES else None


def is_listed(listed: str | None, subject: str, facts: Mapping[str, Json]) -> bool:
    """`listed` is what the seal says of the database. Where the body leaves it to an earlier entry any will do."""
    named = database_named(subject, facts)
    return listed == named or (named is None and subject.startswith(_LIVES))


def check_listing(index: int, listed: str | None, body: Body) -> Iterator[str]:
    """is_listed(), as a sentence."""
    if not is_listed(listed, body.subject, body.facts):
        yield listed_wrongly(index)


class Lives:
    """As check_listing(), for whoever goes over the record in its order: about a request or a grant an entry that names
    no database is listed under that of the first entry about it.

    `first` looks up what that is listed under, of a subject and before an index; it is asked seldom.
    """

    def __init__(self, first: Callable[[str, int], str | None]) -> None:
        self._first = first
        self._known: dict[str, str] = {}

    def is_listed(self, index: int, listed: str | None, subject: str, facts: Mapping[str, Json]) -> bool:
        named = database_named(subject, facts)
        if not subject.startswith(_LIVES):
            return listed == named
        if named:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known.setdefault(subject, named)
            return listed == named
        return (listed is not None and self._known.get(subject) == listed) or listed == self._first(subject, index)

    def is_listed_of_itself(self, index: int, listed: str | None, subject: str, facts: Mapping[str, Json]) -> bool:
        """The same out of order: without what other entries have told."""
        named = database_named(subject, facts)
        if named or not subject.startswith(_LIVES):
            return listed == named
        return listed == self._first(subject, index)


def listed_wrongly(index: int) -> str:
    return f"Entry {index} is listed under another database than it is about."


def check_texts(index: int, texts: Iterable[tuple[str, bytes, str]], body: Body) -> Iterator[str]:
    """A missing text is no problem: texts can be erased. A text that is another than was committed to is one."""
    for name, salt, value in texts:
        if body.commitments.get(name) != commitment(salt, value):
            yield f"Entry {index}: the text of {name} is not the one that the entry commits to."
