"""The runs that are going on in this process, from their start to their end.

All methods are called on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from apscheduler.events import JobExecutionEvent
from apscheduler.executors.base import BaseExecutor, MaxInstancesReachedError

from async_apscheduler.engine.events import event_of_end, event_of_start, note_end
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.recorder import Recorder, prepare
from async_apscheduler.engine.runs import Run
from async_apscheduler.models import Reason, Status
from async_apscheduler.signals import run_finished, run_started


class ActiveRuns:
    """Starts runs, follows them, cancels them, and hands them to the recorder when they end.

    `send` is given APScheduler's events; `on_end` is called after each end.
    """

    def __init__(
        self,
        scheduler: Any,
        node: Node,
        recorder: Recorder,
        *,
        send: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._node = node
        self._recorder = recorder
        self._send = send
        self._on_end = on_end
        self._runs: set[Run] = set()
        self._by_key: dict[int, Run] = {}
        self._handed_over: dict[tuple[str, str, datetime], Run] = {}
        self._none_left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._runs)

    def by_job(self) -> Counter[tuple[str, str]]:
        """Count the runs by alias of the job store and id of the job."""
        return Counter((run.jobstore, run.job.id) for run in self._runs)

    def begin(self, run: Run) -> None:
        """Start a run in the executor that its job names."""
        run.begin(self._node.now())
        self._runs.add(run)
        self._none_left.clear()
        if run.context.id is not None:
            self._by_key[run.context.id] = run
        run_started.send_robust(type(self), run=run)
        executor = self._scheduler._executors.get(run.job.executor)
        if isinstance(executor, DjangoExecutor):
            executor.start_run(run, self._ended)
        else:
            self._hand_over(run, executor)
        self._send(event_of_start(run))

    def take_back(self, event: JobExecutionEvent) -> None:
        """Note the end of a run that one of APScheduler's executors was given."""
        key = (event.jobstore, event.job_id, event.scheduled_run_time)
        run = self._handed_over.pop(key, None)
        if run is not None:
            note_end(run, event)
            self._conclude(run)

    def cancel(self, keys: Iterable[int]) -> None:
        """Cancel runs by the keys of their rows, because somebody asked for it."""
        for key in keys:
            if (run := self._by_key.get(key)) is not None:
                self._cancel(run, Reason.REQUESTED)

    def cancel_all(self, reason: Reason) -> None:
        """Cancel all runs."""
        for run in list(self._runs):
            self._cancel(run, reason)

    def give_up(self, reason: Reason) -> None:
        """Record as cancelled what did not end although it was cancelled."""
        for run in list(self._runs):
            run.end(Status.CANCELLED, reason)
            self._conclude(run)
        self._handed_over.clear()

    async def wait_until_none_left(self) -> None:
        """Wait until all runs have ended."""
        if self._runs:
            await self._none_left.wait()

    def _cancel(self, run: Run, reason: Reason) -> None:
        executor = self._scheduler._executors.get(run.job.executor)
        if isinstance(executor, DjangoExecutor):
            executor.cancel(run, reason)

    def _hand_over(self, run: Run, executor: BaseExecutor | None) -> None:
        """Give a run to one of APScheduler's executors; its event tells how it ended."""
        key = (run.jobstore, run.job.id, run.run_time)
        self._handed_over[key] = run
        try:
            if executor is None:
                raise LookupError(f"This scheduler has no executor {run.job.executor!r}.")
            executor.submit_job(run.job, [run.run_time])
        except MaxInstancesReachedError:
            run.end(Status.SKIPPED, Reason.OVERLAP)
        except Exception as error:
            run.error = error
            run.end(Status.FAILED)
        if run.finished_at is not None and self._handed_over.pop(key, None) is not None:
            self._ended(run)

    def _ended(self, run: Run) -> None:
        if run not in self._runs:  # given up before
            return
        self._conclude(run)
        event = event_of_end(run)
        if event is not None:
            self._send(event)

    def _conclude(self, run: Run) -> None:
        self._runs.discard(run)
        if run.context.id is not None:
            self._by_key.pop(run.context.id, None)
        prepare(run)
        if self._is_to_be_retried(run):
            run.retry_at = self._node.now() + timedelta(seconds=run.loaded.retry_delay)
        self._recorder.add(run)
        run_finished.send_robust(type(self), run=run)
        if not self._runs:
            self._none_left.set()
        self._on_end()

    @staticmethod
    def _is_to_be_retried(run: Run) -> bool:
        failed = run.status in (Status.FAILED, Status.TIMED_OUT)
        attempts_left = run.context.attempt < run.loaded.max_attempts
        return failed and attempts_left and run.has_row and run.may_be_retried
