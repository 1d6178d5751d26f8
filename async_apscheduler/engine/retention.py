"""Prune the history, by age and by number of runs a job, in small batches; and nodes long gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from django.db.models import Count

from async_apscheduler._database import (
    CONNECTION_ERRORS,
    Lane,
    discard_connection,
    is_deadlock,
)
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.models import DjangoJobExecution, SchedulerNode
from async_apscheduler.models.execution_words import DELETE_BATCH
from async_apscheduler.signals import work_failed

INTERVAL = 60.0
"""Seconds between two looks for something to prune."""

PAUSE = 0.1
"""Seconds between two batches, for whoever waits for the lane or the write lock."""

JOBS_AT_ONCE = 20
"""Jobs with too many runs that one batch deals with."""


class Retention:
    """Deletes finished runs that the setting RETENTION does not keep."""

    def __init__(self, node: Node, lane: Lane) -> None:
        self._node = node
        self._lane = lane

    async def work(self) -> None:
        """Prune again and again, until cancelled."""
        while True:
            try:
                more = await self._lane.ask(self.prune_batch)
            except Exception as error:
                more = is_deadlock(error)
                if not more:
                    await self._complain(error)
            await asyncio.sleep(PAUSE if more else INTERVAL)

    async def _complain(self, error: Exception) -> None:
        work_failed.send_robust(type(self), part="retention", error=error, retry_in=INTERVAL)
        if isinstance(error, CONNECTION_ERRORS):
            await self._lane.run(discard_connection, get_settings().database)

    def prune_batch(self) -> bool:
        """Delete one batch; return True if there may be more. Runs in the lane."""
        limits = get_settings().retention
        more = False
        if limits.max_age is not None:
            for rows in (self._gone_since(limits.max_age), self._older_than(limits.max_age)):
                more |= self._delete(rows) == DELETE_BATCH
        if limits.max_runs_per_job is not None:
            for job_id in self._jobs_with_more_than(limits.max_runs_per_job):
                runs = self._finished().filter(job_id=job_id).order_by("-run_time")
                more |= self._delete(runs, after=limits.max_runs_per_job) > 0
        return more

    def _older_than(self, seconds: float) -> Any:
        limit = self._node.now() - timedelta(seconds=seconds)
        return self._finished().filter(run_time__lt=limit).order_by("run_time")

    def _gone_since(self, seconds: float) -> Any:
        limit = self._node.now() - timedelta(seconds=seconds)
        gone = [SchedulerNode.State.STOPPED, SchedulerNode.State.LOST]
        nodes = SchedulerNode.objects.filter(environment=get_settings().environment)
        return nodes.filter(state__in=gone, heartbeat_at__lt=limit)

    def _jobs_with_more_than(self, runs: int) -> list[str]:
        counted = self._finished().order_by().values("job_id").annotate(runs=Count("pk"))
        too_many = counted.filter(runs__gt=runs).values_list("job_id", flat=True)
        return list(too_many[:JOBS_AT_ONCE])

    @staticmethod
    def _finished() -> Any:
        """Return finished runs, except of nodes of another environment: a copied history stays."""
        foreign = SchedulerNode.objects.exclude(environment=get_settings().environment)
        return DjangoJobExecution.objects.finished().exclude(node__in=foreign.values("pk"))

    @staticmethod
    def _delete(rows: Any, *, after: int = 0) -> int:
        """Delete a batch of `rows`, leaving out the first `after`; return how many.

        By their keys: while it looks for what to delete, MySQL locks what it looks at, such as the
        rows of nodes that are alive, who want to give a sign of it.
        """
        keys = list(rows.values_list("pk", flat=True)[after : after + DELETE_BATCH])
        if keys:
            rows.model.objects.filter(pk__in=keys).delete()
        return len(keys)
