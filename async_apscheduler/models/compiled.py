"""Queries that Django compiles once, and that are then asked again and again with other values.

To build a query takes Django far longer than the database needs for its answer. Measured on
PostgreSQL, in milliseconds of processor time: the look of a pass 5.4 to 0.3, the housekeeping at
each heartbeat 7.3 to 0.3, the claim of ten due jobs 8.7 to 5.5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from django.db import connections
from django.db.models import QuerySet
from django.db.models.expressions import Expression
from django.db.models.sql import UpdateQuery

from async_apscheduler._database import Statement, rows_found, send

T = TypeVar("T")

MOST_VARIANTS = 64
"""Queries that one question keeps; beyond that it starts afresh."""


class Slot(Expression):
    """A place in a query for a value that is named when it is asked; `field` prepares it."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return a placeholder, and the slot itself as its parameter."""
        return "%s", [self]

    def filled(self, values: dict[str, Any], connection: Any) -> Any:
        """Return the value as the database driver takes it."""
        return self.output_field.get_db_prep_value(values[self.name], connection)


class Question:
    """A query with slots: `build` returns it, as a values_list(), for what shapes its SQL."""

    def __init__(self, build: Callable[..., QuerySet[Any]]) -> None:
        self._variants = _Variants(lambda *shape: (build(*shape), None))

    def ask(self, *shape: Hashable, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows; `shape` are the arguments of `build`, `values` what is in the slots."""
        compiled = self._variants.of(shape)
        return compiled.execute(values, compiled.rows)

    def has_answer(self, *shape: Hashable, **values: Any) -> bool:
        """Return True if there is a row; cheaper than ask(), because nobody looks at it."""
        return self._variants.of(shape).execute(values, _is_there)

    def statement(self, *shape: Hashable, **values: Any) -> Statement[list[tuple[Any, ...]]]:
        """Return what ask() executes, to be sent together with others."""
        compiled = self._variants.of(shape)
        return compiled.statement(values, compiled.rows)


class Change:
    """An update with slots: `build` returns a QuerySet and the values that its rows get."""

    def __init__(self, build: Callable[..., tuple[QuerySet[Any], dict[str, Any]]]) -> None:
        self._variants = _Variants(build)

    def make(self, *shape: Hashable, **values: Any) -> int:
        """Make it, and return how many rows were found; see Question.ask()."""
        return self._variants.of(shape).execute(values, rows_found)

    def statement(self, *shape: Hashable, **values: Any) -> Statement[int]:
        """Return what make() executes, to be sent together with others."""
        return self._variants.of(shape).statement(values, rows_found)


class _Variants:
    """One statement for each shape; `build` returns its QuerySet, and what it writes if it does."""

    def __init__(self, build: Callable[..., tuple[QuerySet[Any], dict[str, Any] | None]]) -> None:
        self._build = build
        self._by_shape: dict[tuple[Hashable, ...], _Compiled] = {}

    def of(self, shape: tuple[Hashable, ...]) -> _Compiled:
        compiled = self._by_shape.get(shape)
        if compiled is None:
            if len(self._by_shape) >= MOST_VARIANTS:
                self._by_shape.clear()
            compiled = self._by_shape[shape] = _Compiled(*self._build(*shape))
        return compiled


class _Compiled:
    """What Django has compiled, to be executed in any thread."""

    def __init__(self, queryset: QuerySet[Any], changes: dict[str, Any] | None) -> None:
        query: Any = queryset.query
        if changes is not None:
            query = query.chain(UpdateQuery)
            query.add_update_values(changes)
        self._database = queryset.db
        self._compiler = query.get_compiler(using=queryset.db)
        self._sql, self._parameters = self._compiler.as_sql()

    def execute(self, values: dict[str, Any], read: Callable[[Any], T]) -> T:
        return send(self._database, self.statement(values, read))

    def statement(self, values: dict[str, Any], read: Callable[[Any], T]) -> Statement[T]:
        connection = connections[self._database]
        parameters = [
            each.filled(values, connection) if isinstance(each, Slot) else each
            for each in self._parameters
        ]
        return Statement(self._sql, parameters, read)

    def rows(self, cursor: Any) -> list[tuple[Any, ...]]:
        rows = cursor.fetchall()
        return list(self._compiler.results_iter(results=[rows], tuple_expected=True))


def _is_there(cursor: Any) -> bool:
    return cursor.fetchone() is not None
