"""DjangoJob: a row for each job, and the words to steer it from views, shell and other jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from apscheduler.jobstores.base import JobLookupError
from asgiref.sync import sync_to_async
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from async_apscheduler import triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import AsyncAPSchedulerError, InvalidJobError
from async_apscheduler.models.changes import JobChange, record_change
from async_apscheduler.models.executions import DjangoJobExecution
from async_apscheduler.models.fields import ExactCharField, MomentField, new_version
from async_apscheduler.models.job_words import MAX_LOST_RUNS
from async_apscheduler.models.limits import DIGEST_LENGTH
from async_apscheduler.models.loading import restore_trigger, trigger_json
from async_apscheduler.models.managers import ConfiguredModel
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.models.scheduling import JobManager, first_run_time
from async_apscheduler.models.statuses import Reason, Status

EDITED_FIELDS = (
    "trigger",
    "status",
    "next_run_time",
    "held_run_time",
    "error",
    "lost_runs",
    "version",
)
"""What pause(), resume() and reschedule() write."""


class DjangoJob(ConfiguredModel):
    """A job: what to call, when, and under which rules."""

    class Status(models.TextChoices):
        """Whether the job's trigger counts."""

        SCHEDULED = "scheduled", _("scheduled")
        PAUSED = "paused", _("paused")
        QUARANTINED = "quarantined", _("quarantined")

    class Source(models.TextChoices):
        """Where the job comes from."""

        DECLARED = "declared", _("code")
        API = "api", _("API")
        ADMIN = "admin", _("admin")

    id = ExactCharField(_("id"), max_length=255, primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    func = models.CharField(_("function"), max_length=500)
    args = models.JSONField(_("arguments"), default=list, blank=True)
    kwargs = models.JSONField(_("keyword arguments"), default=dict, blank=True)
    trigger = models.JSONField(_("trigger"))
    executor = models.CharField(_("executor"), max_length=255, default="default")
    coalesce = models.BooleanField(_("coalesce"), default=True)
    max_instances = models.PositiveIntegerField(_("max instances"), default=1)
    misfire_grace_time = models.PositiveIntegerField(
        _("misfire grace time (s)"), null=True, blank=True
    )
    timeout = models.FloatField(_("timeout (s)"), null=True, blank=True)
    max_attempts = models.PositiveIntegerField(_("max attempts"), default=1)
    retry_delay = models.FloatField(_("retry delay (s)"), default=0.0)
    retry_on_lost = models.BooleanField(_("retry when lost"), default=False)
    next_run_time = MomentField(_("next run"), null=True, blank=True)
    status = models.CharField(
        _("status"), max_length=12, choices=Status.choices, default=Status.SCHEDULED
    )
    source = models.CharField(
        _("source"), max_length=10, choices=Source.choices, default=Source.API
    )
    environment = models.CharField(_("environment"), max_length=100, blank=True, default="")
    version = models.PositiveBigIntegerField(_("version"), default=new_version)
    """Another number after each edit; schedulers keep what they have decoded by id and version."""
    error = models.TextField(_("error"), blank=True, default="")
    held_run_time = MomentField(_("held run"), null=True, blank=True)
    """The next run time at the moment of the quarantine, given back at the release."""
    lost_runs = models.PositiveIntegerField(_("lost runs in a row"), default=0)
    """How many of the last runs were lost with their process; see JobQuerySet.note_lost()."""
    declaration = models.JSONField(_("declaration"), null=True, blank=True)
    """What the code said when it was last synchronised; see models.declarations."""
    declaration_digest = models.CharField(
        _("digest"), max_length=DIGEST_LENGTH, blank=True, default="", db_default=""
    )
    """By which `declaration` is known to be what the code says, without looking into either.

    Its default is the database's as well: during a deploy, processes that do not know it add jobs.
    """

    objects = JobManager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = [models.F("next_run_time").asc(nulls_last=True), "pk"]
        permissions = [
            ("run_djangojob", _("Can run a job now")),
            ("pause_djangojob", _("Can pause and resume a job")),
        ]
        indexes = [
            models.Index(fields=["next_run_time"], name="apscheduler_job_due"),
        ]

    def __str__(self) -> str:
        return self.name or self.pk

    def save(self, *, update_fields: Iterable[str] | None = None, **options: Any) -> None:
        """See Django. What is there already becomes another version, which schedulers notice.

        Also if it was edited elsewhere since it was read: that version is not used again.
        """
        if not self._state.adding:
            self.version = max(self.version + 1, new_version())
            update_fields = None if update_fields is None else {*update_fields, "version"}
        super().save(update_fields=update_fields, **options)

    @property
    def is_poisonous(self) -> bool:
        """True if the job is set aside because its runs were lost with their processes."""
        return self.status == self.Status.QUARANTINED and self.lost_runs >= MAX_LOST_RUNS

    def is_due(self, now: datetime) -> bool:
        """Return True if the job has a fire that no scheduler has claimed yet."""
        due: datetime | None = self.next_run_time
        return self.status == self.Status.SCHEDULED and due is not None and due <= now

    def describe_trigger(self) -> str:
        """Return the trigger in words, or why it cannot be read."""
        try:
            return triggers.describe_trigger(restore_trigger(self.trigger))
        except AsyncAPSchedulerError as error:
            return str(error)

    def pause(self, *, by: str = "") -> None:
        """Let the job not fire until resume(). Runs that have begun go on."""
        with self._changing(JobChange.Action.PAUSED, by):
            self.status, self.next_run_time, self.held_run_time = self.Status.PAUSED, None, None

    async def apause(self, *, by: str = "") -> None:
        """See pause()."""
        await sync_to_async(self.pause)(by=by)

    def resume(self, *, by: str = "") -> None:
        """Let the job fire again, next at the first time of its trigger from now on.

        Raises InvalidJobError if the trigger has no fire left.
        """
        with self._changing(JobChange.Action.RESUMED, by):
            self._schedule_next()

    async def aresume(self, *, by: str = "") -> None:
        """See resume()."""
        await sync_to_async(self.resume)(by=by)

    def reschedule(
        self,
        trigger: Any = None,
        expression: str | None = None,
        *,
        by: str = "",
        **trigger_args: Any,
    ) -> None:
        """Give the job another trigger, in APScheduler's words, and resume it.

        `expression` is the line of a crontab. A fire that is due and has not begun is dropped, and
        recorded as missed. Raises InvalidTriggerError.
        """
        if expression is not None:
            trigger_args["expression"] = expression
        zone = get_settings().time_zone
        created = triggers.create_trigger(trigger, trigger_args, timezone=zone)
        with self._changing(JobChange.Action.CHANGED, by):
            DjangoJobExecution.objects.using(self.database).note_dropped(
                [self], datetime.now(UTC), status=Status.SKIPPED, reason=Reason.MISSED
            )
            self.trigger = trigger_json(created)
            self._schedule_next()

    async def areschedule(
        self,
        trigger: Any = None,
        expression: str | None = None,
        *,
        by: str = "",
        **trigger_args: Any,
    ) -> None:
        """See reschedule()."""
        await sync_to_async(self.reschedule)(trigger, expression, by=by, **trigger_args)

    def remove(self, *, by: str = "") -> None:
        """Delete the job; its history stays. Runs that have begun go on.

        Pending ones are cancelled, and so is a fire that is due. Raises JobLookupError if the job
        is gone already.
        """
        database = self.database
        with transaction.atomic(using=database):
            row = self._locked_row()
            type(self).objects.using(database).filter(pk=self.pk).delete()
            DjangoJobExecution.objects.using(database).cancel_removed([row])
            removed = JobChange.Action.REMOVED
            record_change(database, self.pk, removed, by=by, before=row._audited())

    async def aremove(self, *, by: str = "") -> None:
        """See remove()."""
        await sync_to_async(self.remove)(by=by)

    def run(self, *, by: str = "") -> DjangoJobExecution:
        """Ask the schedulers for a run now; `next_run_time` stays as it is.

        Returns the pending run at once. While an earlier request of this job is still pending,
        that one is returned: a thousand clicks make one run.
        """
        runs = DjangoJobExecution.objects.using(self.database)
        with transaction.atomic(using=self.database):
            job = self._locked_row()
            waiting: DjangoJobExecution | None = runs.pending().filter(job_id=self.pk).first()
            if waiting is not None:
                return waiting
            run: DjangoJobExecution = runs.create(
                job_id=self.pk,
                run_time=datetime.now(UTC),
                status=Status.PENDING,
                requested_by=by[:255],
            )
            send_notice(self.database, work_for(job.environment))
            return run

    async def arun(self, *, by: str = "") -> DjangoJobExecution:
        """See run()."""
        return await sync_to_async(self.run)(by=by)

    @contextmanager
    def _changing(self, action: JobChange.Action, by: str) -> Iterator[None]:
        """Lock the row and take what it holds now; after the block store and audit the change."""
        with transaction.atomic(using=self.database):
            fresh = self._locked_row()
            self._take_over(fresh)
            before = self._audited()
            try:
                yield
            except BaseException:
                self._take_over(fresh)
                raise
            self.save(using=self.database, update_fields=EDITED_FIELDS)
            after = self._audited()
            changed = [key for key in after if after[key] != before[key]]
            record_change(
                self.database,
                self.pk,
                action,
                by=by,
                before={key: before[key] for key in changed},
                after={key: after[key] for key in changed},
            )
            send_notice(self.database, work_for(fresh.environment))

    def _schedule_next(self) -> None:
        trigger = restore_trigger(self.trigger)
        self.next_run_time = first_run_time(trigger, datetime.now(UTC))
        if self.next_run_time is None:
            raise InvalidJobError(
                f"The trigger of job {self.pk!r} has no fire left. Reschedule the job with "
                "another trigger, or remove it."
            )
        self.status, self.error, self.held_run_time = self.Status.SCHEDULED, "", None
        self.lost_runs = 0

    def _locked_row(self) -> DjangoJob:
        row: DjangoJob | None = type(self).objects.using(self.database).hold(self.pk)
        if row is None:
            raise JobLookupError(self.pk)
        return row

    def _take_over(self, row: DjangoJob) -> None:
        for field in EDITED_FIELDS:
            setattr(self, field, getattr(row, field))

    def _audited(self) -> dict[str, Any]:
        moment: datetime | None = self.next_run_time
        return {
            "trigger": self.trigger,
            "status": self.status,
            "next_run_time": moment.isoformat() if moment else None,
        }
