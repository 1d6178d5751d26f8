"""Run coroutine functions on the loop, each with a database lane of its own and a time limit."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from async_apscheduler._database import LanePool
from async_apscheduler.context import running
from async_apscheduler.engine.runs import Run, RunTimedOutError
from async_apscheduler.models import Reason, Status


class CoroutineRuns:
    """The runs of coroutine functions that are going on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lanes: LanePool) -> None:
        self._loop = loop
        self._lanes = lanes
        self._context = _context_with_lanes()
        self._tasks: dict[Run, asyncio.Task[None]] = {}

    def start(self, run: Run, on_end: Callable[[Run], None]) -> None:
        """Begin a run; `on_end` is called on the loop when it has ended."""
        context = self._context.copy()
        run.context.lane = self._lanes.for_run()
        context.run(running.set, run.context)
        task = self._loop.create_task(_run(run), name=f"job {run.job.id}", context=context)
        self._tasks[run] = task
        task.add_done_callback(partial(self._ended, run, on_end))

    def cancel(self, run: Run, reason: Reason) -> None:
        """Cancel a run."""
        run.cancel_reason = reason
        self._tasks[run].cancel()

    def __contains__(self, run: Run) -> bool:
        return run in self._tasks

    def _ended(self, run: Run, on_end: Callable[[Run], None], task: asyncio.Task[None]) -> None:
        if run.finished_at is None:  # cancelled before its first step
            run.end(Status.CANCELLED, run.cancel_reason or Reason.SHUTDOWN)
        del self._tasks[run]
        run.context.lane.release()
        on_end(run)


async def _run(run: Run) -> None:
    """Run the job and note how it ended; raises nothing."""
    try:
        run.result = await _call(run)
    except asyncio.CancelledError as error:
        run.error = error
        run.end(Status.CANCELLED, run.cancel_reason or Reason.RAISED)
    except RunTimedOutError as error:
        run.error = error
        run.end(Status.TIMED_OUT)
    except BaseException as error:  # SystemExit too: a job must not stop the scheduler
        run.error = error
        run.end(Status.FAILED)
    else:
        run.end(Status.SUCCEEDED)


async def _call(run: Run) -> Any:
    func, limit = run.job.func, run.loaded.timeout
    args, kwargs = run.loaded.arguments()
    if limit is None:
        return await func(*args, **kwargs)
    try:
        async with asyncio.timeout(limit) as timer:
            return await func(*args, **kwargs)
    except TimeoutError as error:
        if timer.expired():
            raise RunTimedOutError(f"The run was cancelled after {limit:g} seconds.") from error
        raise


class _LaneOfRun(Executor):
    """Sends each call to the lane of the run that makes it.

    One for all runs: to enter a ThreadSensitiveContext for each would cost more than its task does
    (measured: 13 and 10 microseconds).
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` in the lane of the calling run."""
        run = running.get()
        if run is None or run.lane is None:
            raise RuntimeError("Only runs have database lanes.")
        future: Future[Any] = run.lane.submit(fn, *args, **kwargs)
        return future


def _context_with_lanes() -> contextvars.Context:
    """Return a context in which sync_to_async(), and so the async ORM, works in the run's lane."""
    context = contextvars.copy_context()
    manager: AbstractAsyncContextManager[Any] = ThreadSensitiveContext(executor=_LaneOfRun())
    entering: Coroutine[Any, Any, Any] = manager.__aenter__()
    try:
        context.run(entering.send, None)  # one step is all of it: it waits for nothing
    except StopIteration:
        return context
    raise RuntimeError("Entering a ThreadSensitiveContext was expected not to wait.")
