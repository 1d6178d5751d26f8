"""QuerySet words and the manager of DjangoJob: how jobs come into the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from async_apscheduler import triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.models.bulk import update_each
from async_apscheduler.models.changes import JobChange, record_change
from async_apscheduler.models.loading import build_job, row_values
from async_apscheduler.models.managers import ConfiguredManager, ConfiguredQuerySet
from async_apscheduler.registry import registry

if TYPE_CHECKING:
    from async_apscheduler.models.jobs import DjangoJob


class Unset:
    """The type of UNSET."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = Unset()
"""Marks an argument that was not given, where None means something."""

RUN_OPTIONS = ("timeout", "max_attempts", "retry_delay", "retry_on_lost")
"""Options of a job that APScheduler's Job has no place for."""


def first_run_time(trigger: BaseTrigger, now: datetime) -> datetime | None:
    """Return the first fire of a trigger from `now` on, or None if it has none.

    Raises InvalidTriggerError if the trigger can never fire at all.
    """
    return triggers.check_trigger(trigger, now=now.astimezone(get_settings().time_zone))


class JobQuerySet(ConfiguredQuerySet):
    """Words for sets of jobs."""

    def scheduled(self) -> JobQuerySet:
        """Jobs whose trigger counts."""
        return self.filter(status="scheduled", next_run_time__isnull=False)

    def paused(self) -> JobQuerySet:
        """Jobs that were paused."""
        return self.filter(status="paused")

    def quarantined(self) -> JobQuerySet:
        """Jobs that could not be restored."""
        return self.filter(status="quarantined")

    def for_node(self, environment: str, executors: Iterable[str]) -> JobQuerySet:
        """Jobs that a node of this environment with these executors may run."""
        return self.filter(environment=environment, executor__in=list(executors))

    def due(self, now: datetime) -> JobQuerySet:
        """Jobs whose time has come, oldest first."""
        return self.scheduled().filter(next_run_time__lte=now).order_by("next_run_time")

    def exhausted(self) -> JobQuerySet:
        """Jobs without a fire left, kept only until their last run has ended."""
        return self.filter(status="scheduled", next_run_time__isnull=True)

    def advance(self, moments: Mapping[str, datetime]) -> None:
        """Write the next run time of each job, in a few statements."""
        jobs_by_moment: dict[datetime, list[str]] = {}
        for job_id, moment in moments.items():
            jobs_by_moment.setdefault(moment, []).append(job_id)
        if len(jobs_by_moment) <= max(1, len(moments) // 20):
            for moment, job_ids in jobs_by_moment.items():
                self.filter(pk__in=job_ids).update(next_run_time=moment)
        else:
            rows = [{"next_run_time": at, "id": job_id} for job_id, at in moments.items()]
            update_each(self.model, self.db, rows, where=("id",))

    def quarantine(self, row: DjangoJob, error: str) -> bool:
        """Set a job aside that could not be restored; return False if it was set aside before.

        An edit that came in between wins: then nothing changes.
        """
        rows = self.filter(pk=row.pk, version=row.version).exclude(status="quarantined")
        return bool(
            rows.update(
                status="quarantined",
                error=error,
                held_run_time=models.F("next_run_time"),
                next_run_time=None,
            )
        )

    def release(self, row: DjangoJob) -> bool:
        """Give a quarantined job back its place in the schedule."""
        status = "paused" if row.held_run_time is None else "scheduled"
        rows = self.filter(pk=row.pk, version=row.version, status="quarantined")
        return bool(
            rows.update(
                status=status, error="", next_run_time=row.held_run_time, held_run_time=None
            )
        )


class JobManager(ConfiguredManager.from_queryset(JobQuerySet)):  # type: ignore[misc]  # made by a function
    """Schedules jobs, in APScheduler's words."""

    def schedule(
        self,
        func: Callable[..., Any] | str,
        trigger: BaseTrigger | str | None = None,
        expression: str | None = None,
        *,
        id: str | None = None,  # APScheduler's word
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        executor: str = UNSET,
        coalesce: bool = UNSET,
        max_instances: int = UNSET,
        misfire_grace_time: int | None = UNSET,
        next_run_time: datetime | None = UNSET,
        timeout: float | None = UNSET,
        max_attempts: int = UNSET,
        retry_delay: float = UNSET,
        retry_on_lost: bool = UNSET,
        replace_existing: bool = False,
        by: str = "",
        **trigger_args: Any,
    ) -> DjangoJob:
        """Store a job, in the caller's transaction, and return its row.

        `func` is a module-level function or a reference "app.jobs:name" inside ALLOWED_MODULES.
        `trigger` is a trigger or the alias of one (date, interval, cron, crontab, ...), whose
        arguments are the remaining keywords; without one the job runs once, at once. `expression`
        is the line of a crontab. Options not given come from ``@job`` and then from JOB_DEFAULTS.
        `next_run_time=None` adds the job paused. With `replace_existing` a job of the same id
        takes the new state, but stays paused if it was, and keeps its next run time while its
        trigger is the same. `by` goes into the audit trail.

        Raises InvalidJobError (see there for its kinds) and ConflictingIdError.
        """
        if expression is not None:
            trigger_args["expression"] = expression
        settings = get_settings()
        created = triggers.create_trigger(trigger, trigger_args, timezone=settings.time_zone)
        options = {
            "executor": executor,
            "coalesce": coalesce,
            "max_instances": max_instances,
            "misfire_grace_time": misfire_grace_time,
            "name": name if name is not None else UNSET,
            "timeout": timeout,
            "max_attempts": max_attempts,
            "retry_delay": retry_delay,
            "retry_on_lost": retry_on_lost,
        }
        values = job_values(
            func,
            created,
            id=id if id is not None else uuid.uuid4().hex,
            args=args,
            kwargs=kwargs,
            next_run_time=next_run_time,
            **{key: value for key, value in options.items() if value is not UNSET},
        )
        return self._store(values, replace_existing, keep_time=next_run_time is UNSET, by=by)

    async def aschedule(
        self,
        func: Callable[..., Any] | str,
        trigger: BaseTrigger | str | None = None,
        *expression: str,
        **options: Any,
    ) -> DjangoJob:
        """See schedule()."""
        return await sync_to_async(self.schedule)(func, trigger, *expression, **options)

    def _store(
        self, values: dict[str, Any], replace_existing: bool, *, keep_time: bool, by: str
    ) -> DjangoJob:
        job_id = values["id"]
        database = self.db
        with transaction.atomic(using=database):
            try:
                with transaction.atomic(using=database):
                    row: DjangoJob = self.using(database).create(**values)
            except IntegrityError:
                if not replace_existing:
                    raise ConflictingIdError(job_id) from None
                return self._replace(values, keep_time=keep_time, by=by)
            record_change(
                database, job_id, JobChange.Action.ADDED, by=by, after={"trigger": row.trigger}
            )
            return row

    def _replace(self, values: dict[str, Any], *, keep_time: bool, by: str) -> DjangoJob:
        row: DjangoJob = self.using(self.db).select_for_update().get(pk=values["id"])
        before = {"func": row.func, "trigger": row.trigger}
        if keep_time:
            keep_schedule(row, values)
        for field, value in values.items():
            setattr(row, field, value)
        row.version += 1
        row.error, row.held_run_time = "", None
        row.save(using=self.db)
        record_change(
            self.db,
            row.pk,
            JobChange.Action.CHANGED,
            by=by,
            before=before,
            after={"func": row.func, "trigger": row.trigger},
        )
        return row


def keep_schedule(row: DjangoJob, values: dict[str, Any]) -> None:
    """Let a replaced job keep its pause, and its next run time while the trigger is the same."""
    if row.status == "paused":
        values["next_run_time"], values["status"] = None, "paused"
    elif triggers_agree(row.trigger, values["trigger"]):
        pending = row.next_run_time if row.status == "scheduled" else row.held_run_time
        values["trigger"] = row.trigger
        if pending is not None:
            values["next_run_time"] = pending


def triggers_agree(old: Any, new: Any) -> bool:
    """Return True if two triggers, as JSON, say the same.

    The start of an interval that was not given is the moment of its construction, which differs
    at each start of the program; it does not count.
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return bool(old == new)
    if old.get("type") == new.get("type") == "interval":
        old, new = ({k: v for k, v in t.items() if k != "start_date"} for t in (old, new))
    return bool(old == new)


def job_values(
    func: Callable[..., Any] | str,
    trigger: BaseTrigger,
    *,
    id: str,  # APScheduler's word
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    next_run_time: datetime | None = UNSET,
    **given: Any,
) -> dict[str, Any]:
    """Return all columns of a new job; options not given come from @job and JOB_DEFAULTS."""
    settings = get_settings()
    now = timezone.now()
    first = first_run_time(trigger, now)
    options = {
        "coalesce": settings.job_defaults.coalesce,
        "max_instances": settings.job_defaults.max_instances,
        "misfire_grace_time": settings.job_defaults.misfire_grace_time,
        "executor": "default",
        **registry.options_of(func),
        **given,
    }
    run_options = {key: options.pop(key) for key in RUN_OPTIONS if key in options}
    job = build_job(
        func,
        trigger,
        id=id,
        args=args,
        kwargs=kwargs,
        next_run_time=first if next_run_time is UNSET else next_run_time,
        **options,
    )
    values = row_values(job)
    status = "paused" if values["next_run_time"] is None else "scheduled"
    return {**values, **run_options, "status": status, "environment": settings.environment}
