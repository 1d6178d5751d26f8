"""DjangoScheduler: an AsyncIOScheduler that shares its jobs with other processes through Django.

The work is a loop of passes (see engine.passes) on the event loop's behalf in a database thread.
Nothing ends it: whatever fails is reported, and tried again after a pause.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.executors.base import BaseExecutor, MaxInstancesReachedError
from apscheduler.job import Job
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED, BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from django.db import connections

from async_apscheduler._database import CONNECTION_ERRORS, Lane, discard_connection
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.backoff import Backoff
from async_apscheduler.engine.claims import Claims
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.engine.foreign import ForeignStores, unclaimed_run
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.passes import Pass
from async_apscheduler.engine.recorder import Recorder, prepare
from async_apscheduler.engine.runs import Run, Skipped
from async_apscheduler.engine.sync_guard import GuardedMethods
from async_apscheduler.exceptions import ConfigurationError, NodeEvictedError, SynchronousCallError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import Reason, Status
from async_apscheduler.signals import (
    job_quarantined,
    node_started,
    node_stopped,
    run_finished,
    run_started,
    runs_skipped,
    work_failed,
    work_resumed,
)
from async_apscheduler.triggers import create_trigger

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
        self._draining = False
        self._hurry = asyncio.Event()
        self._quiet = asyncio.Event()
        self._wake = asyncio.Event()
        self._loop_thread: int | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._runs: dict[int, Run] = {}
        self._handed_over: dict[tuple[str, str, datetime], Run] = {}
        super().__init__(gconfig or {}, **options)

    async def astart(self, paused: bool = False) -> None:
        """Join as a node, start executors and job stores, and begin to work.

        With `paused` no job is started until resume() is called. Raises whatever the database
        raises if it cannot be reached; then nothing was started, and astart() may be called again.
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._eventloop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._pass_lane = Lane("scheduler")
        try:
            await self._pass_lane.run(self.node.join)
            await self._pass_lane.run(BaseScheduler.start, self, paused)
        except BaseException:
            self._pass_lane.close()
            raise
        self._begin_work()
        node_started.send_robust(type(self), node=self.node.row)

    async def ashutdown(self, wait: bool = True) -> None:
        """Stop claiming, let runs end, cancel what has not within SHUTDOWN_TIMEOUT, and leave.

        Without `wait` runs are cancelled at once, as after hurry(). Cancelled runs are recorded as
        cancelled. Raises SchedulerNotRunningError.
        """
        if self.state == STATE_STOPPED or self._draining:
            raise SchedulerNotRunningError
        self._draining = True
        if not wait:
            self.hurry()
        await self._tell_database(self.node.drain)
        await self._wait_for_runs(get_settings().shutdown_timeout)
        await self._cancel_runs(Reason.SHUTDOWN)
        await self._patiently(self._recorder.wait_until_written(), FLUSH_LIMIT)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._tell_database(self.node.leave)
        await self._patiently(self._pass_lane.run(BaseScheduler.shutdown, self, False), FLUSH_LIMIT)
        self._pass_lane.close()
        self._recorder_lane.close()
        self._draining = False
        node_stopped.send_robust(type(self), node=self.node.row)

    def hurry(self) -> None:
        """During ashutdown(): do not wait for runs any longer, cancel them."""
        self._hurry.set()

    @property
    def active_runs(self) -> int:
        """How many runs are going on in this process."""
        return len(self._executor_runs()) + len(self._handed_over)

    @property
    def has_stuck_threads(self) -> bool:
        """True if plain functions are still running in threads that shutdown could not stop."""
        executors = [e for e in self._executors.values() if isinstance(e, DjangoExecutor)]
        return any(executor.has_busy_threads for executor in executors)

    @property
    def unwritten_results(self) -> int:
        """How many finished runs are not in the database yet."""
        return self._recorder.waiting

    def wakeup(self) -> None:
        """Let the next pass begin now; callable from any thread."""
        if self._eventloop is not None:
            self._eventloop.call_soon_threadsafe(self._wake.set)

    def start_unclaimed(self, job: Job, run_time: datetime) -> None:
        """Start a run that is not claimed in the database, and record it at its end."""
        self._begin(unclaimed_run(job, run_time, node_id=self.node.id, now=self.node.now()))

    # The work

    def _begin_work(self) -> None:
        recorder_lane = self._pass_lane
        if connections[get_settings().database].vendor != "sqlite":
            # SQLite has one writer at a time: with a thread of its own the recorder would only
            # wait for the pass, in the busy loop of SQLite's lock.
            recorder_lane = Lane("recorder")
        self._recorder_lane = recorder_lane
        self._recorder = Recorder(recorder_lane, self._results_written)
        alias, store = self._django_store()
        self._foreign = ForeignStores(self)
        self._pass = Pass(Claims(store, self.node, alias)) if store is not None else None
        self._housekeeping = Housekeeping(self.node, store)
        self._workers = [
            self._eventloop.create_task(self._work(), name="scheduler passes"),
            self._eventloop.create_task(self._recorder.work(), name="scheduler recorder"),
        ]

    async def _work(self) -> None:
        backoff = Backoff()
        while True:
            self._wake.clear()
            try:
                pause = await self._one_pass()
            except Exception as error:
                delay = backoff.failed()
                work_failed.send_robust(type(self), part="pass", error=error, retry_in=delay)
                await self._recover(error)
                await asyncio.sleep(delay)
            else:
                if backoff.succeeded():
                    work_resumed.send_robust(type(self), part="pass")
                await self._sleep(pause)

    async def _one_pass(self) -> float:
        """Do one pass and return how many seconds to sleep until the next."""
        active = self._active_by_job()
        await self._pass_lane.run(self._housekeeping.keep, sum(active.values()))
        pause = self._housekeeping.seconds_to_next_beat()
        if self.state != STATE_RUNNING or self._draining:
            return pause
        now = self.node.now()
        moments = [now + timedelta(seconds=pause)]
        if self._foreign.exist:
            moments.append(await self._pass_of_foreign_stores(now, active))
        if self._pass is not None:
            moments.append(await self._pass_of_django_store(now, self._pass))
        return max(0.0, (min(moments) - self.node.now()).total_seconds())

    async def _pass_of_django_store(self, now: datetime, work: Pass) -> datetime:
        active = self.active_runs
        room = 0 if self._draining else self.node.capacity - active
        executors = list(self._executors)
        result = await self._pass_lane.run(work.work, now, executors, active=active, room=room)
        for run in result.claimed.runs:
            self._begin(run)
        self._report(result.claimed.skipped)
        for error in result.claimed.quarantined:
            job_quarantined.send_robust(type(self), job_id=error.job_id, error=error)
        for key in result.cancel:
            self._cancel(key)
        poll = now + timedelta(seconds=get_settings().poll_interval)
        return min(result.next_at or poll, poll)

    async def _pass_of_foreign_stores(
        self, now: datetime, active: Counter[tuple[str, str]]
    ) -> datetime:
        work = await self._pass_lane.run(
            self._foreign.take_due,
            now,
            node_id=self.node.id,
            active=active,
            room=self.node.capacity - sum(active.values()),
        )
        for run in work.runs:
            self._begin(run)
        self._report(work.skipped)
        for alias, error in work.errors:
            part = f"job store {alias!r}"
            work_failed.send_robust(type(self), part=part, error=error, retry_in=1.0)
        return work.next_run_time or datetime.max.replace(tzinfo=UTC)

    async def _recover(self, error: Exception) -> None:
        """Put right what made a pass fail, as far as that can be done from here."""
        if isinstance(error, CONNECTION_ERRORS):
            await self._pass_lane.run(discard_connection, get_settings().database)
        elif isinstance(error, NodeEvictedError):
            for run in self._executor_runs():
                self._cancel_run(run, Reason.NODE_LOST)
            try:
                await self._pass_lane.run(self.node.join)
            except Exception as failure:
                work_failed.send_robust(type(self), part="join", error=failure, retry_in=0.0)

    async def _sleep(self, seconds: float) -> None:
        timer = self._eventloop.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # Runs

    def _begin(self, run: Run) -> None:
        executor = self._executors.get(run.job.executor)
        if run.context.id is not None:
            self._runs[run.context.id] = run
        run_started.send_robust(type(self), run=run)
        if isinstance(executor, DjangoExecutor):
            executor.start_run(run, self._run_ended)
        else:
            self._hand_over(run, executor)
        if self._listeners:
            self._dispatch_event(
                JobSubmissionEvent(EVENT_JOB_SUBMITTED, run.job.id, run.jobstore, [run.run_time])
            )

    def _hand_over(self, run: Run, executor: BaseExecutor | None) -> None:
        """Give a run to one of APScheduler's executors; its event tells how it ended."""
        key = (run.jobstore, run.job.id, run.run_time)
        try:
            if executor is None:
                raise LookupError(f"This scheduler has no executor {run.job.executor!r}.")
            self._handed_over[key] = run
            executor.submit_job(run.job, [run.run_time])
        except MaxInstancesReachedError:
            del self._handed_over[key]
            run.end(Status.SKIPPED, Reason.OVERLAP)
            self._run_ended(run)
        except Exception as error:
            self._handed_over.pop(key, None)
            run.error = error
            run.end(Status.FAILED)
            self._run_ended(run)

    def _take_back(self, event: JobExecutionEvent) -> None:
        """Note how a run ended that one of APScheduler's executors was given."""
        run = self._handed_over.pop((event.jobstore, event.job_id, event.scheduled_run_time), None)
        if run is None:
            return
        if event.code == EVENT_JOB_MISSED:
            run.end(Status.SKIPPED, Reason.MISSED)
        elif event.code == EVENT_JOB_ERROR:
            run.error = event.exception
            run.end(Status.FAILED)
        else:
            run.result = event.retval
            run.end(Status.SUCCEEDED)
        self._conclude(run)

    def _run_ended(self, run: Run) -> None:
        self._conclude(run)
        event = self._event_of(run)
        if event is not None and self._listeners:
            super()._dispatch_event(event)

    def _conclude(self, run: Run) -> None:
        """Hand a finished run to the recorder, and make room for the next."""
        if run.context.id is not None:
            self._runs.pop(run.context.id, None)
        prepare(run)
        failed = run.status in (Status.FAILED, Status.TIMED_OUT)
        if failed and run.has_row and run.context.attempt < run.loaded.max_attempts:
            run.retry_at = self.node.now() + timedelta(seconds=run.loaded.retry_delay)
        self._recorder.add(run)
        run_finished.send_robust(type(self), run=run)
        active = self.active_runs
        if not active:
            self._quiet.set()
        if active + 1 >= self.node.capacity:  # until now there was no room for more
            self.wakeup()

    def _results_written(self) -> None:
        """Let runs begin that waited for others of their job to end."""
        if self._pass is not None and self._pass.runs_wait:
            self.wakeup()

    def _event_of(self, run: Run) -> JobExecutionEvent | None:
        """Return APScheduler's event for the end of a run; being cancelled is not an error."""
        about = (run.job.id, run.jobstore, run.run_time)
        if run.status == Status.SUCCEEDED:
            return JobExecutionEvent(EVENT_JOB_EXECUTED, *about, retval=run.result)
        if run.status in (Status.FAILED, Status.TIMED_OUT):
            return JobExecutionEvent(
                EVENT_JOB_ERROR, *about, exception=run.error, traceback=run.traceback
            )
        return None

    def _report(self, skipped: list[Skipped]) -> None:
        for skip in skipped:
            runs_skipped.send_robust(
                type(self), job_id=skip.job_id, reason=skip.reason, fires=skip.fires
            )
            if self._listeners:
                self._dispatch_event(self._event_of_skipped(skip))

    def _event_of_skipped(self, skip: Skipped) -> JobExecutionEvent | JobSubmissionEvent:
        alias = self._django_store()[0]
        if skip.reason is Reason.OVERLAP:
            return JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, skip.job_id, alias, skip.run_times)
        return JobExecutionEvent(EVENT_JOB_MISSED, skip.job_id, alias, skip.run_times[0])

    def _cancel(self, key: int) -> None:
        run = self._runs.get(key)
        if run is not None:
            self._cancel_run(run, Reason.REQUESTED)

    def _cancel_run(self, run: Run, reason: Reason) -> None:
        executor = self._executors.get(run.job.executor)
        if isinstance(executor, DjangoExecutor):
            executor.cancel(run, reason)

    def _executor_runs(self) -> list[Run]:
        executors = [e for e in self._executors.values() if isinstance(e, DjangoExecutor)]
        return [run for executor in executors for run in executor.runs]

    def _active_by_job(self) -> Counter[tuple[str, str]]:
        runs = [*self._executor_runs(), *self._handed_over.values()]
        return Counter((run.jobstore, run.job.id) for run in runs)

    # Shutdown

    async def _wait_for_runs(self, limit: float) -> None:
        """Wait until no run is left, hurry() is called, or `limit` seconds have passed."""
        self._quiet.clear()
        if self.active_runs:
            await self._patiently(self._quiet.wait(), limit, hurried=0.0)

    async def _cancel_runs(self, reason: Reason) -> None:
        for run in self._executor_runs():
            self._cancel_run(run, reason)
        for executor in self._executors.values():
            if isinstance(executor, DjangoExecutor):
                await self._patiently(executor.wait(), CANCEL_GRACE)
        for run in [*self._executor_runs(), *self._handed_over.values()]:
            run.end(Status.CANCELLED, reason)
            self._conclude(run)
        self._handed_over.clear()

    async def _tell_database(self, tell: Callable[[], None]) -> None:
        """Tell the other nodes something that they would find out by themselves, only later."""
        try:
            await self._patiently(self._pass_lane.run(tell), FLUSH_LIMIT)
        except Exception as error:
            work_failed.send_robust(type(self), part="shutdown", error=error, retry_in=0.0)

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

    # APScheduler's own hooks

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
        self._check_stores()

    def _check_stores(self) -> None:
        stores = [a for a, s in self._jobstores.items() if isinstance(s, DjangoJobStore)]
        if len(stores) > 1:
            raise ConfigurationError(
                f"The job stores {', '.join(map(repr, stores))} are the same table. Give a "
                "DjangoScheduler one DjangoJobStore; other kinds may stand beside it."
            )

    def _create_default_executor(self) -> BaseExecutor:
        return DjangoExecutor()

    def _create_default_jobstore(self) -> DjangoJobStore:
        return DjangoJobStore()

    def _django_store(self) -> tuple[str, DjangoJobStore | None]:
        for alias, store in self._jobstores.items():
            if isinstance(store, DjangoJobStore):
                return alias, store
        return "default", None

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> BaseTrigger:
        return create_trigger(trigger, trigger_args, timezone=self.timezone)

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> None:
        store = self._lookup_jobstore(jobstore_alias)
        if replace_existing and isinstance(store, DjangoJobStore):
            store.keep_schedule(job)
        super()._real_add_job(job, jobstore_alias, replace_existing)

    def _dispatch_event(self, event: Any) -> None:
        """Tell the listeners, always on the event loop."""
        if self._loop_thread is None or threading.get_ident() == self._loop_thread:
            self._dispatch_on_loop(event)
        elif self._eventloop is not None:
            self._eventloop.call_soon_threadsafe(self._dispatch_on_loop, event)

    def _dispatch_on_loop(self, event: Any) -> None:
        if event.code & (EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED):
            self._take_back(event)
        super()._dispatch_event(event)

    def start(self, paused: bool = False) -> None:
        """Not here: starting waits for the database. Raises SynchronousCallError."""
        raise SynchronousCallError("start", "astart")

    def shutdown(self, wait: bool = True) -> None:
        """Not here: shutting down waits for the runs. Raises SynchronousCallError."""
        raise SynchronousCallError("shutdown", "ashutdown")
