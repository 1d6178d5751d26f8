"""The lanes that coroutine jobs share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

from async_apscheduler._database._connections import QueryWrapper, replace_broken_connections
from async_apscheduler._database._lanes import Lane

P = ParamSpec("P")
T = TypeVar("T")


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
            lane.submit(close_old_connections if lane.runs == 1 else replace_broken_connections)
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
