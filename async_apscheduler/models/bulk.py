"""Insert or update many rows, each with values of its own, without a statement a row.

Django's ``bulk_update`` builds one CASE expression a column; measured, it is hardly faster than
saving row by row. The database drivers' ``executemany`` prepares one statement and sends the
values: psycopg pipelines them, SQLite binds them in a loop of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections, models, transaction


def insert_each(
    model: type[models.Model], database: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, given by the same columns each; the others get the model's defaults.

    Django's ``bulk_create`` prepares every column of every row anew: measured for 500 rows on
    SQLite, 134 microseconds a row against 33.
    """
    if not rows:
        return
    connection = connections[database]
    fields: list[Any] = [field for field in model._meta.concrete_fields if not field.primary_key]
    given = list(rows[0])
    columns = [field for field in fields if field.attname in given]
    others = [field for field in fields if field.attname not in given]
    defaults = [field.get_db_prep_save(field.get_default(), connection) for field in others]
    names = ", ".join(connection.ops.quote_name(field.column) for field in (*columns, *others))
    places = ", ".join(["%s"] * len(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    parameters = [
        [field.get_db_prep_save(row[field.attname], connection) for field in columns] + defaults
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", parameters)


def update_each(
    model: type[models.Model],
    database: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    where: Sequence[str],
    unless_changed: Mapping[str, Any] | None = None,
) -> int:
    """Update each row by the values of one mapping, and return how many rows were changed.

    All mappings have the same keys: attribute names of fields. Those in `where` find the row,
    the others are written. `unless_changed` are values that the row must still have.
    """
    if not rows:
        return 0
    connection = connections[database]
    fields: dict[str, Any] = {field.attname: field for field in model._meta.concrete_fields}
    written = [name for name in rows[0] if name not in where]
    kept = dict(unless_changed or {})

    def column(name: str) -> str:
        return connection.ops.quote_name(fields[name].column)

    def value(name: str, raw: Any) -> Any:
        return fields[name].get_db_prep_save(raw, connection)

    assignments = ", ".join(f"{column(name)} = %s" for name in written)
    conditions = " AND ".join(f"{column(name)} = %s" for name in (*where, *kept))
    table = connection.ops.quote_name(model._meta.db_table)
    sql = f"UPDATE {table} SET {assignments} WHERE {conditions}"
    condition_values = [value(name, raw) for name, raw in kept.items()]
    parameters = [
        [value(name, row[name]) for name in (*written, *where)] + condition_values for row in rows
    ]
    with transaction.atomic(using=database), connection.cursor() as cursor:
        cursor.executemany(sql, parameters)
        return int(cursor.rowcount)
