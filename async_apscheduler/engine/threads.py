"""Run plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

from async_apscheduler._database import JobThreads
from async_apscheduler.context import running
from async_apscheduler.engine.runs import Run, RunTimedOutError
from async_apscheduler.models import Reason, Status

SLICE = 50
"""Ends that are dealt with at one turn of the loop."""


class Outcome(NamedTuple):
    """What a thread says of a function that it has called."""

    run: Run
    result: Any
    error: BaseException | None
    waited: float
    """Seconds until there was a thread for it."""
    duration: float
    """Seconds that it took then."""


class ThreadRuns:
    """The runs of plain functions that are going on, or wait for a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: JobThreads) -> None:
        self._loop = loop
        self._threads = threads
        self._context = contextvars.copy_context()
        self._begun: dict[Run, tuple[Future[None], Callable[[Run], None]]] = {}
        self._busy: set[Run] = set()
        self._outcomes: deque[Outcome] = deque()
        self._is_told = False

    def start(self, run: Run, on_end: Callable[[Run], None]) -> None:
        """Begin a run; `on_end` is called on the loop when it has ended."""
        context = self._context.copy()
        context.run(running.set, run.context)
        self._begun[run] = self._threads.submit(context.run, self._call, run), on_end

    def cancel(self, run: Run, reason: Reason) -> None:
        """Cancel a run. A function that has begun goes on; at shutdown its run ends anyway."""
        future, _ = self._begun[run]
        if future.cancel() or reason is Reason.SHUTDOWN:
            run.cancel_reason = reason
            run.end(Status.CANCELLED, reason)
            self._conclude(run)

    @property
    def are_busy(self) -> bool:
        """True if a function is running, perhaps one whose run was given up."""
        return bool(self._busy)

    def __contains__(self, run: Run) -> bool:
        return run in self._begun

    def _call(self, run: Run) -> None:
        """Call the function, in its thread, and leave what came of it for the loop."""
        self._busy.add(run)
        result, error = None, None
        began = time.perf_counter()
        try:
            args, kwargs = run.loaded.arguments()
            result = run.job.func(*args, **kwargs)
        except BaseException as raised:  # SystemExit too: a job must not stop the scheduler
            error = raised
        duration = time.perf_counter() - began
        self._busy.discard(run)
        self._outcomes.append(Outcome(run, result, error, began - run.began, duration))
        error = None  # its traceback holds this frame
        if not self._is_told:
            self._is_told = True
            self._tell_loop()

    def _tell_loop(self) -> None:
        """Have the ends dealt with: once for all that come until the loop has its turn.

        It costs a system call, at which the threads quarrel about who goes on.
        """
        with suppress(RuntimeError):  # the loop is closed: the scheduler has given this run up
            self._loop.call_soon_threadsafe(self._take_outcomes)

    def _take_outcomes(self) -> None:
        """Note how runs ended; on the loop."""
        self._is_told = False
        for _ in range(min(SLICE, len(self._outcomes))):
            outcome = self._outcomes.popleft()
            if outcome.run in self._begun:  # else it was given up
                _end(outcome)
                self._conclude(outcome.run)
        if self._outcomes:
            self._is_told = True
            self._loop.call_soon(self._take_outcomes)

    def _conclude(self, run: Run) -> None:
        _, on_end = self._begun.pop(run)
        on_end(run)


def _end(outcome: Outcome) -> None:
    run, error, limit = outcome.run, outcome.error, outcome.run.loaded.timeout
    run.delay(outcome.waited)
    if isinstance(error, asyncio.CancelledError):
        status = Status.CANCELLED
    elif error is not None:
        status = Status.FAILED
    elif limit is not None and outcome.duration > limit:
        status = Status.TIMED_OUT
        error = RunTimedOutError(
            f"The function returned after its limit of {limit:g} seconds; a function in a thread "
            "cannot be stopped."
        )
    else:
        status, run.result = Status.SUCCEEDED, outcome.result
    run.error = error
    reason = Reason.RAISED if status is Status.CANCELLED else ""
    run.end(status, reason, duration=outcome.duration)
