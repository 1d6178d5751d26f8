"""Statements, of which several go to the database in one message where its driver can send that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Statement(Generic[T]):
    """What to execute, and how to read the answer from the cursor."""

    sql: str
    parameters: Sequence[Any]
    read: Callable[[Any], T]
    is_many: bool = False
    """True if `parameters` are those of ``executemany()``."""


def rows_found(cursor: Any) -> int:
    """Read how many rows an UPDATE has found."""
    return int(cursor.rowcount)


def all_rows(cursor: Any) -> list[tuple[Any, ...]]:
    """Read the rows, with their values as the driver has them."""
    return list(cursor.fetchall())


def nothing(_: Any) -> None:
    """Read nothing."""


def send(database: str, statement: Statement[T]) -> T:
    """Execute the statement, and return what was read from its answer."""
    with connections[database].cursor() as cursor:
        return _send_alone(cursor, statement)


def send_together(database: str, statements: Sequence[Statement[Any]]) -> list[Any]:
    """Execute the statements in this order, and return what was read from each.

    Each answer costs a way to the server and back. psycopg takes several statements in one message,
    and so a transaction can begin with its first ones. After one that fails none is executed.
    Measured for a pass that claims ten jobs, in milliseconds, 1.4 from the server: 15.6 to 11.8.
    """
    if not statements:
        return []
    connection = connections[database]
    with connection.cursor() as cursor:
        if _takes_several(connection) and not any(each.is_many for each in statements):
            return _send_together(connection, cursor, statements)
        return [_send_alone(cursor, statement) for statement in statements]


def _takes_several(connection: BaseDatabaseWrapper) -> bool:
    """Return True for psycopg 3, unless it leaves parameters to the server, one statement each."""
    is_psycopg3 = hasattr(connection.connection, "pgconn")
    return is_psycopg3 and not connection.settings_dict["OPTIONS"].get("server_side_binding")


def _send_together(
    connection: BaseDatabaseWrapper, cursor: Any, statements: Sequence[Statement[Any]]
) -> list[Any]:
    parts = [statement.sql for statement in statements]
    # 0 is libpq's word for an idle connection: the server knows of no transaction yet.
    is_idle = connection.connection.info.transaction_status == 0
    begins = connection.in_atomic_block and is_idle
    if begins:
        # The driver would send BEGIN by itself, and wait for the answer.
        connection.connection.autocommit = True
        parts.insert(0, "BEGIN")
    cursor.execute("; ".join(parts), list(chain.from_iterable([s.parameters for s in statements])))
    answers = []
    if begins:
        cursor.nextset()
    for statement in statements:
        answers.append(statement.read(cursor))
        cursor.nextset()
    return answers


def _send_alone(cursor: Any, statement: Statement[T]) -> T:
    execute = cursor.executemany if statement.is_many else cursor.execute
    execute(statement.sql, statement.parameters)
    return statement.read(cursor)
