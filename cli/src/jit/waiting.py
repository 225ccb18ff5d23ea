"""Until a request has become access, or has come to nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.text import Text

from jit import show, words
from jit.errors import Exit, Failure, Unreachable
from jit.portal import Portal

Tell = Callable[[str], None]
# People take minutes; a policy takes a second.
_FIRST_SECONDS, _LAST_SECONDS = 0.5, 3.0
_NOTHING = {"denied": "was denied", "cancelled": "was taken back", "lapsed": "was not decided in time"}


def until_usable(portal: Portal, request_id: str, *, timeout: float | None = None) -> dict[str, Any]:
    """The live grant of a request. Raises Failure; on Ctrl-C it says what stays asked."""
    with _said(request_id, f"`jit wait {request_id}` goes on") as tell:
        for row in _looks(portal, request_id, timeout=timeout, tell=tell):
            if row["status"] == "pending":
                tell(f"Waiting for {words.waits_for(row['route'])}")
            elif row["grant"] is None:
                tell(f"Approved. It starts {words.clock(row['starts_at'])}" if row["starts_at"] else "Approved")
            else:
                grant: dict[str, Any] = portal.get(f"/grants/{row['grant']['id']}")
                if grant["status"] == "active":
                    return grant
                if grant["status"] != "queued":
                    raise _over(grant)
                tell("Approved. The login is being made" + (f" ({grant['problem']})" if grant["problem"] else ""))
    raise AssertionError


def until_extended(portal: Portal, request_id: str, *, timeout: float | None = None) -> dict[str, Any]:
    """The request for more time, once it has been given. Raises Failure."""
    with _said(request_id, f"`jit status {request_id}` shows it") as tell:
        for row in _looks(portal, request_id, timeout=timeout, tell=tell):
            if row["status"] == "pending":
                tell(f"Waiting for {words.waits_for(row['route'])}")
            elif row["extension"] == "applied":
                return row
            elif row["extension"] == "failed":
                raise Failure("The access could not be extended; it had ended.", status=Exit.NO_ACCESS)
            else:
                tell("Approved. The login is being extended")
    raise AssertionError


@contextmanager
def _said(request_id: str, goes_on: str) -> Iterator[Tell]:
    """What is waited for, beside a spinner; on Ctrl-C, what stays asked."""
    try:
        with show.err.status("") as spinner:
            yield lambda text: spinner.update(Text(words.line(text)))
    except KeyboardInterrupt:
        raise Failure(
            f"You wait no more. The request {request_id} stays asked.",
            status=Exit.INTERRUPTED,
            hint=f"{goes_on}, `jit cancel {request_id}` takes it back.",
        ) from None


def _looks(portal: Portal, request_id: str, *, timeout: float | None, tell: Tell) -> Iterator[dict[str, Any]]:
    """The request again and again, while it may still come to something. A network that is away is waited out."""
    began, pause = time.monotonic(), _FIRST_SECONDS
    while True:
        try:
            row = portal.get(f"/requests/{request_id}")
        except Unreachable as failure:
            tell(f"{words.line(failure.sentence)} Still trying")
        else:
            if row["status"] in _NOTHING:
                raise _came_to_nothing(row)
            yield row
        if timeout is not None and time.monotonic() - began >= timeout:
            raise Failure(
                f"Not yet. The request {request_id} stays asked.",
                status=Exit.STILL_WAITING,
                hint=f"`jit wait {request_id}` goes on waiting, `jit cancel {request_id}` takes it back.",
            )
        time.sleep(pause)
        pause = min(pause * 1.3, _LAST_SECONDS)


def _came_to_nothing(row: dict[str, Any]) -> Failure:
    why = f": {row['closed_reason']}" if row["closed_reason"] else "."
    hint = f"`jit status {row['id']}` shows who and why."
    return Failure(f"The request {row['id']} {_NOTHING[row['status']]}{why}", status=Exit.NO_ACCESS, hint=hint)


def _over(grant: dict[str, Any]) -> Failure:
    if grant["status"] == "failed":
        sentence = f"The access could not be made: {grant['problem'] or 'the portal gave up'}"
    else:
        sentence = f"The access has ended{': ' + grant['end_reason'] if grant['end_reason'] else '.'}"
    return Failure(sentence, status=Exit.NO_ACCESS, hint=f"`jit status {grant['id']}` shows more.")
