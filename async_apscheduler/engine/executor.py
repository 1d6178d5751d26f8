"""The executor of DjangoScheduler: coroutine functions on the loop, plain functions in threads,
each with clean database connections, a time limit, its log and its accounting.

Whatever a job raises ends its own run and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job

from async_apscheduler._database import JobThreads, LanePool
from async_apscheduler.conf import get_settings
from async_apscheduler.context import MAX_LOG, RunContext, running
from async_apscheduler.engine.coroutines import CoroutineRuns
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.threads import ThreadRuns
from async_apscheduler.models import DjangoJobExecution, Reason


class DjangoExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler is untyped
    """Runs jobs, and calls back at the end of each run."""

    def __init__(self) -> None:
        super().__init__()
        self._log_handler = RunLogHandler()

    def start(self, scheduler: Any, alias: str) -> None:
        """Called by the scheduler when it starts."""
        super().start(scheduler, alias)
        settings = get_settings()
        self._lanes = LanePool(settings.db_threads, query_wrapper=account_query)
        self._threads = JobThreads(settings.threads, query_wrapper=account_query)
        self._coroutine_runs = CoroutineRuns(scheduler._eventloop, self._lanes)
        self._thread_runs = ThreadRuns(scheduler._eventloop, self._threads)
        if settings.log_capture:
            logging.getLogger().addHandler(self._log_handler)

    def shutdown(self, wait: bool = True) -> None:
        """Called by the scheduler when the runs have ended."""
        logging.getLogger().removeHandler(self._log_handler)
        self._lanes.close()
        self._threads.close()

    def start_run(self, run: Run, on_end: Callable[[Run], None]) -> None:
        """Begin a run; `on_end` is called on the loop when it has ended."""
        run.context.save_progress = _save_progress
        runs = self._coroutine_runs if run.loaded.is_coroutine else self._thread_runs
        runs.start(run, on_end)

    def cancel(self, run: Run, reason: Reason) -> None:
        """Cancel a run. A function that runs in a thread already goes on, except at shutdown."""
        run.may_be_retried = False
        if run.cancel_reason is not None:
            return
        for runs in (self._coroutine_runs, self._thread_runs):
            if run in runs:
                runs.cancel(run, reason)

    @property
    def has_busy_threads(self) -> bool:
        """True if a plain function is running, perhaps one whose run was given up."""
        return self._thread_runs.are_busy

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """APScheduler's way to submit a job: record the runs without a claim."""
        for run_time in run_times:
            self._scheduler.start_unclaimed(job, run_time)


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
        run.keep_log_line(line)
