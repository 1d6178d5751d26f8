"""A lane: one thread with its own database connections."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from async_apscheduler._database._connections import (
    QueryWrapper,
    break_connection,
    prepare_thread,
)

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_LIMIT = 10.0
"""Seconds after which a database that does not answer counts as away."""


_closings: set[Future[None]] = set()
"""What closed lanes have still to do."""


def closed_lanes_have_ended(limit: float) -> bool:
    """Wait up to `limit` seconds for the threads of closed lanes; return False if some hang.

    The interpreter would wait for them at its end, however long that takes.
    """
    return not wait(list(_closings), timeout=limit).not_done


def _tamed(func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `func`; let whatever it raises be an Exception.

    It calls triggers and job stores of the user, and what means the end of a process or of a task
    means neither here.
    """
    try:
        return func(*args, **kwargs)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"The code of a trigger or a job store raised {error!r}.") from error


class Lane(Executor):
    """One thread with its own database connections.

    Without a `query_wrapper`, which sees every query of somebody's jobs, it is for our own queries.
    """

    def __init__(self, name: str, *, query_wrapper: QueryWrapper | None = None) -> None:
        self.name = name
        self.runs = 0
        """How many runs share this lane now; kept by the pool."""
        self._thread = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix=name,
            initializer=self._prepare,
            initargs=(query_wrapper,),
        )
        self._connections: list[BaseDatabaseWrapper] = []
        self._last: Future[Any] | None = None
        self._stirred = threading.Event()
        self._look_began = math.inf

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in this lane's thread."""
        future = self._thread.submit(fn, *args, **kwargs)
        self._last = future
        self.stir()
        return future

    @property
    def is_busy(self) -> bool:
        """True while something that was submitted has not been done."""
        return self._last is not None and not self._last.done()

    async def run(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `func` in this lane's thread and wait for its result without blocking the loop."""
        return await asyncio.wrap_future(self.submit(func, *args, **kwargs))

    async def ask(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See run(); a database that does not answer within ANSWER_LIMIT makes it fail.

        SystemExit and the like become a RuntimeError, see _tamed().
        """
        # It is submitted here and now: a loop that is busy comes to another task late.
        return await self.answer(asyncio.wrap_future(self.submit(_tamed, func, *args, **kwargs)))

    async def rest(
        self,
        look: Callable[[], bool],
        pause: Callable[[], float],
        turned: Callable[[float], None],
    ) -> None:
        """Call `look` in this lane's thread after each `pause`, in seconds, until it returns True.

        Or until stir() is called, or anything else is submitted. The loop sleeps meanwhile: to wake
        it for each look would cost as much as the look does. Now and then it turns all the same,
        and calls `turned` with the time.monotonic() at which it should have. Raises what `look`
        raises, also when the database does not answer it within ANSWER_LIMIT; see ask().
        """
        self._stirred.clear()
        looking = asyncio.wrap_future(self._thread.submit(_tamed, self._look, look, pause))
        try:
            while not looking.done():
                expected_at = time.monotonic() + ANSWER_LIMIT / 2
                await asyncio.wait((looking,), timeout=ANSWER_LIMIT / 2)
                turned(expected_at)
                if time.monotonic() - self._look_began > ANSWER_LIMIT / 2:
                    self.interrupt()
        except asyncio.CancelledError:
            looking.cancel()
            raise
        finally:
            self.stir()
        looking.result()

    def stir(self) -> None:
        """End a rest() now; callable from any thread."""
        self._stirred.set()

    def _look(self, look: Callable[[], bool], pause: Callable[[], float]) -> None:
        has_news = False
        while not has_news and not self._stirred.wait(pause()):
            self._look_began = time.monotonic()
            try:
                has_news = look()
            finally:
                self._look_began = math.inf

    async def answer(self, work: Awaitable[T]) -> T:
        """Wait for `work` that goes on in this lane, but not for ever for the database.

        The outcome is always that of the work itself, which ends soon when its connection is
        broken: who left while a claim is being committed would never start what was claimed.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def give_up() -> None:
            nonlocal timer
            self.interrupt()
            timer = loop.call_later(ANSWER_LIMIT, give_up)  # noqa: F821  # deleted only below

        timer = loop.call_later(ANSWER_LIMIT, give_up)
        try:
            return await work
        finally:
            timer.cancel()
            del give_up  # which holds itself, and the context of this call

    def interrupt(self) -> None:
        """Break the connections, so that whatever waits for an answer on them gets an error."""
        for connection in self._connections:
            break_connection(connection)

    def _prepare(self, query_wrapper: QueryWrapper | None) -> None:
        prepare_thread(query_wrapper, is_ours=query_wrapper is None)
        self._connections = list(connections.all())

    def close(self) -> None:
        """Close the connections and let the thread end; returns at once."""
        self.stir()
        try:
            closing = self._thread.submit(connections.close_all)
        except RuntimeError:  # closed before
            return
        _closings.add(closing)
        closing.add_done_callback(_closings.discard)
        self._thread.shutdown(wait=False)
