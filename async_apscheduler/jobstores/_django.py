"""Jobs in the database, by APScheduler's contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from django.db import IntegrityError, transaction

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.jobstores._restoring import RestoresJobsMixin
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, Status
from async_apscheduler.models.limits import check_numbers, is_storable
from async_apscheduler.models.loading import (
    JOB_FIELDS,
    RUN_OPTIONS,
    restore_trigger,
    row_values,
    trigger_json,
)
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.models.scheduling import keep_schedule
from async_apscheduler.registry import registry
from async_apscheduler.triggers import DueTimes, fire_times

RELEASE_INTERVAL = timedelta(minutes=1)
"""How often quarantined jobs are tried again."""

MAX_LATE_RUNS = 100
"""How many late fires of a job without coalescing become runs; older ones count as missed."""


class DjangoJobStore(RestoresJobsMixin):
    """Keeps jobs in the database of ASYNC_APSCHEDULER["DATABASE"].

    `serializer` overrides ASYNC_APSCHEDULER["SERIALIZER"] for this store ("json" or "pickle").
    Jobs that cannot be restored are quarantined: their rows are kept, they are left out until
    they can be restored again, and are then released by themselves.
    """

    def __init__(self, serializer: Literal["json", "pickle"] | None = None) -> None:
        super().__init__(serializer)
        self._released_at: datetime | None = None
        self._handed_out: dict[str, DjangoJob] = {}
        """The rows of the due jobs that the scheduler is dealing with at the moment."""

    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none of that id.

        Raises UnreadableJobError if it is there but cannot be restored.
        """
        row = self._find(job_id)
        if row is None:
            return None
        if row.status == DjangoJob.Status.QUARANTINED and not row.is_poisonous:
            self._release(row)
        return self.restore(row)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs due at `now`, oldest first; none after shutdown().

        Their `next_run_time` is the latest due fire of a job that coalesces, since its scheduler
        would otherwise step there from the earliest, for a second's interval and a year of absence
        31 million times. The fires left out get a row.
        """
        if self._is_shut_down:
            # APScheduler's schedulers look once more after their end. With no executor left to
            # run what is due by then, they would only move it on.
            return []
        self._note_look()
        if self._released_at is None or now - self._released_at >= RELEASE_INTERVAL:
            self._released_at = now
            self.release_readable()
        self._handed_out = {}
        jobs = [self._restore_due(row, now) for row in self._fetch(self._mine.due(now))]
        return [job for job in jobs if job is not None]

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest next run time of all jobs, or None; None after shutdown()."""
        if self._is_shut_down:
            return None
        self._handed_out = {}  # a scheduler asks this when it has dealt with the due jobs
        rows = self._mine.scheduled().order_by("next_run_time")
        moments = rows.values_list("next_run_time", flat=True)
        moment: datetime | None = self._query(lambda: moments.first())
        return moment

    def get_all_jobs(self) -> list[Job]:
        """Return all jobs that can be restored, by next run time, paused ones last."""
        rows = self._fetch(self._mine.exclude(status=DjangoJob.Status.QUARANTINED))
        jobs = [self.restore_or_quarantine(row) for row in rows]
        return [job for job in jobs if job is not None]

    def add_job(self, job: Job) -> None:
        """Store a new job.

        Raises ConflictingIdError, or InvalidJobError for what cannot be stored.
        """
        values = row_values(job, serializer=self.serializer)
        declared = registry.options_of(values["func"])
        options = {key: declared[key] for key in RUN_OPTIONS if key in declared}
        check_numbers(job.id, options)
        environment = get_settings().environment
        row = DjangoJob(**values, **options, status=_status(job), environment=environment)
        self._query(lambda: self._insert(row))

    def update_job(self, job: Job) -> None:
        """Replace the stored state of a job. Raises JobLookupError if there is none."""
        values = row_values(job, serializer=self.serializer)
        job_id = values.pop("id")
        if (due := self._handed_out.pop(job_id, None)) and _only_moves_on(due, values):
            self._move_on(due, values["next_run_time"])
            return
        values |= {"status": _status(job), "error": "", "held_run_time": None, "lost_runs": 0}
        if not self._query(lambda: self._update(job_id, values)):
            raise JobLookupError(job_id)

    def remove_job(self, job_id: str) -> None:
        """Delete a job; its history stays. Raises JobLookupError if there is none."""
        if not isinstance(job_id, str) or not is_storable(job_id):
            raise JobLookupError(job_id)
        rows = self._rows.filter(pk=job_id)
        due = self._handed_out.pop(job_id, None)
        if due is not None:  # see _move_on()
            rows = rows.filter(next_run_time=due.next_run_time)
        deleted, _ = self._query(lambda: rows.delete())
        if not deleted and due is None:
            raise JobLookupError(job_id)

    def remove_all_jobs(self) -> None:
        """Delete all jobs of this environment; their history stays."""
        self._handed_out = {}
        self._query(lambda: self._mine.delete())

    def keep_schedule(self, job: Job) -> None:
        """Prepare `job` to replace the stored job of its id without losing the schedule.

        It stays paused if it was, and keeps its next run time while its trigger is the same. A
        `next_run_time` that the caller gave counts more.
        """
        row = self._find(job.id)
        if row is None or hasattr(job, "next_run_time"):
            return
        values: dict[str, Any] = {"trigger": trigger_json(job.trigger, serializer=self.serializer)}
        keep_schedule(row, values)
        job.trigger = restore_trigger(values["trigger"], serializer=self.serializer)
        if "next_run_time" in values:
            job.next_run_time = values["next_run_time"]

    def _restore_due(self, row: DjangoJob, now: datetime) -> Job | None:
        """Return the job of a due row, unless its trigger would bring down the scheduler."""
        job = self.restore_or_quarantine(row)
        if job is None:
            return None
        try:
            due = fire_times(job.trigger, job.next_run_time, now, limit=MAX_LATE_RUNS)
        except Exception as error:  # a trigger may be the user's code
            reason = f"its trigger fails with {type(error).__name__}: {error}"
            self._quarantine(row, UnreadableJobError(row.pk, f"{reason.rstrip('.')}."))
            return None
        self._handed_out[row.pk] = row
        self._leave_out_early_fires(job, due, now)
        return job

    def _leave_out_early_fires(self, job: Job, due: DueTimes, now: datetime) -> None:
        """Let the job begin at the first fire that will become a run; the others get one row."""
        first = due.last if job.coalesce else due.recent[0]
        left_out = due.count - (1 if job.coalesce else len(due.recent))
        if left_out and self._lane is not None:
            reason = Reason.COALESCED if job.coalesce else Reason.MISSED
            row = DjangoJobExecution(
                job_id=job.id,
                run_time=job.next_run_time,
                status=Status.SKIPPED,
                reason=reason,
                fires=left_out,
                finished_at=datetime.now(UTC),
            )
            runs = DjangoJobExecution.objects.using(get_settings().database)
            self._query(lambda: runs.bulk_create([row], ignore_conflicts=True))
        job.next_run_time = first

    def _move_on(self, due: DjangoJob, next_run_time: datetime) -> None:
        """Write the next run time of a job that was due.

        The scheduler has read the job a moment ago. If it was paused, rescheduled or removed
        elsewhere since then, that counts, and is no error that could end the scheduler's loop.
        """
        rows = self._rows.filter(pk=due.pk, next_run_time=due.next_run_time)
        self._query(lambda: rows.update(next_run_time=next_run_time))

    def _update(self, job_id: str, values: dict[str, Any]) -> bool:
        row = self._rows.filter(pk=job_id)
        with transaction.atomic(using=self._rows.db):
            if not row.update(**values):
                return False
            send_notice(self._rows.db, work_for(row.values_list("environment", flat=True).get()))
        return True

    def _insert(self, row: DjangoJob) -> None:
        try:
            with transaction.atomic(using=self._rows.db):
                self._rows.bulk_create([row])
                send_notice(self._rows.db, work_for(row.environment))
        except IntegrityError:
            if not self._rows.filter(pk=row.pk).exists():
                raise
            raise ConflictingIdError(row.pk) from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (database={get_settings().database!r})>"


def _status(job: Job) -> str:
    paused = job.next_run_time is None
    return DjangoJob.Status.PAUSED if paused else DjangoJob.Status.SCHEDULED


def _only_moves_on(row: DjangoJob, values: dict[str, Any]) -> bool:
    """Return True if nothing but the next run time differs, and it is not a pause."""
    names = [name for name in JOB_FIELDS if name not in ("id", "next_run_time")]
    unchanged = all(getattr(row, name) == values[name] for name in names)
    return unchanged and values["next_run_time"] is not None
