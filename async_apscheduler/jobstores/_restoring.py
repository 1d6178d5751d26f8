"""From rows to jobs: what cannot be restored is set aside, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from apscheduler.job import Job
from django.db import connections, transaction

from async_apscheduler._database import retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.jobstores._recording import RecordsRunsMixin, kept_text
from async_apscheduler.models import DjangoJob
from async_apscheduler.models.limits import is_storable
from async_apscheduler.models.loading import restore_job
from async_apscheduler.models.notices import send_notice, work_for
from async_apscheduler.signals import job_quarantined, job_released

T = TypeVar("T")


class RestoresJobsMixin(RecordsRunsMixin):
    """A job store on rows of DjangoJob."""

    def __init__(self, serializer: Literal["json", "pickle"] | None = None) -> None:
        super().__init__()
        self.serializer = serializer

    def restore(self, row: DjangoJob | Any) -> Job:
        """See restore_job(). Raises UnreadableJobError."""
        return restore_job(
            row, scheduler=self._scheduler, alias=self._alias, serializer=self.serializer
        )

    def restore_or_quarantine(self, row: DjangoJob) -> Job | None:
        """Return the job of a row; if it cannot be restored, set it aside and return None."""
        try:
            return self.restore(row)
        except UnreadableJobError as error:
            self._quarantine(row, error)
            return None

    def release_readable(self) -> None:
        """Give quarantined jobs that can be restored again their place back."""
        for row in self._fetch(self._mine.releasable()):
            try:
                self._release(row)
            except UnreadableJobError:
                continue

    def _quarantine(self, row: DjangoJob, error: UnreadableJobError) -> None:
        reason = kept_text(error.reason)
        if self._query(lambda: self._rows.quarantine(row, reason)):
            job_quarantined.send_robust(type(self), job_id=row.pk, error=error)

    def _release(self, row: DjangoJob) -> None:
        """Give a quarantined job its place back. Raises UnreadableJobError."""
        self.restore(row)
        if self._query(lambda: self._give_back(row)):
            job_released.send_robust(type(self), job_id=row.pk)
        row.next_run_time = row.held_run_time

    def _give_back(self, row: DjangoJob) -> bool:
        with transaction.atomic(using=self._rows.db):
            released: bool = self._rows.release(row)
            if released:
                send_notice(self._rows.db, work_for(row.environment))
        return released

    def _find(self, job_id: str) -> DjangoJob | None:
        if not isinstance(job_id, str) or not is_storable(job_id):
            return None
        row: DjangoJob | None = self._query(lambda: self._rows.filter(pk=job_id).first())
        return row

    def _fetch(self, rows: Iterable[DjangoJob]) -> list[DjangoJob]:
        """Return rows in APScheduler's order; a database orders ids by its collation."""
        return sorted(self._query(lambda: list(rows)), key=_place)

    def _query(self, work: Callable[[], T]) -> T:
        """Do database work in this store's own thread, or here if the caller has a transaction.

        On a running event loop, where Django forbids database work, this waits all the same:
        APScheduler calls its stores synchronously. `work` must not call other people's code,
        which might wait for a lock that the caller holds.
        """
        database = get_settings().database
        lane = self._lane
        if lane is None or connections[database].in_atomic_block:
            return retrying_once(database, work)
        return lane.submit(retrying_once, database, work).result()

    @property
    def _rows(self) -> Any:
        return DjangoJob.objects.using(get_settings().database)

    @property
    def _mine(self) -> Any:
        return self._rows.filter(environment=get_settings().environment)


def _place(row: DjangoJob) -> tuple[bool, datetime, str]:
    moment = row.next_run_time
    return moment is None, moment or datetime.min.replace(tzinfo=UTC), row.pk
