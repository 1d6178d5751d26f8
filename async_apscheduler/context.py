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
