"""What a statement for many rows needs to know of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models

Row = Mapping[str, Any]
"""Values by the attribute names of fields."""


TEXTS = (models.CharField, models.TextField)


class Table:
    """The table of a model in one database."""

    def __init__(self, model: type[models.Model], database: str) -> None:
        self.connection = connections[database]
        self.vendor = self.connection.vendor
        self._quote: Callable[[str], str] = self.connection.ops.quote_name
        self.name = self._quote(model._meta.db_table)
        self._fields: dict[str, Any] = {
            field.attname: field for field in model._meta.concrete_fields
        }

    def quoted(self, name: str) -> str:
        """Return the name of a column, for a statement."""
        return self._quote(self._fields[name].column)

    def names(self, names: Iterable[str]) -> str:
        """Return the names of columns, for a list in a statement."""
        return ", ".join(map(self.quoted, names))

    def new(self, name: str) -> str:
        """Return the name of a column of the source, which is nowhere the name of a column here."""
        return self._quote(f"new_{self._fields[name].column}")

    def assigned(self, values: Mapping[str, str]) -> str:
        """Return a list that sets columns to what is written for them."""
        return ", ".join(f"{self.quoted(name)} = {value}" for name, value in values.items())

    def and_still(self, names: Iterable[str]) -> str:
        """Return further conditions: columns that must be what the parameters say."""
        return "".join(f" AND {self.quoted(name)} = %s" for name in names)

    def placeholder(self, name: str) -> str:
        """Return a placeholder for a value that is selected, where its type must be told."""
        return f"%s::{self.type_of(name)}" if self.vendor == "postgresql" else "%s"

    def type_of(self, name: str) -> str:
        """Return the type of a column, as a cast names it."""
        return str(self._fields[name].cast_db_type(self.connection))

    def collation(self, name: str) -> str:
        """Return how a value must be compared with a column that has a collation of its own."""
        collation = self._fields[name].db_parameters(self.connection).get("collation")
        return f" COLLATE {collation}" if collation else ""

    def prepared(self, name: str, value: Any) -> Any:
        """Return a value as the database driver takes it."""
        return self._fields[name].get_db_prep_save(value, self.connection)

    def defaults(self, *, besides: Iterable[str]) -> dict[str, Any]:
        """Return the model's defaults, prepared, of all columns but `besides` and the key."""
        return {
            name: self.prepared(name, field.get_default())
            for name, field in self._fields.items()
            if name not in besides and not field.primary_key
        }

    def split(
        self, rows: Sequence[Row], *, own: str
    ) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """Return prepared values: of each row's own, column by column, and those that all share.

        The column `own` counts as each row's own even if all have the same value in it. Values
        are shared if they are the same object: equal ones may differ, as 1 and True do.
        """
        columns: dict[str, list[Any]] = {}
        shared: dict[str, Any] = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            first = values[0]
            if name != own and values[-1] is first and len(set(map(id, values))) == 1:
                shared[name] = self.prepared(name, first)
            else:
                columns[name] = self.all_prepared(name, values)
        return columns, shared

    def all_prepared(self, name: str, values: Sequence[Any]) -> list[Any]:
        """See prepared(); a text goes to every driver as it is, so that none need be asked.

        Measured for the next run times of 1,000 jobs on PostgreSQL, in milliseconds: 0.57 to 0.24.
        """
        field = self._fields[name]
        is_text = isinstance(getattr(field, "target_field", field), TEXTS)
        if is_text and set(map(type, values)) == {str}:
            return list(values)
        return [field.get_db_prep_save(value, self.connection) for value in values]
