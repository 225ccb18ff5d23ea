"""A row that is asked for at each call, together with rows beside it: its SQL is written once.

Django writes it anew each time, which takes longer than the database needs to answer.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db.models import Field, Model

M = TypeVar("M", bound=Model)


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
        self._model, self._fields, self._more, self._where = model, fields, more, where
        self._beside = {
            name: (_related(model, name), _chosen(_related(model, name), names)) for name, names in beside.items()
        }

    def first(self, parameters: Sequence[object]) -> M | None:
        """The first such row, or None."""
        row = next(iter(self._model._default_manager.raw(self._sql, list(parameters))), None)
        if row is None:
            return None
        for name, (related, fields) in self._beside.items():
            values = [row.__dict__.pop(f"{name}__{field.attname}") for field in fields]
            names = [field.attname for field in fields]
            setattr(row, name, related.from_db(row._state.db, names, values))
        return row

    @cached_property
    def _sql(self) -> str:
        columns = [f'own."{field.column}"' for field in _chosen(self._model, self._fields)]
        tables = f"{self._model._meta.db_table} own"
        for name, (related, fields) in self._beside.items():
            columns += [f'"{name}"."{field.column}" AS "{name}__{field.attname}"' for field in fields]
            key, its_key = _field(self._model, name).column, related._meta.pk.column
            tables += f' JOIN {related._meta.db_table} "{name}" ON "{name}"."{its_key}" = own."{key}"'
        columns += [f"{given} AS {name}" for name, given in self._more.items()]
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
