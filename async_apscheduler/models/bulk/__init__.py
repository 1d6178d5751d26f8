"""Insert, update or count many rows, each with values of its own, by one statement.

Django's ``bulk_create`` prepares every column of every row anew, and its ``bulk_update`` builds one
CASE expression a column. Here a value that all rows share is prepared and sent once, and the rest
travels as a table inside the statement. Measured for 500 runs, microseconds a row: insert 99 to 20
on PostgreSQL, 52 to 12 on SQLite, 82 to 21 on MariaDB; update 198 to 46 on PostgreSQL, 46 to 22
on SQLite, 355 to 50 on MariaDB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from django.db import models, transaction

from async_apscheduler._database import Statement, all_rows, nothing, rows_found, send
from async_apscheduler.models.bulk._sources import Source, joins_tables, one_of, source_of
from async_apscheduler.models.bulk._tables import Row, Table, table_of

Values = dict[str, Any]
"""Prepared values by attribute name."""

ANYTHING = object()
"""Stands for any value but NULL, see count_each()."""

MAX_ROWS = 1000
"""Rows of one statement."""

MAX_TEXT = 1_000_000
"""Characters in the rows of one statement; servers refuse statements beyond a limit of theirs."""


def insertions(
    model: type[models.Model], database: str, rows: Sequence[Row], *, returning: Sequence[str]
) -> list[Statement[list[tuple[Any, ...]] | None]]:
    """Return statements that insert rows, and return the columns `returning` of each, in any order.

    They are as the driver has them. All rows have the same columns, of which the first tells them
    apart; other columns get the model's defaults. A statement returns None, having inserted all the
    same, where the database does not say what it has inserted.
    """
    table = table_of(model, database)
    return [_insert(table, part, returning) for part in _portions(rows)]


def insert_each(model: type[models.Model], database: str, objects: Sequence[models.Model]) -> None:
    """Insert new objects, as Django's ``bulk_create`` does, but do not give them their keys.

    Measured for 10,000 new jobs and a change of each, in seconds: 0.9 to 0.3 on SQLite, 1.2 to 0.7
    on PostgreSQL, 1.3 to 0.5 on MariaDB.
    """
    names = [
        field.attname
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
    ]
    rows = [{name: getattr(each, name) for name in names} for each in objects]
    for statement in insertions(model, database, rows, returning=()):
        send(database, statement)


def updates(
    model: type[models.Model], database: str, rows: Sequence[Row], *, key: str
) -> list[Statement[int]]:
    """Return the statements of update_each(), to be sent together with others in a transaction."""
    table = table_of(model, database)
    return [_update(table, part, key, {}) for part in _portions(rows)]


def update_each(
    model: type[models.Model],
    database: str,
    rows: Sequence[Row],
    *,
    key: str,
    unless_changed: Row | None = None,
) -> int:
    """Update each row by the values of one mapping, and return how many rows were found.

    All mappings have the same keys: attribute names of fields. `key` finds the row, the others are
    written. `unless_changed` are values that the row must still have.
    """
    table = table_of(model, database)
    parts = list(_portions(rows))
    # One statement or one transaction: SQLite for one would commit row by row.
    is_one = len(rows) <= 1 or (len(parts) == 1 and joins_tables(table))
    with nullcontext() if is_one else transaction.atomic(using=database, savepoint=False):
        return sum(
            send(database, _update(table, part, key, unless_changed or {})) for part in parts
        )


def count_each(
    model: type[models.Model], database: str, key: str, values: Sequence[Any], *, where: Row
) -> dict[Any, int]:
    """Return how many rows have each of the values in the column `key`, by what the driver gives.

    `where` are values that the rows must have; ANYTHING stands for any but NULL.
    """
    table = table_of(model, database)
    among = one_of(table, key, table.all_prepared(key, values))
    equal = {name: table.prepared(name, of) for name, of in where.items() if of is not ANYTHING}
    known = "".join(
        f" AND {table.quoted[name]} IS NOT NULL" for name, of in where.items() if of is ANYTHING
    )
    column = table.quoted[key]
    counted = Statement(
        f"SELECT {column}, COUNT(*) FROM {table.name} "
        f"WHERE {among.sql}{table.and_still(equal)}{known} GROUP BY {column}",
        [*among.parameters, *equal.values()],
        all_rows,
    )
    return dict(send(database, counted))


class Among(models.Lookup):
    """A condition for Django's ``filter()``: that a field has one of many values.

    Made of an ``F()`` and a sequence; see one_of(). A RawSQL would do, but Django compares that
    with TRUE on MySQL, so that no index is used.
    """

    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition and its parameters."""
        column, parameters = self.process_lhs(compiler, connection)
        field: Any = self.lhs.output_field
        table = table_of(field.model, connection.alias)
        values = table.all_prepared(field.attname, self.rhs)
        condition = one_of(table, field.attname, values, column=column)
        return condition.sql, (*parameters, *condition.parameters)


def _insert(table: Table, rows: Sequence[Row], returning: Sequence[str]) -> Statement[Any]:
    own, shared = table.split(rows, own=next(iter(rows[0])))
    shared |= table.defaults(besides=rows[0])
    into = f"INSERT INTO {table.name} ({table.names((*own, *shared))})"
    source = source_of(table, own)
    if source is None:
        places = ", ".join(["%s"] * (len(own) + len(shared)))
        values = [(*row, *shared.values()) for row in zip(*own.values(), strict=True)]
        return Statement(f"{into} VALUES ({places})", values, nothing, is_many=True)
    news = [table.new[name] for name in own]
    chosen = ", ".join([*news, *map(table.placeholder, shared)])
    sql = f"{into} SELECT {chosen} FROM {source.sql}"
    parameters = [*shared.values(), *source.parameters]
    if not returning or not table.connection.features.can_return_rows_from_bulk_insert:
        return Statement(sql, parameters, nothing)
    return Statement(f"{sql} RETURNING {table.names(returning)}", parameters, all_rows)


def _update(table: Table, rows: Sequence[Row], key: str, unless: Row) -> Statement[int]:
    own, shared = table.split(rows, own=key)
    kept = {name: table.prepared(name, value) for name, value in unless.items()}
    if len(own) == 1:
        return _update_alike(table, key, own[key], shared, kept)
    source = source_of(table, own) if len(rows) > 1 and joins_tables(table) else None
    update = _update_one_by_one if source is None else partial(_update_from, source)
    return update(table, key, own, shared, kept)


def _update_alike(
    table: Table, key: str, keys: list[Any], shared: Values, kept: Values
) -> Statement[int]:
    """Write the same to all."""
    among = one_of(table, key, keys)
    assigned = table.assigned(dict.fromkeys(shared, "%s"))
    return Statement(
        f"UPDATE {table.name} SET {assigned} WHERE {among.sql}{table.and_still(kept)}",
        [*shared.values(), *among.parameters, *kept.values()],
        rows_found,
    )


def _update_one_by_one(
    table: Table, key: str, own: dict[str, list[Any]], shared: Values, kept: Values
) -> Statement[int]:
    written = [name for name in own if name != key]
    assigned = table.assigned(dict.fromkeys([*shared, *written], "%s"))
    rows = zip(*(own[name] for name in (*written, key)), strict=True)
    return Statement(
        f"UPDATE {table.name} SET {assigned} WHERE {table.quoted[key]} = %s{table.and_still(kept)}",
        [(*shared.values(), *row, *kept.values()) for row in rows],
        rows_found,
        is_many=True,
    )


def _update_from(
    source: Source, table: Table, key: str, own: dict[str, list[Any]], shared: Values, kept: Values
) -> Statement[int]:
    new = {name: table.new[name] for name in own if name != key}
    assigned = table.assigned(dict.fromkeys(shared, "%s") | new)
    match = f"{table.quoted[key]} = {table.new[key]}{table.collations[key]}"
    still = table.and_still(kept)
    if table.vendor == "mysql":
        return Statement(
            f"UPDATE {table.name} JOIN {source.sql} ON {match} SET {assigned} WHERE TRUE{still}",
            [*source.parameters, *shared.values(), *kept.values()],
            rows_found,
        )
    return Statement(
        f"UPDATE {table.name} SET {assigned} FROM {source.sql} WHERE {match}{still}",
        [*shared.values(), *source.parameters, *kept.values()],
        rows_found,
    )


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Yield the rows in portions that one statement can carry."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        length = sum([len(value) for value in row.values() if isinstance(value, str)])
        if portion and (len(portion) >= MAX_ROWS or size + length > MAX_TEXT):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += length
    if portion:
        yield portion
