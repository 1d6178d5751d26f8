"""The runs that are going on in this process, from their start to their end.

All methods are called on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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

SLICE = 50
"""Runs that are begun at one turn of the loop, so that others get theirs."""

LEASE_CHECK = 0.1
"""Seconds between two looks whether this node still has its lease."""


class ActiveRuns:
    """Starts runs, follows them, cancels them, and hands them to the recorder when they end.

    `tell` is given a run and what makes APScheduler's event of it, for those who listen; `on_begin`
    is called before runs begin, `on_end` after each end.
    """

    def __init__(
        self,
        scheduler: Any,
        node: Node,
        recorder: Recorder,
        *,
        tell: Callable[[Callable[[Run], Any], Run], None],
        on_begin: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._node = node
        self._recorder = recorder
        self._tell = tell
        self._on_begin = on_begin
        self._on_end = on_end
        self._runs: set[Run] = set()
        self._to_begin: deque[Run] = deque()
        self._by_key: dict[int, Run] = {}
        self._handed_over: dict[tuple[str, str, datetime], Run] = {}
        self._none_left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run: Run) -> bool:
        return run in self._runs

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def by_job(self) -> Counter[tuple[str, str]]:
        """Count the runs by alias of the job store and id of the job."""
        return Counter((run.jobstore, run.job.id) for run in self._runs)

    def expect(self, runs: Iterable[Run]) -> None:
        """Count runs as going on that will begin in a moment."""
        for run in runs:
            self._runs.add(run)
            if run.context.id is not None:
                self._by_key[run.context.id] = run
        if self._runs:
            self._none_left.clear()

    def forget(self, runs: Iterable[Run]) -> None:
        """Drop runs that were expected, as if they had never been claimed."""
        for run in runs:
            self._runs.discard(run)
            if run.context.id is not None:
                self._by_key.pop(run.context.id, None)
        if not self._runs:
            self._none_left.set()

    def begin(self, runs: Sequence[Run]) -> None:
        """Start runs in the executors that their jobs name, some at each turn of the loop.

        From now on all of them count as going on.
        """
        is_beginning = bool(self._to_begin)
        self.expect(runs)
        self._to_begin.extend(runs)
        if self._to_begin and not is_beginning:
            self._on_begin()
            self._begin_some()

    def _begin_some(self) -> None:
        for _ in range(min(SLICE, len(self._to_begin))):
            self._begin(self._to_begin.popleft())
        if self._to_begin:
            self._scheduler._eventloop.call_soon(self._begin_some)

    def _begin(self, run: Run) -> None:
        if run not in self._runs:  # given up before
            return
        if run.has_row and run.node_id != self._node.id:  # this node was lost, and joined again
            run.cancel_reason = run.cancel_reason or Reason.NODE_LOST
        if run.has_row and not self._node.has_lease and run.cancel_reason is None:
            # This process was frozen or overloaded between claim and start, and others may have
            # taken the run over. The next sign of life will tell.
            self._scheduler._eventloop.call_later(LEASE_CHECK, self._begin, run)
            return
        run.begin(self._node.now())
        if run.cancel_reason is not None:
            run.end(Status.CANCELLED, run.cancel_reason)
            self._ended(run)
            return
        run_started.send_robust(type(self), run=run)
        executor = self._scheduler._executors.get(run.job.executor)
        self._tell(event_of_start, run)
        if not isinstance(executor, DjangoExecutor):
            self._hand_over(run, executor)
            return
        try:
            executor.start_run(run, self._ended)
        except BaseException as error:  # the others of the claim must begin all the same
            run.error = error
            run.end(Status.FAILED)
            self._ended(run)

    def take_back(self, event: JobExecutionEvent) -> None:
        """Note the end of a run that one of APScheduler's executors was given."""
        key = (event.jobstore, event.job_id, event.scheduled_run_time)
        run = self._handed_over.pop(key, None)
        if run is not None:
            note_end(run, event)
            self._conclude(run)
            run.let_go()

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
            if not run.began:
                run.begin(self._node.now())
            run.end(Status.CANCELLED, reason)
            self._conclude(run)
        self._handed_over.clear()

    async def wait_until_none_left(self) -> None:
        """Wait until all runs have ended."""
        if self._runs:
            await self._none_left.wait()

    def _cancel(self, run: Run, reason: Reason) -> None:
        if not run.began:
            run.cancel_reason = run.cancel_reason or reason
            return
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
            executor.submit_job(run.loaded.job_for_one_run(), [run.run_time])
        except MaxInstancesReachedError:
            run.end(Status.SKIPPED, Reason.OVERLAP)
        except BaseException as error:  # whatever an executor raises is the end of this run only
            run.error = error
            run.end(Status.FAILED)
        if run.finished_at is not None and self._handed_over.pop(key, None) is not None:
            self._ended(run)

    def _ended(self, run: Run) -> None:
        if run not in self._runs:  # given up before
            return
        self._conclude(run)
        self._tell(event_of_end, run)
        run.let_go()

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
