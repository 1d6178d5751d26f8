"""How each database takes many rows or values as parameters: as a table inside a statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from async_apscheduler.models.bulk._tables import Table


class Source(NamedTuple):
    """A table expression, or a condition, and its parameters."""

    sql: str
    parameters: list[Any]


def source_of(table: Table, columns: Mapping[str, list[Any]]) -> Source | None:
    """Return a table of the columns, each named Table.new(); None if the database has no such."""
    make = {"postgresql": _arrays, "sqlite": _json, "mysql": _selects}.get(table.vendor)
    return None if make is None else make(table, columns)


def joins_tables(table: Table) -> bool:
    """Return True if the database can update its rows by a table of source_of().

    SQLite would search a JSON array from end to end for each row.
    """
    return table.vendor in ("postgresql", "mysql")


def one_of(table: Table, name: str, values: list[Any], *, column: str | None = None) -> Source:
    """Return the condition that a column has one of the values; `column` is how to name it."""
    column = column or table.quoted[name]
    if table.vendor == "postgresql":
        return Source(f"{column} = ANY(%s::{table.types[name]}[])", [array(values)])
    if table.vendor == "sqlite":
        return Source(f"{column} IN (SELECT value FROM json_each(%s))", [json.dumps(values)])
    places = ", ".join(["%s"] * len(values))
    return Source(f"{column} IN ({places})", list(values))


def _arrays(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    arrays = ", ".join([f"%s::{table.types[name]}[]" for name in columns])
    names = ", ".join([table.new[name] for name in columns])
    return Source(f"unnest({arrays}) AS new_rows({names})", list(map(array, columns.values())))


def array(values: list[Any]) -> str | list[Any]:
    """Return PostgreSQL's text for an array, or the list itself if it takes the driver to write it.

    psycopg looks at each value for how to write it, which was a tenth of all that a scheduler under
    load did. Measured for 500, in milliseconds: keys 0.21 to 0.04, texts 0.34 to 0.08, moments 1.15
    to 0.36, numbers 0.43 to 0.16.
    """
    kinds = set(map(type, values))
    if not all(kind in WRITTEN or issubclass(kind, str) for kind in kinds):
        return values
    write = {kind: WRITTEN.get(kind, _quoted) for kind in kinds}
    return "{" + ",".join([write[type(value)](value) for value in values]) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


WRITTEN: dict[type, Callable[[Any], str]] = {
    int: str,
    float: repr,
    datetime: datetime.isoformat,
    type(None): lambda _: "NULL",
}
"""How array() writes a value of exactly this type; texts, as enumerations have them, are quoted."""


def _json(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    chosen = ", ".join(
        f"json_extract(value, '$[{place}]') AS {table.new[name]}"
        for place, name in enumerate(columns)
    )
    rows = json.dumps(list(zip(*columns.values(), strict=True)))
    return Source(f"(SELECT {chosen} FROM json_each(%s)) AS new_rows", [rows])


def _selects(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    count = len(next(iter(columns.values())))
    first = ", ".join(f"%s AS {table.new[name]}" for name in columns)
    other = ", ".join(["%s"] * len(columns))
    selects = " UNION ALL SELECT ".join([first, *[other] * (count - 1)])
    parameters = list(chain.from_iterable(zip(*columns.values(), strict=True)))
    return Source(f"(SELECT {selects}) AS new_rows", parameters)
