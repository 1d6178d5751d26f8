"""Job stores for any APScheduler scheduler: APScheduler's contract on Django's ORM.

Under DjangoScheduler the store only keeps jobs; claiming and recording are the scheduler's own.
Under APScheduler's own schedulers (Background, Blocking and the others) the runs are recorded
through the scheduler's events.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, ParamSpec, TypeVar

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
)
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from django.db import IntegrityError, transaction
from django.db.models import F

from async_apscheduler import codec
from async_apscheduler._database import Lane, on_event_loop, retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status
from async_apscheduler.models.loading import (
    restore_job,
    restore_trigger,
    row_values,
    trigger_json,
)
from async_apscheduler.models.scheduling import RUN_OPTIONS, keep_schedule
from async_apscheduler.registry import registry
from async_apscheduler.signals import job_quarantined, job_released

P = ParamSpec("P")
T = TypeVar("T")

RELEASE_INTERVAL = timedelta(minutes=1)
"""How often quarantined jobs are tried again."""

RUN_EVENTS = (
    EVENT_JOB_SUBMITTED
    | EVENT_JOB_EXECUTED
    | EVENT_JOB_ERROR
    | EVENT_JOB_MISSED
    | EVENT_JOB_MAX_INSTANCES
)
MAX_TEXT = 65_536
"""Characters of an exception or a traceback that are kept."""


class RunRecorder:
    """Writes a row for each run that a scheduler reports through its events."""

    def __init__(self, database: str) -> None:
        self._database = database

    def record(self, event: JobEvent, now: datetime) -> None:
        """Write what one event says; `now` is when it was sent."""
        if event.code == EVENT_JOB_SUBMITTED:
            self._insert(event.job_id, event.scheduled_run_times, Status.RUNNING, started_at=now)
        elif event.code == EVENT_JOB_MAX_INSTANCES:
            self._insert(
                event.job_id,
                event.scheduled_run_times,
                Status.SKIPPED,
                reason=Reason.OVERLAP,
                finished_at=now,
            )
        else:
            self._finish(event, now)

    def _insert(self, job_id: str, run_times: Iterable[datetime], status: Status, **f: Any) -> None:
        rows = [
            DjangoJobExecution(job_id=job_id, run_time=run_time, status=status, **f)
            for run_time in run_times
        ]
        self._runs.bulk_create(rows, ignore_conflicts=True)

    def _finish(self, event: Any, now: datetime) -> None:
        fields = {"finished_at": now, **self._outcome(event)}
        run = self._runs.running().filter(job_id=event.job_id, run_time=event.scheduled_run_time)
        # A short run can end before its start is reported, from another thread: then the row is
        # made here, and if the start comes in between after all, finished in a second try.
        if not self._close(run, fields, now):
            self._insert(event.job_id, [event.scheduled_run_time], **fields)
            self._close(run, fields, now)

    @staticmethod
    def _close(run: Any, fields: dict[str, Any], now: datetime) -> bool:
        started_at = run.values_list("started_at", flat=True).first()
        duration = (now - started_at).total_seconds() if started_at else None
        return bool(run.update(**fields, duration=duration))

    @staticmethod
    def _outcome(event: Any) -> dict[str, Any]:
        if event.code == EVENT_JOB_MISSED:
            return {"status": Status.SKIPPED, "reason": Reason.MISSED}
        if event.code == EVENT_JOB_ERROR:
            line = "".join(traceback.format_exception_only(event.exception)).strip()
            return {
                "status": Status.FAILED,
                "exception": codec.safe_text(line, MAX_TEXT),
                "traceback": codec.safe_text(event.traceback or "", MAX_TEXT),
            }
        limit = get_settings().return_value_max_bytes
        result = None if event.retval is None else codec.encode_result(event.retval, limit)
        return {"status": Status.SUCCEEDED, "return_value": result}

    @property
    def _runs(self) -> Any:
        return DjangoJobExecution.objects.using(self._database)


class RecordsRunsMixin(BaseJobStore):  # type: ignore[misc]  # APScheduler is untyped
    """A job store whose runs are recorded, by its scheduler or else through events."""

    _lane: Lane | None = None

    def start(self, scheduler: Any, alias: str) -> None:
        """Called by the scheduler when it starts, or when the store is added to a running one."""
        super().start(scheduler, alias)
        if not getattr(scheduler, "records_runs", False):
            self._lane = Lane(f"jobstore-{alias}")
            scheduler.add_listener(self._record, RUN_EVENTS)

    def shutdown(self) -> None:
        """Called by the scheduler when it shuts down."""
        if self._lane is not None:
            self._scheduler.remove_listener(self._record)
            self._lane.close()
            self._lane = None
        super().shutdown()

    def _record(self, event: JobEvent) -> None:
        if event.jobstore == self._alias and self._lane is not None:
            database = get_settings().database
            record, now = RunRecorder(database).record, datetime.now(UTC)
            self._lane.submit(retrying_once, database, record, event, now).result()


class DjangoMemoryJobStore(RecordsRunsMixin, MemoryJobStore):  # type: ignore[misc]  # see above
    """Keeps jobs in memory, for code that sets them up at each start; runs are recorded."""


class DjangoJobStore(RecordsRunsMixin):
    """Keeps jobs in the database of ASYNC_APSCHEDULER["DATABASE"].

    `serializer` overrides ASYNC_APSCHEDULER["SERIALIZER"] for this store ("json" or "pickle").
    Jobs that cannot be restored are quarantined: their rows are kept, they are left out until
    they can be restored again, and are then released by themselves.
    """

    def __init__(self, serializer: Literal["json", "pickle"] | None = None) -> None:
        super().__init__()
        self.serializer = serializer
        self._released_at: datetime | None = None

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none of that id.

        Raises UnreadableJobError if it is there but cannot be restored.
        """
        row = self._query(lambda: self._rows.filter(pk=job_id).first())
        return None if row is None else self.restore(row)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs due at `now`, oldest first."""
        if self._released_at is None or now - self._released_at >= RELEASE_INTERVAL:
            self._released_at = now
            self._query(self.release_readable)
        return self._query(lambda: self._restore_all(self._mine.due(now)))

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest next run time of all jobs, or None."""
        rows = self._mine.scheduled().order_by("next_run_time")
        moments = rows.values_list("next_run_time", flat=True)
        moment: datetime | None = self._query(lambda: moments.first())
        return moment

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs that can be restored, by next run time, paused ones last."""
        rows = self._rows.order_by(F("next_run_time").asc(nulls_last=True), "pk")
        return self._query(lambda: self._restore_all(rows))

    def add_job(self, job: Job) -> None:
        """Store a new job.

        Raises ConflictingIdError, or InvalidJobError for what cannot be stored.
        """
        values = row_values(job, serializer=self.serializer)
        options = registry.options_of(values["func"])
        row = DjangoJob(
            **values,
            **{key: options[key] for key in RUN_OPTIONS if key in options},
            status=_status(job),
            environment=get_settings().environment,
        )
        self._query(lambda: self._insert(row))

    def update_job(self, job: Job) -> None:
        """Replace the stored state of a job. Raises JobLookupError if there is none."""
        values = row_values(job, serializer=self.serializer)
        job_id = values.pop("id")
        values |= {"status": _status(job), "error": "", "held_run_time": None}
        rows = self._rows.filter(pk=job_id)
        if not self._query(lambda: rows.update(**values, version=F("version") + 1)):
            raise JobLookupError(job_id)

    def remove_job(self, job_id: str) -> None:
        """Delete a job; its history stays. Raises JobLookupError if there is none."""
        deleted, _ = self._query(lambda: self._rows.filter(pk=job_id).delete())
        if not deleted:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        """Delete all jobs of this environment; their history stays."""
        self._query(lambda: self._mine.delete())

    def keep_schedule(self, job: Job) -> None:
        """Prepare `job` to replace the stored job of its id without losing the schedule.

        It stays paused if it was, and keeps its next run time while its trigger is the same. A
        `next_run_time` that the caller gave counts more.
        """
        row = self._query(lambda: self._rows.filter(pk=job.id).first())
        if row is None or hasattr(job, "next_run_time"):
            return
        values: dict[str, Any] = {"trigger": trigger_json(job.trigger, serializer=self.serializer)}
        keep_schedule(row, values)
        job.trigger = restore_trigger(values["trigger"], serializer=self.serializer)
        if "next_run_time" in values:
            job.next_run_time = values["next_run_time"]

    def restore(self, row: DjangoJob) -> Job:
        """Return the job of a row. Raises UnreadableJobError."""
        return restore_job(
            row, scheduler=self._scheduler, alias=self._alias, serializer=self.serializer
        )

    def restore_or_quarantine(self, row: DjangoJob) -> Job | None:
        """Return the job of a row; if it cannot be restored, set it aside and return None."""
        try:
            return self.restore(row)
        except UnreadableJobError as error:
            if self._rows.quarantine(row, codec.safe_text(error.reason, MAX_TEXT)):
                job_quarantined.send_robust(type(self), job_id=row.pk, error=error)
            return None

    def release_readable(self) -> None:
        """Give quarantined jobs that can be restored again their place back."""
        for row in self._mine.quarantined().iterator():
            try:
                self.restore(row)
            except UnreadableJobError:
                continue
            if self._rows.release(row):
                job_released.send_robust(type(self), job_id=row.pk)

    def _restore_all(self, rows: Iterable[DjangoJob]) -> list[Job]:
        jobs = (self.restore_or_quarantine(row) for row in rows)
        return [job for job in jobs if job is not None]

    def _insert(self, row: DjangoJob) -> None:
        try:
            with transaction.atomic(using=self._rows.db):
                row.save(using=self._rows.db, force_insert=True)
        except IntegrityError:
            if not self._rows.filter(pk=row.pk).exists():
                raise
            raise ConflictingIdError(row.pk) from None

    def _query(self, work: Callable[[], T]) -> T:
        """Do database work here, or from a running event loop in this store's own thread.

        APScheduler's AsyncIOScheduler calls its stores on the loop; it then waits, as it does
        with every other store.
        """
        database = get_settings().database
        if on_event_loop() and self._lane is not None:
            return self._lane.submit(retrying_once, database, work).result()
        return retrying_once(database, work)

    @property
    def _rows(self) -> Any:
        return DjangoJob.objects.using(get_settings().database)

    @property
    def _mine(self) -> Any:
        return self._rows.filter(environment=get_settings().environment)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (database={get_settings().database!r})>"


def _status(job: Job) -> str:
    paused = job.next_run_time is None
    return DjangoJob.Status.PAUSED if paused else DjangoJob.Status.SCHEDULED
