"""Tables inside a statement: how each database takes many rows as parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

from async_apscheduler.models.bulk._tables import Table


class Source(NamedTuple):
    """A table expression and its parameters."""

    sql: str
    parameters: list[Any]


def source_of(table: Table, columns: Mapping[str, list[Any]]) -> Source | None:
    """Return a table of the columns, each named Table.new(); None if the database has no such."""
    make = {"postgresql": _arrays, "sqlite": _json, "mysql": _selects}.get(table.vendor)
    return None if make is None else make(table, columns)


def _arrays(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    arrays = ", ".join(f"%s::{table.type_of(name)}[]" for name in columns)
    names = ", ".join(map(table.new, columns))
    return Source(f"unnest({arrays}) AS new_rows({names})", list(columns.values()))


def _json(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    chosen = ", ".join(
        f"json_extract(value, '$[{place}]') AS {table.new(name)}"
        for place, name in enumerate(columns)
    )
    rows = json.dumps(list(zip(*columns.values(), strict=True)))
    return Source(f"(SELECT {chosen} FROM json_each(%s)) AS new_rows", [rows])


def _selects(table: Table, columns: Mapping[str, list[Any]]) -> Source:
    count = len(next(iter(columns.values())))
    first = ", ".join(f"%s AS {table.new(name)}" for name in columns)
    other = ", ".join(["%s"] * len(columns))
    selects = " UNION ALL SELECT ".join([first, *[other] * (count - 1)])
    parameters = list(chain.from_iterable(zip(*columns.values(), strict=True)))
    return Source(f"(SELECT {selects}) AS new_rows", parameters)
