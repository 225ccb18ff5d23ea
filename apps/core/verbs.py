"""What a verb is: one durable transaction that is tried again when the database asked for it."""

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from django.db import OperationalError, transaction

P = ParamSpec("P")
R = TypeVar("R")

TRIES: Final = 3
# serialization_failure, deadlock_detected: nothing of the transaction is left, so that the same call may follow.
_AGAIN: Final = frozenset({"40001", "40P01"})


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in a transaction of its own that nothing encloses; a lost deadlock is tried again."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for tries_left in reversed(range(TRIES)):
            try:
                with transaction.atomic(durable=True):
                    return function(*args, **kwargs)
            except OperationalError as error:
                if tries_left == 0 or sqlstate(error) not in _AGAIN:
                    raise
        raise AssertionError("unreachable")

    return run


def sqlstate(error: Exception) -> str:
    """The SQLSTATE behind an error of Django's database layer; empty where there is none."""
    return getattr(error.__cause__, "sqlstate", None) or ""
