"""A row that is asked for at each call, together with rows beside it: its SQL is written once.

Django writes it anew each time, which takes longer than the database needs to answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Field, Model

M = TypeVar("M", bound=Model)
N = TypeVar("N", bound=Model)


class Joined(Generic[M]):
    """`fields` of `model`, and of the rows that its foreign keys `beside` lead to (none of which may be NULL).

    `more`: values that SQL gives along, by name. `where`: the condition, on `own` and the names in `beside`, and what
    follows it, with a `%s` for each parameter. What is left out is read when it is asked for, as with only().
    """

    def __init__(
        self,
        model: type[M],
        fields: Sequence[str],
        *,
        beside: Mapping[str, Sequence[str]],
        more: Mapping[str, str],
        where: str,
    ) -> None:
        self._model, self._own, self._more, self._where = model, _chosen(model, fields), more, where
        self._beside = {
            name: (_related(model, name), _chosen(_related(model, name), names)) for name, names in beside.items()
        }

    def first(self, parameters: Sequence[Any]) -> M | None:
        """The first such row, or None."""
        with connection.cursor() as cursor:
            cursor.execute(self._sql, list(parameters))
            row = cursor.fetchone()
        if row is None:
            return None
        values = iter(row)
        found = self._loaded(self._model, self._own, values)
        for name, (related, fields) in self._beside.items():
            setattr(found, name, self._loaded(related, fields, values))
        for name in self._more:
            setattr(found, name, next(values))
        return found

    @staticmethod
    def _loaded(model: type[N], fields: "Sequence[Field[Any, Any]]", values: Iterator[Any]) -> N:
        """As the ORM loads it: with the fields' own ways from the database, JSON for one."""
        made = []
        for field in fields:
            value = next(values)
            for convert in field.get_db_converters(connection):
                value = convert(value, None, connection)
            made.append(value)
        return model.from_db(connection.alias, [field.attname for field in fields], made)

    @cached_property
    def _sql(self) -> str:
        columns = [f'own."{field.column}"' for field in self._own]
        tables = f"{self._model._meta.db_table} own"
        for name, (related, fields) in self._beside.items():
            columns += [f'"{name}"."{field.column}"' for field in fields]
            key, its_key = _field(self._model, name).column, related._meta.pk.column
            tables += f' JOIN {related._meta.db_table} "{name}" ON "{name}"."{its_key}" = own."{key}"'
        columns += self._more.values()
        return f"SELECT {', '.join(columns)} FROM {tables} WHERE {self._where}"  # noqa: S608 - all of it from the code


def _chosen(model: type[Model], names: Sequence[str]) -> "list[Field[Any, Any]]":
    """In the order in which Django fills them in, with the key."""
    return [field for field in model._meta.concrete_fields if field.primary_key or field.name in names]


def _field(model: type[Model], name: str) -> "Field[Any, Any]":
    return model._meta.get_field(name)  # type: ignore[return-value]  # none of ours is generic


def _related(model: type[Model], name: str) -> type[Model]:
    found = _field(model, name).related_model
    assert isinstance(found, type)  # noqa: S101 - a foreign key of ours
    return found
