"""What can go wrong, as sentences with an exit status. The numbers are a contract for scripts (README)."""

from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """`psql`, `run` and their like end with the status of the program that they ran."""

    OK = 0
    FAILED = 1
    USAGE = 2  # the command line itself; also typer's own
    NOT_SIGNED_IN = 3
    NOT_ALLOWED = 4  # or not there, or not visible
    REFUSED = 5  # understood, and not possible like this
    UNREACHABLE = 6
    NO_ACCESS = 7  # denied, cancelled, lapsed, failed, or ended
    STILL_WAITING = 8
    INTERRUPTED = 130


class Failure(Exception):
    """Ends the command. `sentence` says what happened, `hint` what to do next, `problem` is the portal's own answer.

    `place` is a line of the person's own statement with a mark under it, where the failure is about one.
    """

    place = ""

    def __init__(self, sentence: str, *, status: Exit, hint: str = "", problem: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        self.hint = hint
        self.problem = problem

    def to_json(self) -> dict[str, Any]:
        return {
            "error": self.problem or {"detail": self.sentence},
            "hint": self.place or self.hint or None,
            "exit": int(self.status),
        }


class Refused(Failure):
    """The portal has answered, and the answer is no."""

    def __init__(self, answered: int, problem: dict[str, Any]) -> None:
        sentence = str(problem.get("detail") or problem.get("title") or f"The portal answered {answered}.")
        super().__init__(sentence, status=_exit_of(answered), hint=_hint_of(answered), problem=problem)
        self.answered = answered


class Unreachable(Failure):
    """No answer. Whether the portal has done what it was asked is not known."""

    def __init__(self, url: str, why: str) -> None:
        hint = "Check the network and the address (`jit login --url …`), then try again."
        super().__init__(f"The portal at {url} cannot be reached: {why}.", status=Exit.UNREACHABLE, hint=hint)


class Unknown(Failure):
    """A statement was sent, and its answer has not come."""

    def __init__(self, page: str, error: Unreachable) -> None:
        sentence = f"{error.sentence} The statement may run, and what it changes may be done."
        super().__init__(
            sentence, status=Exit.UNREACHABLE, hint=f"Before you run it again, see what became of it: {page}"
        )


def _exit_of(status: int) -> Exit:
    known = {
        401: Exit.NOT_SIGNED_IN,
        403: Exit.NOT_ALLOWED,
        404: Exit.NOT_ALLOWED,
        409: Exit.REFUSED,
        422: Exit.REFUSED,
        429: Exit.REFUSED,
    }
    return known.get(status, Exit.FAILED)


def _hint_of(status: int) -> str:
    known = {
        401: "Run `jit login`; if you are signed in already, sign in to the portal once in the browser.",
        404: "`jit status` shows what there is for you, `jit databases` what you may ask for.",
        429: "Wait a minute, then try again.",
        503: "Wait a moment, then try again.",
    }
    return known.get(status, "If it happens again, tell a database administrator." if status >= 500 else "")
