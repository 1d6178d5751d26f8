"""DjangoScheduler: an AsyncIOScheduler that shares its jobs with other processes through Django.

This is its outside: what its users call, and what APScheduler calls. The work itself is in
``engine.work`` (the passes) and ``engine.active`` (the runs).
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from django.db import connections

from async_apscheduler._database import Lane, retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.active import ActiveRuns
from async_apscheduler.engine.claims import Claims
from async_apscheduler.engine.events import RUN_ENDED
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.engine.foreign import ForeignStores, unclaimed_run
from async_apscheduler.engine.heartbeat import Heartbeat
from async_apscheduler.engine.held import HeldRuns
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import Lookout
from async_apscheduler.engine.passes import Pass
from async_apscheduler.engine.recorder import Recorder
from async_apscheduler.engine.retention import Retention
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.sync_guard import GuardedMethods
from async_apscheduler.engine.wakeup import STOP_LIMIT, Wakeup
from async_apscheduler.engine.watchdog import Watchdog
from async_apscheduler.engine.work import Work
from async_apscheduler.exceptions import ConfigurationError, SynchronousCallError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import Reason
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.signals import node_started, node_stopped, work_failed
from async_apscheduler.triggers import check_trigger, create_trigger

CANCEL_GRACE = 5.0
"""Seconds that cancelled runs get to clean up."""

FLUSH_LIMIT = 10.0
"""Seconds that the last results may take to be written at shutdown."""

HURRIED = 0.3
"""Seconds that each step of the shutdown may still take after hurry()."""


class DjangoScheduler(GuardedMethods, AsyncIOScheduler):  # type: ignore[misc]  # APScheduler is untyped
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
        self._work: Work | None = None
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
        self._may_write = asyncio.Event()
        if not paused:
            self._may_write.set()
        self._lane = Lane("scheduler")
        try:
            await self._lane.run(self.node.join)
            await self._lane.run(BaseScheduler.start, self, paused)
        except BaseException:
            self._lane.close()
            raise
        self._begin_work()
        node_started.send_robust(type(self), node=self.node.row)

    async def ashutdown(self, wait: bool = True) -> None:
        """Stop claiming, let runs end, cancel what has not within SHUTDOWN_TIMEOUT, and leave.

        Without `wait` runs are cancelled at once, as after hurry(). Cancelled runs are recorded as
        cancelled. Raises SchedulerNotRunningError.
        """
        if self._work is None or self._work.stopped:
            raise SchedulerNotRunningError
        self._work.stopped = True
        if not wait:
            self.hurry()
        await self._tell_database(self.node.drain)
        limit = get_settings().shutdown_timeout
        await self._patiently(self._runs.wait_until_none_left(), limit, hurried=0.0)
        self._runs.cancel_all(Reason.SHUTDOWN)
        await self._patiently(self._runs.wait_until_none_left(), CANCEL_GRACE)
        self._runs.give_up(Reason.SHUTDOWN)
        await self._patiently(self._recorder.wait_until_written(), FLUSH_LIMIT)
        await self._end_work()
        node_stopped.send_robust(type(self), node=self.node.row)

    def hurry(self) -> None:
        """During ashutdown(): do not wait for runs any longer, cancel them."""
        self._hurry.set()

    @property
    def active_runs(self) -> int:
        """How many runs are going on in this process."""
        return len(self._runs)

    @property
    def unwritten_results(self) -> int:
        """How many finished runs are not in the database yet."""
        return self._recorder.waiting

    @property
    def has_stuck_threads(self) -> bool:
        """True if plain functions are still running in threads that shutdown could not stop."""
        executors = [e for e in self._executors.values() if isinstance(e, DjangoExecutor)]
        return any(executor.has_busy_threads for executor in executors)

    def wakeup(self) -> None:
        """Let the next pass begin now; callable from any thread."""
        if self._work is not None and self._eventloop is not None:
            self._eventloop.call_soon_threadsafe(self._work.wake)

    def resume(self) -> None:
        """See APScheduler; callable from any thread."""
        if self._work is not None and self._eventloop is not None:
            self._housekeeping.rests = False
            self._eventloop.call_soon_threadsafe(self._may_write.set)
        super().resume()

    def start_unclaimed(self, job: Job, run_time: Any) -> None:
        """Start a run that is not claimed in the database, and record it at its end."""
        now = self.node.now()
        self._runs.begin([unclaimed_run(job, run_time, node_id=self.node.id, now=now)])

    def start(self, paused: bool = False) -> None:
        """Not here: starting waits for the database. Raises SynchronousCallError."""
        raise SynchronousCallError("start", "astart")

    def shutdown(self, wait: bool = True) -> None:
        """Not here: shutting down waits for the runs. Raises SynchronousCallError."""
        raise SynchronousCallError("shutdown", "ashutdown")

    # Beginning and ending

    def _begin_work(self) -> None:
        # SQLite has one writer at a time: with a thread of its own the recorder would only wait
        # for the pass, in the busy loop of SQLite's lock.
        shared = connections[get_settings().database].vendor == "sqlite"
        self._recorder_lane = self._lane if shared else Lane("recorder")
        alias, store = self._django_store()
        self._recorder = Recorder(
            self._recorder_lane, lambda retries: work.results_written(retries=retries)
        )
        self._runs = ActiveRuns(
            self,
            self.node,
            self._recorder,
            tell=self._tell,
            on_begin=lambda: watchdog.runs_begin(),
            on_end=lambda: work.run_ended(),
        )
        self._wakeup = Wakeup(self.node, self._lane, self.wakeup)
        self._housekeeping = Housekeeping(self.node, store)
        self._housekeeping.rests = not self._may_write.is_set()
        claims = Claims(store, self.node, alias) if store is not None else None
        held = None
        if claims is not None:
            held = HeldRuns(
                self.node, self._lane, self._runs, claims, on_return=lambda: work.wake()
            )
        work = self._work = Work(
            self,
            node=self.node,
            lane=self._lane,
            runs=self._runs,
            django=Pass(claims, Lookout(self.node)) if claims is not None else None,
            held=held,
            foreign=ForeignStores(self),
            housekeeping=self._housekeeping,
            wakeup=self._wakeup,
        )
        if store is not None:
            self._wakeup.start()
        self._heartbeat = Heartbeat(
            self.node,
            running=lambda: len(self._runs),
            lag=work.take_lag,
            on_eviction=self.wakeup,
        )
        self._heartbeat.start()
        watchdog = self._watchdog = Watchdog(self._eventloop, lambda: bool(self._runs))
        watchdog.start()
        retention = Retention(self.node, self._recorder_lane)
        self._workers = [
            self._eventloop.create_task(work.go_on(), name="scheduler passes"),
            self._eventloop.create_task(self._recorder.work(), name="scheduler recorder"),
            self._eventloop.create_task(self._prune(retention), name="scheduler retention"),
        ]

    async def _prune(self, retention: Retention) -> None:
        await self._may_write.wait()
        await retention.work()

    async def _end_work(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._watchdog.stop()
        self._heartbeat.stop()
        await self._patiently(self._wakeup.stop(), STOP_LIMIT)
        await self._tell_database(self._leave)
        stop = self._lane.run(BaseScheduler.shutdown, self, False)
        await self._patiently(stop, FLUSH_LIMIT)
        self._lane.close()
        self._recorder_lane.close()
        self._work = None

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

    def _django_store(self) -> tuple[str, DjangoJobStore | None]:
        for alias, store in self._jobstores.items():
            if isinstance(store, DjangoJobStore):
                return alias, store
        return "default", None

    # What APScheduler calls

    def add_jobstore(self, jobstore: Any, alias: str = "default", **options: Any) -> None:
        """See APScheduler. A second DjangoJobStore is refused: it would be the same table."""
        other, store = self._django_store()
        if store is not None and (jobstore == "django" or isinstance(jobstore, DjangoJobStore)):
            raise ConfigurationError(
                f"The job stores {other!r} and {alias!r} are the same table. Give a "
                "DjangoScheduler one DjangoJobStore; other kinds may stand beside it."
            )
        super().add_jobstore(jobstore, alias, **options)

    def _configure(self, config: dict[str, Any]) -> None:
        settings = get_settings()
        config.setdefault("timezone", settings.time_zone)
        defaults = settings.job_defaults
        config["job_defaults"] = {
            "coalesce": defaults.coalesce,
            "misfire_grace_time": defaults.misfire_grace_time,
            "max_instances": defaults.max_instances,
            **config.get("job_defaults", {}),
        }
        config["executors"] = {**settings.executors, **config.get("executors", {})}
        super()._configure(config)

    def _create_default_executor(self) -> BaseExecutor:
        return DjangoExecutor()

    def _create_default_jobstore(self) -> DjangoJobStore:
        return DjangoJobStore()

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> BaseTrigger:
        created = create_trigger(trigger, trigger_args, timezone=self.timezone)
        check_trigger(created, now=datetime.now(self.timezone))  # APScheduler might search for ever
        return created

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> None:
        store = self._lookup_jobstore(jobstore_alias)
        if replace_existing and isinstance(store, DjangoJobStore):
            store.keep_schedule(job)
        super()._real_add_job(job, jobstore_alias, replace_existing)

    def _dispatch_event(self, event: Any) -> None:
        """Tell the listeners, always on the event loop; called by APScheduler in any thread."""
        if self._loop_thread is None or threading.get_ident() == self._loop_thread:
            self._dispatch_on_loop(event)
        elif self._eventloop is not None:
            self._eventloop.call_soon_threadsafe(self._dispatch_on_loop, event)

    def _dispatch_on_loop(self, event: Any) -> None:
        if event.code & RUN_ENDED and self._work is not None:
            self._runs.take_back(event)
        self._send(event)

    def _tell(self, describe: Callable[[Run], Any], run: Run) -> None:
        """Tell the listeners what happened to a run; without listeners no event is made."""
        if self._listeners and (event := describe(run)) is not None:
            self._send(event)

    def _send(self, event: Any) -> None:
        if self._listeners:
            super()._dispatch_event(event)
