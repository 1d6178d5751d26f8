"""The threads that run plain functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from django.db import close_old_connections

from async_apscheduler._database._connections import QueryWrapper, prepare_thread

P = ParamSpec("P")
T = TypeVar("T")


class JobThreads:
    """The threads that run plain functions, each cleaning its connections around every call."""

    def __init__(self, size: int, *, query_wrapper: QueryWrapper | None = None) -> None:
        self._threads = ThreadPoolExecutor(
            max_workers=size,
            thread_name_prefix="job-thread",
            initializer=prepare_thread,
            initargs=(query_wrapper,),
        )

    def submit(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `func` in one of the threads."""
        return self._threads.submit(_with_clean_connections, func, args, kwargs)

    def close(self) -> None:
        """Let the threads end when their functions have; returns at once."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _with_clean_connections(func: Callable[..., T], args: Any, kwargs: Any) -> T:
    close_old_connections()
    try:
        return func(*args, **kwargs)
    finally:
        close_old_connections()
