"""Record the runs of APScheduler's own schedulers, which tell of them through events only."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
)
from apscheduler.jobstores.base import BaseJobStore

from async_apscheduler import codec
from async_apscheduler._database import CONNECTION_ERRORS, Lane, retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJobExecution, Reason, Status

RUN_EVENTS = (
    EVENT_JOB_SUBMITTED
    | EVENT_JOB_EXECUTED
    | EVENT_JOB_ERROR
    | EVENT_JOB_MISSED
    | EVENT_JOB_MAX_INSTANCES
)
MAX_TEXT = 65_536
"""Characters of an exception or a traceback that are kept."""


class RecordsRunsMixin(BaseJobStore):  # type: ignore[misc]  # APScheduler is untyped
    """A job store whose runs are recorded, by its scheduler or else through events.

    What the database cannot take at the moment waits in memory for the next event or look.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lane: Lane | None = None
        self._is_shut_down = False
        self._looked_at = datetime.now(UTC)
        # The rest is touched in the lane only.
        self._waiting: deque[_Told] = deque()
        self._open: set[tuple[str, datetime]] = set()
        self._ended: set[tuple[str, datetime]] = set()

    def start(self, scheduler: Any, alias: str) -> None:
        """Called by the scheduler when it starts, or when the store is added to a running one."""
        super().start(scheduler, alias)
        self._is_shut_down = False
        if not getattr(scheduler, "records_runs", False):
            self._lane = Lane(f"jobstore-{alias}")
            scheduler.add_listener(self._record, RUN_EVENTS)

    def shutdown(self) -> None:
        """Called by the scheduler when it shuts down; runs that have not ended count as cancelled.

        Returns at once; the thread of this store ends when all is written.
        """
        self._is_shut_down = True
        lane, self._lane = self._lane, None
        if lane is not None:
            self._scheduler.remove_listener(self._record)
            lane.submit(self._write_last)
            lane.close()
        super().shutdown()

    def _note_look(self) -> None:
        """Note that the scheduler looks for due jobs: those that it finds begin in a moment."""
        self._looked_at = datetime.now(UTC)
        lane = self._lane
        if self._waiting and lane is not None:
            lane.submit(self._write_waiting)  # if it fails again, that was told before

    def _record(self, event: JobEvent) -> None:
        """Write what an event says; APScheduler logs what is raised here."""
        lane = self._lane
        if event.jobstore == self._alias and lane is not None:
            told = _Told(event, datetime.now(UTC), self._looked_at)
            lane.submit(self._take, told).result()

    def _take(self, told: _Told) -> None:
        self._waiting.append(told)
        self._count(told.event)
        self._write_waiting()

    def _count(self, event: Any) -> None:
        """Keep in mind which runs are going on; a short one can end before its start is told."""
        if event.code == EVENT_JOB_SUBMITTED:
            begun = {(event.job_id, moment) for moment in event.scheduled_run_times}
            self._open |= begun - self._ended
            self._ended -= begun
        elif event.code != EVENT_JOB_MAX_INSTANCES:
            run = (event.job_id, event.scheduled_run_time)
            if run in self._open:
                self._open.remove(run)
            else:
                self._ended.add(run)

    def _write_waiting(self) -> None:
        database = get_settings().database
        while self._waiting:
            try:
                retrying_once(database, self._waiting[0].write, database)
            except CONNECTION_ERRORS:
                raise
            except Exception:
                self._waiting.popleft()  # the others must not wait for it for ever
                raise
            self._waiting.popleft()

    def _write_last(self) -> None:
        try:
            self._write_waiting()
            for job_id, run_time in self._open:
                _running(get_settings().database, job_id, run_time).update(
                    status=Status.CANCELLED, reason=Reason.SHUTDOWN, finished_at=datetime.now(UTC)
                )
        except Exception:
            self._logger.exception("The last runs could not be recorded")
        self._waiting.clear()
        self._open.clear()
        self._ended.clear()


@dataclass(frozen=True, slots=True)
class _Told:
    """What an event says about a run."""

    event: Any
    at: datetime
    """When it was sent."""
    looked_at: datetime
    """When the scheduler last looked for due jobs."""

    def write(self, database: str) -> None:
        """Insert or finish the rows of the runs."""
        if self.event.code == EVENT_JOB_SUBMITTED:
            self._insert(
                database,
                self.event.scheduled_run_times,
                status=Status.RUNNING,
                started_at=self.looked_at,
            )
        elif self.event.code == EVENT_JOB_MAX_INSTANCES:
            self._insert(
                database,
                self.event.scheduled_run_times,
                status=Status.SKIPPED,
                reason=Reason.OVERLAP,
                finished_at=self.at,
            )
        else:
            self._finish(database)

    def _insert(self, database: str, run_times: Iterable[datetime], **fields: Any) -> None:
        rows = [
            DjangoJobExecution(job_id=self.event.job_id, run_time=run_time, **fields)
            for run_time in run_times
        ]
        DjangoJobExecution.objects.using(database).bulk_create(rows, ignore_conflicts=True)

    def _finish(self, database: str) -> None:
        run_time = self.event.scheduled_run_time
        run = _running(database, self.event.job_id, run_time)
        outcome = self._outcome()
        # A short run can end, in another thread, before its start is told: then its row is made
        # here, and if the start comes in between after all, finished in a second try.
        if not run.update(**outcome, **self._times(run)):
            self._insert(database, [run_time], **outcome, **self._times(None))
            run.update(**outcome, **self._times(run))

    def _times(self, run: Any) -> dict[str, Any]:
        if self.event.code == EVENT_JOB_MISSED:
            return {"started_at": None, "finished_at": self.at, "duration": None}
        known = None if run is None else run.values_list("started_at", flat=True).first()
        began = known or self.looked_at
        duration = (self.at - began).total_seconds()
        return {"started_at": began, "finished_at": self.at, "duration": duration}

    def _outcome(self) -> dict[str, Any]:
        event = self.event
        if event.code == EVENT_JOB_MISSED:
            return {"status": Status.SKIPPED, "reason": Reason.MISSED}
        if event.code == EVENT_JOB_ERROR:
            line = "".join(traceback.format_exception_only(event.exception)).strip()
            return {
                "status": Status.FAILED,
                "exception": kept_text(line),
                "traceback": kept_text(event.traceback or ""),
            }
        limit = get_settings().return_value_max_bytes
        result = None if event.retval is None else codec.encode_result(event.retval, limit)
        return {"status": Status.SUCCEEDED, "return_value": result}


def kept_text(text: str) -> str:
    """Return what is stored of a text: so much, and no secrets, as rows are copied and searched."""
    return codec.safe_text(masked_text(codec.safe_text(text, MAX_TEXT)), MAX_TEXT)


def _running(database: str, job_id: str, run_time: datetime) -> Any:
    """Return the row of a run that no node has claimed, as long as it has not ended."""
    runs = DjangoJobExecution.objects.using(database).running()
    return runs.filter(job_id=job_id, run_time=run_time, node__isnull=True)
