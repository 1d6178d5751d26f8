"""QuerySet words of DjangoJobExecution, which chain as a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import models

from async_apscheduler._database import Statement
from async_apscheduler.models.bulk import insertions, update_each, updates
from async_apscheduler.models.managers import ConfiguredQuerySet
from async_apscheduler.models.statuses import FINAL, Reason, Status

if TYPE_CHECKING:
    from async_apscheduler.models.jobs import DjangoJob

Fire = tuple[str, datetime]
"""Job id and scheduled time, which are unique for a run."""

DELETE_BATCH = 1000
"""Rows that one DELETE of old runs removes, so that no lock is held for long."""

NOT_YET_ENDED = {
    "available_at": None,
    "finished_at": None,
    "duration": None,
    "reason": "",
    "exception": "",
    "traceback": "",
}
"""What a run that is tried again forgets of its last attempt."""


class ExecutionQuerySet(ConfiguredQuerySet):
    """Words for sets of runs."""

    def pending(self) -> ExecutionQuerySet:
        """Runs that wait for a node."""
        return self.filter(status=Status.PENDING)

    def ready(self, now: Any) -> ExecutionQuerySet:
        """Pending runs whose time has come."""
        return self.pending().filter(
            models.Q(available_at__isnull=True) | models.Q(available_at__lte=now)
        )

    def running(self) -> ExecutionQuerySet:
        """Runs that a node is executing."""
        return self.filter(status=Status.RUNNING)

    def finished(self) -> ExecutionQuerySet:
        """Runs that have ended, and fires that were skipped."""
        return self.filter(status__in=FINAL)

    def dropped(self) -> ExecutionQuerySet:
        """Fires that became no run because their job was removed or changed; see note_dropped()."""
        removed = models.Q(status=Status.CANCELLED, reason=Reason.REMOVED, started_at=None)
        return self.filter(removed | models.Q(status=Status.SKIPPED, reason=Reason.MISSED, fires=1))

    def on_any_node(self) -> ExecutionQuerySet:
        """Runs of nodes; not those of APScheduler's own schedulers, which may be long dead."""
        return self.filter(node_id__isnull=False)

    def on_node(self, node: Any) -> ExecutionQuerySet:
        """Runs that the node has claimed."""
        return self.filter(node_id=getattr(node, "pk", node))

    def insertions(self, rows: list[dict[str, Any]]) -> list[Statement[Any]]:
        """Return statements that insert what a node has claimed or skipped, for keys_of_claimed().

        Each dict has the same keys: columns, the first of them `job_id`.
        """
        return insertions(self.model, self.db, rows, returning=("job_id", "id"))

    def keys_of_claimed(
        self, node_id: int, rows: list[dict[str, Any]], made: list[Any]
    ) -> dict[Fire, int]:
        """Return the keys of a node's running runs from the answers to insertions()."""
        fires = {row["job_id"]: row["run_time"] for row in rows}
        if None not in made and len(fires) == len(rows):
            return {(job_id, fires[job_id]): pk for job_id, pk in chain.from_iterable(made)}
        job_ids = [row["job_id"] for row in rows if row["status"] == Status.RUNNING]
        return self.running().on_node(node_id).filter(job_id__in=job_ids).keys_by_fire()

    def taking(self, node_id: int, keys: list[int], now: datetime) -> list[Statement[int]]:
        """Return statements that let a node run what was pending."""
        begun = {"status": Status.RUNNING, "node_id": node_id, "started_at": now, **NOT_YET_ENDED}
        return updates(self.model, self.db, [{**begun, "id": key} for key in keys], key="id")

    def keys_by_fire(self) -> dict[Fire, int]:
        """Return the primary keys of these runs by job id and scheduled time."""
        runs = self.order_by().values_list("job_id", "run_time", "pk")
        return {(job_id, run_time): pk for job_id, run_time, pk in runs}

    def finish(self, node_id: int, ends: list[dict[str, Any]]) -> int:
        """Write how runs of a node ended, and return how many were still its own.

        Each dict has the same keys: columns, among them `id`. A run that another node has taken
        over or ended meanwhile stays as it is.
        """
        own = {"node_id": node_id, "status": Status.RUNNING}
        return update_each(self.model, self.db, ends, key="id", unless_changed=own)

    async def afinish(self, node_id: int, ends: list[dict[str, Any]]) -> int:
        """See finish()."""
        return await sync_to_async(self.finish)(node_id, ends)

    def cancel_removed(self, jobs: Iterable[DjangoJob]) -> None:
        """Cancel what would still have run of jobs that are being removed.

        A job that is added under the same id must not inherit it.
        """
        jobs, now = list(jobs), datetime.now(UTC)
        why = {"status": Status.CANCELLED, "reason": Reason.REMOVED}
        pending = self.pending().filter(job_id__in=[job.pk for job in jobs])
        pending.update(**why, finished_at=now)
        self.note_dropped(jobs, now, **why)

    def note_dropped(self, jobs: Iterable[DjangoJob], now: datetime, **why: Any) -> None:
        """Leave a row for each fire of these jobs that was due by `now` and will not be a run.

        `why` are its `status` and `reason`. To be called before the job's row is changed.
        """
        rows = [
            self.model(job_id=job.pk, run_time=job.next_run_time, finished_at=now, **why)
            for job in jobs
            if job.is_due(now)
        ]
        self.bulk_create(rows, ignore_conflicts=True)

    def delete_in_batches(self) -> int:
        """Delete the rows, a batch for each transaction, and return their number."""
        deleted = 0
        while keys := list(self.order_by("pk").values_list("pk", flat=True)[:DELETE_BATCH]):
            deleted += self.model.objects.using(self.db).filter(pk__in=keys).delete()[0]
        return deleted
