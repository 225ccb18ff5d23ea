"""The owner of the record's tables, who can do what nobody should."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

TABLES = ("entry", "seal", "disclosure", "head")


def run(statement: str, *parameters: object) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement, parameters)  # type: ignore[arg-type]


@contextmanager
def tampering() -> Iterator[None]:
    """With all triggers asleep; in the end nothing has happened."""
    with transaction.atomic(using="owner"):
        run("SET CONSTRAINTS ALL IMMEDIATE")
        for table in TABLES:
            run(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER")
        yield
        transaction.set_rollback(True, using="owner")
