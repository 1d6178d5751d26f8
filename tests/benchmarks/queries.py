"""Count the queries of this process, whichever way they go to the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created


def count_queries() -> list[str]:
    """Return a list to which each query is appended from now on, of new connections.

    They go through Django, SQLAlchemy or psycopg's asynchronous cursor; nothing here uses two of
    them for one query.
    """
    asked: list[str] = []
    _count_of_django(asked)
    for count in (_count_of_sqlalchemy, _count_of_psycopg):
        try:
            count(asked)
        except ImportError:
            pass  # no side that uses it is in this environment
    return asked


def _count_of_django(asked: list[str]) -> None:
    def wrap(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        if not sql.startswith("BEGIN"):  # on SQLite it is a query like any other
            asked.append(sql)
        return execute(sql, *others)

    def on_connection(*, connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(wrap)

    connection_created.connect(on_connection, weak=False)


def _count_of_sqlalchemy(asked: list[str]) -> None:
    from sqlalchemy import Engine, event  # type: ignore[import-not-found]

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)


def _count_of_psycopg(asked: list[str]) -> None:
    from psycopg import AsyncCursor

    execute = AsyncCursor.execute

    async def note_and_execute(self: AsyncCursor[Any], query: Any, *args: Any, **kw: Any) -> Any:
        asked.append(str(query))
        return await execute(self, query, *args, **kw)

    AsyncCursor.execute = note_and_execute  # type: ignore[method-assign]  # this process only measures
