"""The run that the calling code belongs to.

A job finds itself through ``current_run``; the scheduler finds through the same variable to which
run a query or a log line belongs. It is a context variable, so it follows the job into its tasks
and into the threads of ``sync_to_async``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async

from async_apscheduler.exceptions import AsyncAPSchedulerError

MAX_LOG = 65_536
"""Characters of a run's log that are kept."""


@dataclass(slots=True, eq=False)
class RunContext:
    """What a running job can know and say about its run."""

    id: int | None
    """Primary key of the run's row; None while a run of another job store has none yet."""

    job_id: str
    scheduled_at: datetime
    attempt: int = 1
    save_progress: Callable[[RunContext, dict[str, Any]], None] | None = None
    db_queries: int = 0
    db_seconds: float = 0.0
    loop_blocked_seconds: float = 0.0
    blocked_until: float = 0.0
    """Up to here, by time.monotonic(), the event loop's blocks are in `loop_blocked_seconds`."""
    log_lines: list[str] = field(default_factory=list)
    log_size: int = 0
    progress: dict[str, Any] | None = None
    lane: Any = None
    """The executor of a coroutine's database calls; see engine.coroutines."""

    def set_progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Show in the admin how far the run has come.

        `done` and `total` are in any one unit; `total` is None while unknown.
        """
        self.progress = {"done": done, "total": total, "message": message}
        if self.save_progress is not None:
            self.save_progress(self, self.progress)

    async def aset_progress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """See set_progress()."""
        await sync_to_async(self.set_progress)(done, total, message)

    def note_blocked(self, since: float, until: float) -> None:
        """Count that the run has blocked the event loop, but no moment twice."""
        self.loop_blocked_seconds += max(0.0, until - max(since, self.blocked_until))
        self.blocked_until = max(until, self.blocked_until)

    def keep_log_line(self, line: str) -> str:
        """Add a line to the log and return what is kept of it: "" when there is no room left."""
        kept = line[: max(0, MAX_LOG - self.log_size)]
        if kept:
            self.log_lines.append(kept)
            self.log_size += len(line) + 1
        return kept

    def replace_log_line(self, old: str, new: str) -> str:
        """Put a line in the place of one that was kept, no longer than the room allows."""
        for place in reversed(range(len(self.log_lines))):
            if self.log_lines[place] is old:
                kept = new[: max(len(old), len(old) + MAX_LOG - self.log_size)]
                self.log_lines[place] = kept
                self.log_size += len(kept) - len(old)
                return kept
        return old


running: ContextVar[RunContext | None] = ContextVar("async_apscheduler_run", default=None)


class CurrentRun:
    """The run of the calling code: `id`, `job_id`, `scheduled_at`, `attempt`, `aset_progress()`.

    False outside of a run, where every other use raises AsyncAPSchedulerError.
    """

    @property
    def id(self) -> int | None:
        """Primary key of the run's row."""
        return self._run.id

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._run.job_id

    @property
    def scheduled_at(self) -> datetime:
        """When the run should have started, aware, in UTC."""
        return self._run.scheduled_at

    @property
    def attempt(self) -> int:
        """1 at first, 2 at the first retry, and so on."""
        return self._run.attempt

    def set_progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Show in the admin how far the run has come; see RunContext.set_progress()."""
        self._run.set_progress(done, total, message)

    async def aset_progress(
        self, done: float, total: float | None = None, message: str = ""
    ) -> None:
        """See set_progress()."""
        await self._run.aset_progress(done, total, message)

    def __bool__(self) -> bool:
        return running.get() is not None

    @property
    def _run(self) -> RunContext:
        run = running.get()
        if run is None:
            raise AsyncAPSchedulerError(
                "current_run is used outside of a run. It has a value only in code that a "
                "scheduler runs as a job; test `if current_run:` in code that serves both."
            )
        return run


current_run = CurrentRun()
