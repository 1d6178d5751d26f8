"""DjangoJobExecution: a row for each run of a job, and for the fires that did not become runs."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from asgiref.sync import sync_to_async
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from async_apscheduler.exceptions import RunNotFinishedError
from async_apscheduler.models.bulk import ANYTHING, count_each
from async_apscheduler.models.execution_words import ExecutionQuerySet
from async_apscheduler.models.fields import MomentField
from async_apscheduler.models.managers import ConfiguredManager, ConfiguredModel
from async_apscheduler.models.notices import cancel_on, send_notice
from async_apscheduler.models.statuses import FINAL, Reason, Status


class ExecutionManager(ConfiguredManager.from_queryset(ExecutionQuerySet)):  # type: ignore[misc]  # made by a function
    """Adds what is asked of all runs, and the predecessor's way to prune the history."""

    def count_running(self, job_ids: list[str]) -> dict[str, int]:
        """Return how many runs a job has going on, on any node; jobs without one are left out."""
        where = {"status": Status.RUNNING, "node_id": ANYTHING}
        return count_each(self.model, self.db, "job_id", job_ids, where=where) if job_ids else {}

    def delete_old_job_executions(self, max_age: float | timedelta = 604_800) -> int:
        """Delete finished runs that were scheduled more than `max_age` seconds ago.

        The default is a week. A run without a node that never ended counts as finished: its
        scheduler, one of APScheduler's own, was killed. Returns how many were deleted.
        """
        age = max_age if isinstance(max_age, timedelta) else timedelta(seconds=max_age)
        over = models.Q(status__in=FINAL) | models.Q(status=Status.RUNNING, node__isnull=True)
        old = self.filter(over, run_time__lte=datetime.now(UTC) - age)
        return int(old.delete_in_batches())

    async def adelete_old_job_executions(self, max_age: float | timedelta = 604_800) -> int:
        """See delete_old_job_executions()."""
        return await sync_to_async(self.delete_old_job_executions)(max_age)


class DjangoJobExecution(ConfiguredModel):
    """One run of a job, from its claim to its end."""

    Status = Status
    Reason = Reason

    job = models.ForeignKey(
        "DjangoJob",
        verbose_name=_("job"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,  # the history outlives its job
        db_index=False,  # the unique constraint's index begins with it
        related_name="executions",
    )
    run_time = MomentField(_("scheduled"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices)
    reason = models.CharField(
        _("reason"), max_length=20, choices=Reason.choices, blank=True, default=""
    )
    fires = models.PositiveIntegerField(_("fires"), default=1)
    """How many fires this row stands for; more than 1 only where skipped fires were folded."""
    node = models.ForeignKey(
        "SchedulerNode",
        verbose_name=_("node"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
        related_name="executions",
    )
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    available_at = MomentField(_("not before"), null=True, blank=True)
    started_at = MomentField(_("started"), null=True, blank=True)
    finished_at = MomentField(_("finished"), null=True, blank=True)
    duration = models.FloatField(_("duration (s)"), null=True, blank=True)
    exception = models.TextField(_("exception"), blank=True, default="")
    traceback = models.TextField(_("traceback"), blank=True, default="")
    return_value = models.JSONField(_("return value"), null=True, blank=True)
    log = models.TextField(_("log"), blank=True, default="")
    progress = models.JSONField(_("progress"), null=True, blank=True)
    requested_by = models.CharField(_("requested by"), max_length=255, blank=True, default="")
    cancel_requested_at = MomentField(_("cancel requested"), null=True, blank=True)
    cancelled_by = models.CharField(_("cancelled by"), max_length=255, blank=True, default="")
    db_queries = models.PositiveIntegerField(_("queries"), default=0)
    db_seconds = models.FloatField(_("database time (s)"), default=0.0)
    loop_blocked_seconds = models.FloatField(_("loop blocked (s)"), default=0.0)

    objects = ExecutionManager()

    class Meta:
        verbose_name = _("job execution")
        verbose_name_plural = _("job executions")
        ordering = ["-run_time", "-pk"]
        permissions = [
            ("cancel_djangojobexecution", _("Can cancel a run")),
        ]
        constraints = [
            models.UniqueConstraint(fields=["job", "run_time"], name="apscheduler_run_once"),
        ]
        indexes = [
            models.Index(fields=["status", "job"], name="apscheduler_run_status"),
            models.Index(fields=["run_time"], name="apscheduler_run_time"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} @ {self.run_time}: {self.status}"

    @property
    def is_finished(self) -> bool:
        """True when the run has ended or was skipped."""
        return self.status in FINAL

    @property
    def lateness(self) -> float | None:
        """Seconds from the scheduled time to the start; None before it, and for a retry."""
        if self.started_at is None or self.attempt > 1:
            return None
        return float((self.started_at - self.run_time).total_seconds())

    def cancel(self, *, by: str = "") -> bool:
        """Cancel the run, in the caller's transaction; return False if it has ended already.

        A pending run is cancelled at once. A running one is asked to stop: its node cancels the
        coroutine at once on PostgreSQL, elsewhere within POLL_INTERVAL; a plain function in a
        thread cannot be stopped. `by` says who asked.
        """
        runs = DjangoJobExecution.objects.using(self.database).filter(pk=self.pk)
        now = datetime.now(UTC)
        asked = {"cancel_requested_at": now, "cancelled_by": by[:255]}
        ended = {"status": Status.CANCELLED, "reason": Reason.REQUESTED, "finished_at": now}
        with transaction.atomic(using=self.database):
            changed = (
                runs.pending().update(**asked, **ended)
                or runs.running().update(**asked)
                or runs.pending().update(**asked, **ended)  # it failed just now and is tried again
            )
            if not changed:
                return False
            self.refresh_from_db(using=self.database)
            if not self.is_finished and self.node_id is not None:
                send_notice(self.database, cancel_on(self.node_id))
        return True

    async def acancel(self, *, by: str = "") -> bool:
        """See cancel()."""
        return await sync_to_async(self.cancel)(by=by)

    def join(self, timeout: float | None = None) -> DjangoJobExecution:
        """Wait for the end of the run, in whichever process it runs, and return this row afresh.

        `timeout` is in seconds; None waits for ever, 0 only looks. Raises RunNotFinishedError.
        """
        for pause in self._pauses(timeout):
            time.sleep(pause)
            self.refresh_from_db(using=self.database)
            if self.is_finished:
                return self
        raise self._not_finished(timeout)

    async def ajoin(self, timeout: float | None = None) -> DjangoJobExecution:
        """See join()."""
        for pause in self._pauses(timeout):
            await asyncio.sleep(pause)
            await self.arefresh_from_db(using=self.database)
            if self.is_finished:
                return self
        raise self._not_finished(timeout)

    @staticmethod
    def _pauses(timeout: float | None) -> Iterator[float]:
        """Yield how long to sleep before each look: not at all, shortly, then half a second."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        yield 0.0
        pause = 0.02
        while (left := deadline - time.monotonic()) > 0:
            yield min(pause, left)
            pause = min(pause * 1.5, 0.5)

    def _not_finished(self, timeout: float | None) -> RunNotFinishedError:
        return RunNotFinishedError(
            f"Run {self.pk} of job {self.job_id!r} is still {self.status} after {timeout} "
            "seconds. It goes on; wait again, cancel it, or see that a scheduler is running."
        )
