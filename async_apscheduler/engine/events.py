"""APScheduler's events for what happens to runs."""

from __future__ import annotations

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobExecutionEvent,
    JobSubmissionEvent,
)

from async_apscheduler.engine.runs import Run, Skipped
from async_apscheduler.models import Reason, Status

RUN_ENDED = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED
"""Mask of the events by which APScheduler's executors tell that a run is over."""


def event_of_start(run: Run) -> JobSubmissionEvent:
    """Return the event that says that a run was submitted."""
    return JobSubmissionEvent(EVENT_JOB_SUBMITTED, run.job.id, run.jobstore, [run.run_time])


def event_of_end(run: Run) -> JobExecutionEvent | None:
    """Return the event for the end of a run; None if it was cancelled, which is not an error."""
    about = (run.job.id, run.jobstore, run.run_time)
    if run.status == Status.SUCCEEDED:
        return JobExecutionEvent(EVENT_JOB_EXECUTED, *about, retval=run.result)
    if run.status in (Status.FAILED, Status.TIMED_OUT):
        return JobExecutionEvent(
            EVENT_JOB_ERROR, *about, exception=run.error, traceback=run.traceback
        )
    return None


def event_of_skip(skip: Skipped) -> JobExecutionEvent | JobSubmissionEvent | None:
    """Return the event for fires that did not become runs; upstream has none for coalesced ones."""
    if skip.reason is Reason.OVERLAP:
        return JobSubmissionEvent(
            EVENT_JOB_MAX_INSTANCES, skip.job_id, skip.jobstore, [skip.run_time]
        )
    if skip.reason is Reason.MISSED:
        return JobExecutionEvent(EVENT_JOB_MISSED, skip.job_id, skip.jobstore, skip.run_time)
    return None


def note_end(run: Run, event: JobExecutionEvent) -> None:
    """Note how a run ended that one of APScheduler's executors was given."""
    if event.code == EVENT_JOB_MISSED:
        run.end(Status.SKIPPED, Reason.MISSED)
    elif event.code == EVENT_JOB_ERROR:
        run.error = event.exception
        run.end(Status.FAILED)
    else:
        run.result = event.retval
        run.end(Status.SUCCEEDED)
