"""What an attack is: SQL to send, or a way to infer something. Data; how it is run is in assault.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bypass.assault import Attacker


@dataclass(frozen=True)
class Attack:
    """`steps` are sent one by one on a fresh connection, whatever happens to the ones before.

    In them @v@ is the view schema of app, @login@ and @scope@ the own roles, @ssn@ and @salary@ what person 7 really
    has (for asking whether it is so), @login2@ another person's login.
    `guess` plays an attacker who infers: what it returns must not be what `truth` says about the real rows.
    """

    name: str
    family: str
    steps: tuple[str, ...] = ()
    guess: Callable[["Attacker"], Any] | None = None
    truth: str = ""


def family(name: str, *attacks: tuple[str, ...]) -> tuple[Attack, ...]:
    """Attacks that are SQL and nothing else: (name, SQL, SQL …)."""
    return tuple(Attack(title, name, steps) for title, *sql in attacks for steps in [tuple(sql)])
