"""See from another thread what an event loop is at: waiting, or at a turn of which task, and where.

Nothing here asks the loop for anything: one that is blocked has no time to answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import time
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

from async_apscheduler.context import RunContext, running
from async_apscheduler.engine.runs import CALLERS

RUN_ONCE = asyncio.base_events.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]  # private
OUTSIDE = {asyncio.Handle._run.__code__, asyncio.Runner.run.__code__}
"""Code of the loop itself; what it calls is somebody's."""
MAX_FRAMES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """What a loop was at at one moment: a step of a task, or a callback."""

    task: asyncio.Task[Any] | None
    frame: FrameType
    """The innermost one. It keeps the variables of the code alive, so keep no turn for long."""

    def is_same_as(self, earlier: Turn) -> bool:
        """Return True if the loop is still at that turn.

        Valid only if it has not yet answered to something that it was asked before `earlier` was
        seen: what it takes in their order cannot have brought the same task to its next step.
        """
        if self.task is not None or earlier.task is not None:
            return self.task is earlier.task
        return self._own_frames()[0] is earlier._own_frames()[0]

    @property
    def run(self) -> RunContext | None:
        """The run that the task belongs to, be it the job's own or one that the job made."""
        context = None if self.task is None else _context_of(self.task)
        return None if context is None else context.get(running)

    @property
    def name(self) -> str:
        """What to call it where there is no run."""
        if self.task is None:
            return "a callback"
        coroutine = self.task.get_coro()
        return f"task {self.task.get_name()!r} ({getattr(coroutine, '__qualname__', coroutine)})"

    def longest(self) -> float:
        """Return for how many seconds it can have lasted; 0 on a loop that does not tell.

        Asyncio's own notes when it begins to do what has become ready.
        """
        frame: FrameType | None = self.frame
        while frame is not None:
            if frame.f_code is RUN_ONCE:
                return max(0.0, time.monotonic() - float(frame.f_locals.get("end_time", "inf")))
            frame = frame.f_back
        return 0.0

    def stack(self) -> traceback.StackSummary:
        """Return where it is, from its own code on, outermost first."""
        frames = ((frame, frame.f_lineno) for frame in self._own_frames()[-MAX_FRAMES:])
        return traceback.StackSummary.extract(frames)

    def _own_frames(self) -> list[FrameType]:
        own = []
        frame: FrameType | None = self.frame
        while frame is not None and not _is_outside(frame):
            own.append(frame)
            frame = frame.f_back
        return own[::-1] or [self.frame]


def turn_of(loop: asyncio.AbstractEventLoop, thread_id: int) -> Turn | None:
    """Return what a loop that runs in that thread is at, or None if it waits for events.

    A loop that is not asyncio's own is never seen to wait: it does so outside of Python.
    """
    if not loop.is_running():
        return None
    while True:
        task = asyncio.current_task(loop)
        frame = sys._current_frames().get(thread_id)
        if frame is None or _waits(frame):
            return None
        if asyncio.current_task(loop) is task:  # else it went on between the two questions
            return Turn(task, frame)


def _waits(frame: FrameType) -> bool:
    # The caller counts: a job that uses subprocess blocks in a selector as well.
    caller = frame.f_back
    return frame.f_code.co_name == "select" and caller is not None and caller.f_code is RUN_ONCE


def _is_outside(frame: FrameType) -> bool:
    return frame.f_code in OUTSIDE or frame.f_code.co_filename in CALLERS


def _context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    if sys.version_info >= (3, 12):
        return task.get_context()
    # Before 3.12 a task tells its context to the garbage collector only, and before any other.
    known = gc.get_referents(task)
    return next((each for each in known if isinstance(each, contextvars.Context)), None)
