"""What must hold of one entry by itself, in sentences for the verifier and for the pages. Pure."""

from collections.abc import Iterable, Iterator

from apps.audit.actions import WORKER_ONLY, WORKER_ROLE
from apps.audit.body import Body
from apps.audit.chain import commitment


def check_seal(index: int, listed_as: tuple[str, str, str], recorded_by: str, body: Body) -> Iterator[str]:
    """`listed_as` is what the seal says of action, actor and subject."""
    if listed_as != (body.action, body.actor, body.subject):
        yield f"Entry {index} is listed under another action, actor or subject than its body has."
    if body.action in WORKER_ONLY and recorded_by != WORKER_ROLE:
        yield (
            f"Entry {index} says {body.action}, but {recorded_by} recorded it and not {WORKER_ROLE}: it does not count."
        )


def check_texts(index: int, texts: Iterable[tuple[str, bytes, str]], body: Body) -> Iterator[str]:
    """A missing text is no problem: texts can be erased. A text that is another than was committed to is one."""
    for name, salt, value in texts:
        if body.commitments.get(name) != commitment(salt, value):
            yield f"Entry {index}: the text of {name} is not the one that the entry commits to."
