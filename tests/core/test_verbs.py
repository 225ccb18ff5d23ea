import psycopg.errors
import pytest
from django.db import OperationalError, connection, transaction

from apps.core.verbs import TRIES, verb


def victim(code: type[psycopg.Error]) -> OperationalError:
    error = OperationalError("chosen as the victim")
    error.__cause__ = code()
    return error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
def test_verb_is_tried_again_when_the_database_chose_it_as_the_victim(code: type[psycopg.Error]) -> None:
    calls: list[bool] = []

    @verb
    def act(*, word: str) -> str:
        calls.append(connection.in_atomic_block)
        if len(calls) < TRIES:
            raise victim(code)
        return word

    assert act(word="done") == "done"
    assert calls == [True] * TRIES


@pytest.mark.django_db(transaction=True)
def test_verb_gives_up_when_it_is_the_victim_each_time() -> None:
    calls: list[int] = []

    @verb
    def act() -> None:
        calls.append(1)
        raise victim(psycopg.errors.DeadlockDetected)

    with pytest.raises(OperationalError):
        act()
    assert len(calls) == TRIES


@pytest.mark.django_db(transaction=True)
def test_verb_is_not_tried_again_when_the_error_is_another() -> None:
    calls: list[int] = []

    @verb
    def act() -> None:
        calls.append(1)
        raise victim(psycopg.errors.QueryCanceled)

    with pytest.raises(OperationalError):
        act()
    assert len(calls) == 1


@pytest.mark.django_db(transaction=True)
def test_verb_refuses_when_a_transaction_encloses_it() -> None:
    @verb
    def act() -> None:
        pass

    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        act()
