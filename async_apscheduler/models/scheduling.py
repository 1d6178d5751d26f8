"""The manager of DjangoJob: how jobs come into the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.base import ConflictingIdError
from apscheduler.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction

from async_apscheduler import triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.models.changes import JobChange, record_change
from async_apscheduler.models.job_words import JobQuerySet
from async_apscheduler.models.limits import check_job_id, check_numbers
from async_apscheduler.models.loading import RUN_OPTIONS, build_job, row_values
from async_apscheduler.models.managers import ConfiguredManager
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.models.statuses import Reason, Status
from async_apscheduler.registry import UNSET, given, registry

if TYPE_CHECKING:
    from async_apscheduler.models.jobs import DjangoJob


def first_run_time(trigger: BaseTrigger, now: datetime) -> datetime | None:
    """Return the first fire of a trigger from `now` on, or None if it has none.

    Raises InvalidTriggerError if the trigger can never fire at all.
    """
    return triggers.check_trigger(trigger, now=now.astimezone(get_settings().time_zone))


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
        misfire_grace_time: float | timedelta | None = UNSET,
        next_run_time: datetime | None = UNSET,
        timeout: float | timedelta | None = UNSET,
        max_attempts: int = UNSET,
        retry_delay: float | timedelta = UNSET,
        retry_on_lost: bool = UNSET,
        replace_existing: bool = False,
        by: str = "",
        **trigger_args: Any,
    ) -> DjangoJob:
        """Store a job, in the caller's transaction, and return its row.

        `func` is a module-level function or a reference "app.jobs:name" inside ALLOWED_MODULES.
        `trigger` is a trigger or the alias of one (date, interval, cron, crontab, ...), whose
        arguments are the remaining keywords; without one the job runs once, at once. `expression`
        is the line of a crontab. Options not given come from ``@job`` and then from JOB_DEFAULTS;
        `misfire_grace_time`, `timeout` and `retry_delay` are seconds or a timedelta.
        `next_run_time=None` adds the job paused. With `replace_existing` a job of the same id
        takes the new state, but stays paused if it was, and keeps its next run time while its
        trigger is the same. `by` goes into the audit trail.

        Raises InvalidJobError (see there for its kinds) and ConflictingIdError.
        """
        if expression is not None:
            trigger_args["expression"] = expression
        settings = get_settings()
        created = triggers.create_trigger(trigger, trigger_args, timezone=settings.time_zone)
        options = given(
            {
                "executor": executor,
                "coalesce": coalesce,
                "max_instances": max_instances,
                "misfire_grace_time": misfire_grace_time,
                "name": UNSET if name is None else name,
                "timeout": timeout,
                "max_attempts": max_attempts,
                "retry_delay": retry_delay,
                "retry_on_lost": retry_on_lost,
            }
        )
        values = job_values(
            func,
            created,
            id=uuid.uuid4().hex if id is None else id,
            args=args,
            kwargs=kwargs,
            next_run_time=next_run_time,
            **options,
        )
        if next_run_time is UNSET and values["next_run_time"] is None:
            raise InvalidTriggerError(
                f"The trigger {created} has no fire left, so the job would never run. Give it a "
                "later end."
            )
        return self._store(
            values,
            replace_existing,
            keep_time=next_run_time is UNSET,
            exact_start=trigger_args.get("start_date") is not None,
            by=by,
        )

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
        self, values: dict[str, Any], replace_existing: bool, *, by: str, **keeping: bool
    ) -> DjangoJob:
        while True:
            try:
                with transaction.atomic(using=self.db):
                    if replace_existing:
                        row = self.using(self.db).hold(values["id"])
                        if row is not None:
                            return self._replace(row, values, by=by, **keeping)
                    return self._insert(values, by=by)
            except ConflictingIdError:
                if not replace_existing:
                    raise
                # Somebody has added it a moment ago. A second try, in a transaction of its own:
                # on MariaDB the first one shares a lock on the row with others that want it alone.

    def _insert(self, values: dict[str, Any], *, by: str) -> DjangoJob:
        rows = self.using(self.db)
        try:
            with transaction.atomic(using=self.db):
                row: DjangoJob = rows.create(**values)
        except IntegrityError:
            if not rows.filter(pk=values["id"]).exists():
                raise
            raise ConflictingIdError(values["id"]) from None
        added = {"trigger": row.trigger}
        record_change(self.db, row.pk, JobChange.Action.ADDED, by=by, after=added)
        send_notice(self.db, work_for(row.environment))
        return row

    def _replace(
        self,
        row: DjangoJob,
        values: dict[str, Any],
        *,
        keep_time: bool,
        exact_start: bool,
        by: str,
    ) -> DjangoJob:
        before = {"func": row.func, "trigger": row.trigger}
        if keep_time:
            keep_schedule(row, values, exact_start=exact_start)
        if values["next_run_time"] != row.next_run_time:
            runs: Any = row.executions.using(self.db)
            runs.note_dropped([row], datetime.now(UTC), status=Status.SKIPPED, reason=Reason.MISSED)
        for field, value in values.items():
            setattr(row, field, value)
        row.error, row.held_run_time, row.lost_runs = "", None, 0
        row.save(using=self.db)
        after = {"func": row.func, "trigger": row.trigger}
        record_change(self.db, row.pk, JobChange.Action.CHANGED, by=by, before=before, after=after)
        send_notice(self.db, work_for(row.environment))
        return row


def keep_schedule(row: DjangoJob, values: dict[str, Any], *, exact_start: bool = False) -> None:
    """Let a replaced job keep its pause, and its next run time while the trigger is the same.

    With `exact_start` another start makes another trigger; see triggers_agree().
    """
    pending = row.held_run_time if row.status == "quarantined" else row.next_run_time
    was_paused = row.status == "paused" or (row.status == "quarantined" and pending is None)
    if was_paused:
        values["next_run_time"], values["status"] = None, "paused"
    elif triggers_agree(row.trigger, values["trigger"], exact_start=exact_start):
        values["trigger"] = row.trigger
        if pending is not None:
            values["next_run_time"] = pending


def triggers_agree(old: Any, new: Any, *, exact_start: bool = False) -> bool:
    """Return True if two triggers, as JSON, say the same.

    The start of an interval that was not given is the moment or the day of its construction,
    which differs at each start of the program; it does not count, unless with `exact_start`.
    """
    return bool(old == new or (not exact_start and _without_start(old) == _without_start(new)))


def _without_start(trigger: Any) -> Any:
    if not isinstance(trigger, dict):
        return trigger
    parts = trigger.get("triggers")
    if isinstance(parts, list):
        return {**trigger, "triggers": [_without_start(part) for part in parts]}
    if trigger.get("type") in ("interval", "calendarinterval"):
        return {key: value for key, value in trigger.items() if key != "start_date"}
    return trigger


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
    check_job_id(id)
    settings = get_settings()
    first = first_run_time(trigger, datetime.now(UTC))
    options = {
        **RUN_OPTIONS,
        "coalesce": settings.job_defaults.coalesce,
        "max_instances": settings.job_defaults.max_instances,
        "misfire_grace_time": settings.job_defaults.misfire_grace_time,
        "executor": "default",
        **registry.options_of(func),
        **given,
    }
    run_options = {key: options.pop(key) for key in RUN_OPTIONS}
    check_numbers(id, run_options)
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
