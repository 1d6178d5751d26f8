"""For functions that use the database under APScheduler's own schedulers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django import db

P = ParamSpec("P")
T = TypeVar("T")


def close_old_connections(func: Callable[P, T]) -> Callable[P, T]:
    """Close database connections that are dead or too old before and after each call.

    For plain and coroutine functions. Under DjangoScheduler it is not needed: there every run
    gets this care anyway.
    """
    if not iscoroutinefunction(func):

        @wraps(func)
        def plain(*args: P.args, **kwargs: P.kwargs) -> T:
            db.close_old_connections()
            try:
                return func(*args, **kwargs)
            finally:
                db.close_old_connections()

        return plain

    @wraps(func)
    async def coroutine(*args: P.args, **kwargs: P.kwargs) -> T:
        await sync_to_async(db.close_old_connections)()
        try:
            return await cast(Awaitable[T], func(*args, **kwargs))
        finally:
            await sync_to_async(db.close_old_connections)()

    return cast(Callable[P, T], coroutine)
