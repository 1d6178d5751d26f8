"""The one door between the event loop and the database.

Django forbids database calls on the loop. A *lane* is one thread with its own Django connections;
everything asynchronous in this package reaches the database through a lane, so there is one place
to look when a connection is stale, and one place that bounds how many connections there are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    close_old_connections,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

QueryWrapper = Callable[..., Any]
"""A function for Django's ``connection.execute_wrapper``."""

CONNECTION_ERRORS = (OperationalError, InterfaceError, InternalError)
"""What a database raises when it is away, restarted, locked or out of space."""


MYSQL_DEADLOCK = 1213
POSTGRESQL_DEADLOCK = "40P01"


def is_deadlock(error: Exception) -> bool:
    """Return True if the database ended a transaction because it and another waited in a circle.

    That happens to correct programs, too; the transaction is to be done over.
    """
    cause = error.__cause__
    code = error.args[0] if error.args else None
    return code == MYSQL_DEADLOCK or getattr(cause, "sqlstate", None) == POSTGRESQL_DEADLOCK


async def in_database_thread(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `func` where Django's own async methods of the caller run their queries."""
    return await sync_to_async(func)(*args, **kwargs)


def on_event_loop() -> bool:
    """Return True if an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def database_now(database: str) -> datetime:
    """Return the time by the clock of the database server, aware, in UTC."""
    connection = connections[database]
    question = {
        "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
        "mysql": "SELECT UTC_TIMESTAMP(6)",
    }.get(connection.vendor)
    if question is None:  # SQLite lives in this process
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(question)
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC)


def discard_connection(database: str) -> None:
    """Close this thread's connection after an error, so that the next query opens a new one."""
    connection = connections[database]
    if connection.in_atomic_block:
        return
    try:
        connection.close()
    except CONNECTION_ERRORS:
        connection.connection = None


def retrying_once(database: str, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `func`, and once more if the connection to `database` turns out to be dead.

    Not inside a transaction: there the caller has to start over.
    """
    connection = connections[database]
    before = connection.connection
    try:
        return func(*args, **kwargs)
    except CONNECTION_ERRORS:
        # An atomic block that ends on a dead connection has replaced it already.
        is_replaced = before is not None and connection.connection is not before
        if connection.in_atomic_block or (_is_alive(connection) and not is_replaced):
            raise
        discard_connection(database)
        return func(*args, **kwargs)


class Lane(Executor):
    """One thread with its own database connections."""

    def __init__(self, name: str, *, query_wrapper: QueryWrapper | None = None) -> None:
        self.name = name
        self.runs = 0
        """How many runs share this lane now; kept by the pool."""
        self._thread = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix=name,
            initializer=_prepare_thread,
            initargs=(query_wrapper,),
        )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in this lane's thread."""
        return self._thread.submit(fn, *args, **kwargs)

    async def run(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `func` in this lane's thread and wait for its result without blocking the loop."""
        return await asyncio.wrap_future(self.submit(func, *args, **kwargs))

    def close(self) -> None:
        """Close the connections and let the thread end; returns at once."""
        try:
            self._thread.submit(connections.close_all)
        except RuntimeError:  # closed before
            return
        self._thread.shutdown(wait=False)


class LanePool:
    """The lanes that runs share, at most `size` of them."""

    def __init__(self, size: int, *, query_wrapper: QueryWrapper | None = None) -> None:
        self._size = size
        self._query_wrapper = query_wrapper
        self._lanes: list[Lane] = []
        self._idle: list[Lane] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def for_run(self) -> RunLane:
        """Return an executor for one run, which takes a lane when it is first used."""
        return RunLane(self)

    def acquire(self) -> Lane:
        """Return a lane of its own while there are free ones, then the one with the fewest runs.

        A newcomer shares rather than waits: otherwise a run that touched the database once and
        then waits an hour for the network would starve the others, and two runs that wait for
        each other would never end.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("The scheduler has stopped; its database lanes are closed.")
            if self._idle:
                lane = self._idle.pop()  # the last one used: its connection is warm
            elif len(self._lanes) < self._size:
                lane = Lane(f"db-lane-{len(self._lanes)}", query_wrapper=self._query_wrapper)
                self._lanes.append(lane)
            else:
                lane = min(self._lanes, key=lambda lane: lane.runs)
            lane.runs += 1
            lane.submit(close_old_connections if lane.runs == 1 else _replace_broken_connections)
            return lane

    def release(self, lane: Lane) -> None:
        """Give back what acquire() returned."""
        with self._lock:
            lane.runs -= 1
            if not lane.runs and lane in self._lanes:  # else the pool was closed meanwhile
                lane.submit(close_old_connections)
                self._idle.append(lane)

    def close(self) -> None:
        """Close all lanes; returns at once."""
        with self._lock:
            self._is_closed = True
            for lane in self._lanes:
                lane.close()
            self._lanes.clear()
            self._idle.clear()


class RunLane(Executor):
    """The executor of one run.

    It takes a lane at the first call and keeps it until release(), because an ``aiterator()`` or a
    server-side cursor needs the same thread each time. A task that outlives its run gets a lane
    for each call.
    """

    def __init__(self, pool: LanePool) -> None:
        self._pool = pool
        self._lane: Lane | None = None
        self._is_over = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in the lane's thread."""
        if self._is_over:
            lane = self._pool.acquire()
            future = lane.submit(fn, *args, **kwargs)
            future.add_done_callback(lambda _: self._pool.release(lane))
            return future
        if self._lane is None:
            self._lane = self._pool.acquire()
        return self._lane.submit(fn, *args, **kwargs)

    def release(self) -> None:
        """Give the lane back, if one was taken."""
        self._is_over = True
        if self._lane is not None:
            self._pool.release(self._lane)
            self._lane = None


class JobThreads:
    """The threads that run plain functions, each cleaning its connections around every call."""

    def __init__(self, size: int, *, query_wrapper: QueryWrapper | None = None) -> None:
        self._threads = ThreadPoolExecutor(
            max_workers=size,
            thread_name_prefix="job-thread",
            initializer=_prepare_thread,
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


def _replace_broken_connections() -> None:
    """Close connections that are dead, and no others: another run may be using them."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.in_atomic_block:
            if not _is_alive(connection):
                connection.close()
            connection.errors_occurred = False


def _is_alive(connection: BaseDatabaseWrapper) -> bool:
    # Django's backend for MySQL cannot be asked before there is a connection.
    return connection.connection is not None and connection.is_usable()


def _prepare_thread(wrapper: QueryWrapper | None) -> None:
    """Set up the connections of the calling thread, before any of them is opened.

    `wrapper` sees every query. On SQLite transactions take the write lock when they begin, unless
    the project says otherwise: one that reads first and then writes, while another thread has
    written, fails at once with "database is locked" however long the timeout is.
    """
    for connection in connections.all():
        if wrapper is not None:
            connection.execute_wrappers.append(wrapper)
        if connection.vendor == "sqlite":
            options = {"transaction_mode": "IMMEDIATE", **connection.settings_dict["OPTIONS"]}
            connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
