"""Run jobs: coroutine functions on the loop, plain functions in threads, each with clean
database connections, a time limit, its log and its accounting.

Whatever a job raises ends its own run and nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.util import iscoroutinefunction_partial
from asgiref.sync import ThreadSensitiveContext

from async_apscheduler._database import JobThreads, LanePool
from async_apscheduler.conf import get_settings
from async_apscheduler.context import RunContext, running
from async_apscheduler.engine.runs import Run
from async_apscheduler.models import DjangoJobExecution, Reason, Status

MAX_LOG = 65_536
"""Characters of a run's log that are kept."""


class DjangoExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler is untyped
    """The executor of DjangoScheduler."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[Run, asyncio.Task[None]] = {}
        self._futures: dict[Run, Future[Any]] = {}
        self._busy: set[Future[Any]] = set()
        self._log_handler = RunLogHandler()

    def start(self, scheduler: Any, alias: str) -> None:
        """Called by the scheduler when it starts."""
        super().start(scheduler, alias)
        settings = get_settings()
        self._lanes = LanePool(settings.db_threads, query_wrapper=account_query)
        self._threads = JobThreads(settings.threads, query_wrapper=account_query)
        if settings.log_capture:
            logging.getLogger().addHandler(self._log_handler)

    def shutdown(self, wait: bool = True) -> None:
        """Called by the scheduler when the runs have ended."""
        logging.getLogger().removeHandler(self._log_handler)
        self._lanes.close()
        self._threads.close()

    @property
    def runs(self) -> list[Run]:
        """The runs that are going on."""
        return list(self._tasks)

    def start_run(self, run: Run, on_end: Callable[[Run], None]) -> None:
        """Begin a run; `on_end` is called on the loop when it has ended."""
        run.context.save_progress = _save_progress
        task = self._scheduler._eventloop.create_task(self._run(run), name=f"job {run.job.id}")
        self._tasks[run] = task
        task.add_done_callback(partial(self._ended, run, on_end))

    def cancel(self, run: Run, reason: Reason) -> None:
        """Cancel a run. A function that runs in a thread already goes on, except at shutdown."""
        run.may_be_retried = False
        task = self._tasks.get(run)
        if task is None or run.cancel_reason is not None:
            return
        future = self._futures.get(run)
        if future is not None and not future.cancel() and reason is not Reason.SHUTDOWN:
            return
        run.cancel_reason = reason
        task.cancel()

    async def wait(self) -> None:
        """Wait until all runs that are going on now have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    @property
    def has_busy_threads(self) -> bool:
        """True if a plain function is running, perhaps one whose run was given up."""
        return bool(self._busy)

    def _ended(self, run: Run, on_end: Callable[[Run], None], task: asyncio.Task[None]) -> None:
        if run.finished_at is None:  # cancelled before its first step
            run.end(Status.CANCELLED, run.cancel_reason or Reason.SHUTDOWN)
        del self._tasks[run]
        on_end(run)

    async def _run(self, run: Run) -> None:
        """Run the job and note how it ended; raises nothing."""
        running.set(run.context)
        lane = self._lanes.for_run()
        try:
            async with ThreadSensitiveContext(executor=lane):
                run.result = await self._call(run)
        except asyncio.CancelledError as error:
            run.error = error
            run.end(Status.CANCELLED, run.cancel_reason or Reason.RAISED)
        except _TimedOutError as error:
            run.error = error
            run.end(Status.TIMED_OUT)
        except BaseException as error:  # SystemExit too: a job must not stop the scheduler
            run.error = error
            run.end(Status.FAILED)
        else:
            run.end(Status.SUCCEEDED)
        finally:
            lane.release()

    async def _call(self, run: Run) -> Any:
        job, limit = run.job, run.loaded.timeout
        if not _is_coroutine_function(job.func):
            return await self._call_in_thread(run)
        if limit is None:
            return await job.func(*job.args, **job.kwargs)
        try:
            async with asyncio.timeout(limit) as timer:
                return await job.func(*job.args, **job.kwargs)
        except TimeoutError as error:
            if timer.expired():
                raise _TimedOutError(f"The run was cancelled after {limit:g} seconds.") from error
            raise

    async def _call_in_thread(self, run: Run) -> Any:
        job, limit = run.job, run.loaded.timeout
        context = contextvars.copy_context()
        future = self._threads.submit(context.run, _outcome, job)
        self._futures[run] = future
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)
        began = time.perf_counter()
        try:
            result, error = await asyncio.wrap_future(future)
        finally:
            del self._futures[run]
        if error is not None:
            raise error
        if limit is not None and time.perf_counter() - began > limit:
            raise _TimedOutError(
                f"The function returned after its limit of {limit:g} seconds; a function in a "
                "thread cannot be stopped."
            )
        return result

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """APScheduler's way to submit a job: record the runs without a claim."""
        for run_time in run_times:
            self._scheduler.start_unclaimed(job, run_time)


class _TimedOutError(TimeoutError):
    """A run took longer than its job's timeout."""


def _is_coroutine_function(func: Any) -> bool:
    return iscoroutinefunction_partial(func) or iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004  # an instance with `async def __call__`
    )


def _outcome(job: Job) -> tuple[Any, BaseException | None]:
    """Call a plain function; return what it returned or raised.

    A future cannot carry every exception: StopIteration, for one, is refused.
    """
    try:
        return job.func(*job.args, **job.kwargs), None
    except BaseException as error:
        return None, error


def _save_progress(context: RunContext, progress: dict[str, Any]) -> None:
    if context.id is not None:
        DjangoJobExecution.objects.running().filter(pk=context.id).update(progress=progress)


def account_query(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
    """Count a query for the run that makes it."""
    run = running.get()
    if run is None:
        return execute(sql, params, many, context)
    began = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        run.db_queries += 1
        run.db_seconds += time.perf_counter() - began


class RunLogHandler(logging.Handler):
    """Keeps what a run logs with the run."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the log of the run that it was logged in, if there is one."""
        run = running.get()
        if run is None or run.log_size >= MAX_LOG:
            return
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        run.log_lines.append(line[: MAX_LOG - run.log_size])
        run.log_size += len(line) + 1
