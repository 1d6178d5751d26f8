"""A run on its way through this node: claimed, started, ended, written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from apscheduler.job import Job
from apscheduler.util import iscoroutinefunction_partial

from async_apscheduler.context import RunContext
from async_apscheduler.models import Reason, Status

CALLERS = {str(Path(__file__).with_name(name)) for name in ("coroutines.py", "threads.py")}
"""Where jobs are called: nobody wants to read these frames, with which every stack begins."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments and keywords."""


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A stored job, decoded, with the options that APScheduler's Job has no place for."""

    job: Job
    version: int
    timeout: float | None = None
    max_attempts: int = 1
    retry_delay: float = 0.0
    retry_on_lost: bool = False
    lost_runs: int = 0
    decode: Callable[[], Arguments] | None = None
    """Returns its arguments; None if no run can change them, so that all may get the same."""
    is_coroutine: bool = field(init=False)
    """True if calling the job's function gives a coroutine."""

    def __post_init__(self) -> None:
        # Found out here, while there is time, and not when the job is due.
        object.__setattr__(self, "is_coroutine", _is_coroutine_function(self.job.func))

    def arguments(self) -> Arguments:
        """Return the arguments for one run. Raises whatever the classes of pickled ones raise."""
        return (self.job.args, self.job.kwargs) if self.decode is None else self.decode()

    def job_for_one_run(self) -> Job:
        """Return a job for one of APScheduler's executors; see arguments()."""
        if self.decode is None:
            return self.job
        job = object.__new__(Job)
        for name in set(Job.__slots__) - {"__weakref__"}:
            setattr(job, name, getattr(self.job, name))
        job.args, job.kwargs = self.arguments()
        return job

    @property
    def may_run_again(self) -> bool:
        """True if a run of this job may go back to pending."""
        return self.max_attempts > 1 or self.retry_on_lost


def _is_coroutine_function(func: Any) -> bool:
    """Return True also for an instance whose ``__call__`` is one."""
    return iscoroutinefunction_partial(func) or iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004  # it is asked what it is, not called
    )


@dataclass(slots=True, eq=False)
class Run:
    """One run: what to call, and what came of it."""

    loaded: LoadedJob
    context: RunContext
    jobstore: str
    node_id: int
    started_at: datetime
    began: float = 0.0
    """The start by a clock that never jumps, for the duration."""
    cancel_reason: Reason | None = None
    """Set by whoever cancels the run, before cancelling it."""
    may_be_retried: bool = True
    """False once somebody has asked to cancel the run."""
    status: Status = Status.RUNNING
    reason: str = ""
    finished_at: datetime | None = None
    duration: float | None = None
    error: BaseException | None = None
    """What it raised, for the event; `exception` and `traceback` are what is stored of it."""
    exception: str = ""
    traceback: str = ""
    return_value: Any = None
    result: Any = field(default=None)
    """What the job returned, for the event; `return_value` is what is stored of it."""
    retry_at: datetime | None = None
    next_run_time: datetime | None = None
    """The job's next fire as of the claim, in UTC."""

    @property
    def job(self) -> Job:
        """The APScheduler job."""
        return self.loaded.job

    @property
    def run_time(self) -> datetime:
        """When the run should have started."""
        return self.context.scheduled_at

    @property
    def has_row(self) -> bool:
        """True if the run was claimed in the database; False for a run of another store."""
        return self.context.id is not None

    @property
    def lateness(self) -> float:
        """Seconds from the scheduled time to the start."""
        return (self.started_at - self.run_time).total_seconds()

    def begin(self, now: datetime) -> None:
        """Note that the run begins now; until here `started_at` was the time of the claim."""
        self.started_at = now
        self.began = time.perf_counter()

    def delay(self, seconds: float) -> None:
        """Note that it began only `seconds` after begin(): it had to wait for a thread."""
        self.started_at += timedelta(seconds=seconds)
        self.began += seconds

    def end(self, status: Status, reason: str = "", *, duration: float | None = None) -> None:
        """Note how the run ended, now or after `duration` seconds.

        A clock that jumps meanwhile changes nothing.
        """
        self.status, self.reason = status, reason
        self.duration = time.perf_counter() - self.began if duration is None else duration
        self.finished_at = self.started_at + timedelta(seconds=self.duration)

    def let_go(self) -> None:
        """Drop what the job returned or raised, once everybody has been told.

        Results may wait long for their database, and the frames of a traceback hold this run:
        such a circle would be there until the garbage is collected.
        """
        self.result = self.error = None

    @property
    def log(self) -> str:
        """What the run logged, as far as it was kept."""
        return "\n".join(self.context.log_lines)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Fires of a job that did not become a run, for its event."""

    job_id: str
    jobstore: str
    run_time: datetime
    reason: Reason
    fires: int


class RunTimedOutError(TimeoutError):
    """A run took longer than its job's timeout."""
