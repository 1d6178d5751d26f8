"""DjangoScheduler: an AsyncIOScheduler that shares its jobs with other processes through Django.

This is its outside: what its users call. What APScheduler calls is in ``engine.defaults``, who does
the work in ``engine.staff``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from apscheduler.job import Job
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from async_apscheduler._database import Lane, retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.defaults import DjangoDefaults
from async_apscheduler.engine.events import RUN_ENDED
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.engine.foreign import unclaimed_run
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.staff import Staff
from async_apscheduler.engine.sync_guard import GuardedMethods
from async_apscheduler.engine.wakeup import STOP_LIMIT
from async_apscheduler.exceptions import SynchronousCallError
from async_apscheduler.models import Reason
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.signals import node_started, node_stopped, work_failed

CANCEL_GRACE = 5.0
"""Seconds that cancelled runs get to clean up."""

FLUSH_LIMIT = 10.0
"""Seconds that the last results may take to be written at shutdown."""

HURRIED = 0.3
"""Seconds that each step of the shutdown may still take after hurry()."""


class DjangoScheduler(GuardedMethods, DjangoDefaults, AsyncIOScheduler):  # type: ignore[misc]  # APScheduler is untyped
    """APScheduler's AsyncIOScheduler on Django's database, one of any number of nodes.

    Takes AsyncIOScheduler's arguments, and `name` (default: host and process id) and `capacity`
    (default: MAX_CONCURRENT_RUNS). The default job store is a DjangoJobStore, and the default
    executor runs coroutine functions on the loop and others in threads. Start it with ``await
    astart()``, stop it with ``await ashutdown()``; every method that touches the database has a
    twin with an ``a`` in front.
    """

    records_runs = True
    """Tells the job stores that they need not record runs themselves."""

    def __init__(
        self,
        gconfig: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        capacity: int | None = None,
        **options: Any,
    ) -> None:
        self.node = Node(
            name or f"{socket.gethostname()}:{os.getpid()}",
            capacity or get_settings().max_concurrent_runs,
        )
        self._staff: Staff | None = None
        self._loop_thread: int | None = None
        super().__init__(gconfig or {}, **options)

    async def astart(self, paused: bool = False) -> None:
        """Join as a node, start executors and job stores, and begin to work.

        With `paused` nothing is written but this node's row until resume() is called: no job is
        started, no lost node declared lost, nothing pruned. Raises whatever the database
        raises if it cannot be reached; then nothing was started, and astart() may be called again.
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._eventloop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._hurry = asyncio.Event()
        self._lane = Lane("scheduler")
        try:
            await self._lane.run(self.node.join)
            await self._lane.run(BaseScheduler.start, self, paused)
        except BaseException:
            self._lane.close()
            raise
        self._staff = Staff(
            self, self.node, self._lane, self._django_store(), tell=self._tell, rests=paused
        )
        self._staff.begin()
        node_started.send_robust(type(self), node=self.node.row)

    async def ashutdown(self, wait: bool = True) -> None:
        """Stop claiming, let runs end, cancel what has not within SHUTDOWN_TIMEOUT, and leave.

        Without `wait` runs are cancelled at once, as after hurry(). Cancelled runs are recorded as
        cancelled. Raises SchedulerNotRunningError.
        """
        staff = self._staff
        if staff is None or staff.work.stopped:
            raise SchedulerNotRunningError
        staff.work.stopped = True
        if not wait:
            self.hurry()
        await self._tell_database(self.node.drain)
        limit = get_settings().shutdown_timeout
        await self._patiently(staff.runs.wait_until_none_left(), limit, hurried=0.0)
        staff.runs.cancel_all(Reason.SHUTDOWN)
        await self._patiently(staff.runs.wait_until_none_left(), CANCEL_GRACE)
        staff.runs.give_up(Reason.SHUTDOWN)
        await self._patiently(staff.recorder.wait_until_written(), FLUSH_LIMIT)
        await self._end_work(staff)
        node_stopped.send_robust(type(self), node=self.node.row)

    def hurry(self) -> None:
        """During ashutdown(): do not wait for runs any longer, cancel them."""
        self._hurry.set()

    @property
    def active_runs(self) -> int:
        """How many runs are going on in this process."""
        return 0 if self._staff is None else len(self._staff.runs)

    @property
    def unwritten_results(self) -> int:
        """How many finished runs are not in the database yet."""
        return 0 if self._staff is None else self._staff.recorder.waiting

    @property
    def has_stuck_threads(self) -> bool:
        """True if plain functions are still running in threads that shutdown could not stop."""
        executors = [e for e in self._executors.values() if isinstance(e, DjangoExecutor)]
        return any(executor.has_busy_threads for executor in executors)

    def wakeup(self) -> None:
        """Let the next pass begin now; callable from any thread."""
        if self._staff is not None:
            self._eventloop.call_soon_threadsafe(self._staff.work.wake)

    def resume(self) -> None:
        """See APScheduler; callable from any thread."""
        if self._staff is not None:
            self._staff.resume()
        super().resume()

    def start_unclaimed(self, job: Job, run_time: Any) -> None:
        """Start a run that is not claimed in the database, and record it at its end."""
        if self._staff is not None:
            now = self.node.now()
            run = unclaimed_run(job, run_time, node_id=self.node.id, now=now)
            self._staff.runs.begin([run])

    def start(self, paused: bool = False) -> None:
        """Not here: starting waits for the database. Raises SynchronousCallError."""
        raise SynchronousCallError("start", "astart")

    def shutdown(self, wait: bool = True) -> None:
        """Not here: shutting down waits for the runs. Raises SynchronousCallError."""
        raise SynchronousCallError("shutdown", "ashutdown")

    # Ending

    async def _end_work(self, staff: Staff) -> None:
        await staff.end()
        await self._patiently(staff.wakeup.stop(), STOP_LIMIT)
        await self._tell_database(self._leave)
        await self._patiently(self._lane.run(BaseScheduler.shutdown, self, False), FLUSH_LIMIT)
        staff.close()
        self._staff = None

    def _leave(self) -> None:
        self.node.leave()
        # Others may not know of runs that waited for one here to end.
        send_notice(get_settings().database, work_for(get_settings().environment))

    async def _tell_database(self, tell: Callable[[], None]) -> None:
        """Tell the other nodes something that they would find out by themselves, only later."""
        try:
            database = get_settings().database
            await self._patiently(self._lane.run(retrying_once, database, tell), FLUSH_LIMIT)
        except Exception as error:
            work_failed.send_robust(type(self), part="shutdown", error=error, retry_in=None)

    async def _patiently(
        self, work: Coroutine[Any, Any, Any], limit: float, *, hurried: float = HURRIED
    ) -> None:
        """Wait for `work` up to `limit` seconds, and only `hurried` seconds after hurry()."""
        task = self._eventloop.create_task(work)
        hurry = self._eventloop.create_task(self._hurry.wait())
        try:
            await asyncio.wait((task, hurry), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and hurry.done():
                await asyncio.wait((task,), timeout=hurried)
            if task.done():
                task.result()
        finally:
            task.cancel()
            hurry.cancel()

    # Telling the listeners

    def _dispatch_event(self, event: Any) -> None:
        """Tell the listeners, always on the event loop; called by APScheduler in any thread."""
        if self._loop_thread is None or threading.get_ident() == self._loop_thread:
            self._dispatch_on_loop(event)
        elif self._eventloop is not None:
            self._eventloop.call_soon_threadsafe(self._dispatch_on_loop, event)

    def _dispatch_on_loop(self, event: Any) -> None:
        if event.code & RUN_ENDED and self._staff is not None:
            self._staff.runs.take_back(event)
        self._send(event)

    def _tell(self, describe: Callable[[Run], Any], run: Run) -> None:
        """Tell the listeners what happened to a run; without listeners no event is made."""
        if self._listeners and (event := describe(run)) is not None:
            self._send(event)

    def _send(self, event: Any) -> None:
        if self._listeners:
            super()._dispatch_event(event)
