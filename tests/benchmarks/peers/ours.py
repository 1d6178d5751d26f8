"""Ours: rows of DjangoJob, a DjangoScheduler with the default settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.models import DjangoJob, DjangoJobExecution
from async_apscheduler.models.scheduling import job_values
from async_apscheduler.schedulers import DjangoScheduler
from tests.benchmarks import jobs as work
from tests.benchmarks.peers import Task
from tests.benchmarks.project import settle

CHUNK = 10_000
"""Rows that are in memory at once while they are inserted."""


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self._capacity = capacity
        self.scheduler: DjangoScheduler | None = None

    def insert(self, func: work.Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        DjangoJob.objects.all().delete()
        rows = _rows(func, tasks)
        while chunk := list(islice(rows, CHUNK)):
            DjangoJob.objects.bulk_create(chunk, batch_size=1000)
        settle()

    async def start(self) -> None:
        """See Peer."""
        self.scheduler = DjangoScheduler(capacity=self._capacity)
        await self.scheduler.astart()

    async def stop(self) -> None:
        """See Peer."""
        assert self.scheduler is not None
        await self.scheduler.ashutdown(wait=False)

    @property
    def finished(self) -> int:
        """See Peer. Never too many: what is not yet handed over counts as going on."""
        assert self.scheduler is not None
        return len(work.ran) - self.scheduler.active_runs - self.scheduler.unwritten_results

    async def run_now(self, number: int) -> None:
        """See RunsNow."""
        row = await DjangoJob.objects.aget(pk=f"job-{number}")
        run: DjangoJobExecution = await row.arun()
        assert run.pk


def _rows(func: work.Work, tasks: Iterable[Task]) -> Iterator[DjangoJob]:
    @lru_cache(maxsize=1000)
    def values(due: datetime, every: timedelta) -> dict[str, Any]:
        trigger = IntervalTrigger(seconds=every.total_seconds(), start_date=due, timezone=UTC)
        return job_values(func, trigger, id="-", args=[0], kwargs=None, next_run_time=due)

    for task in tasks:
        name = f"job-{task.number}"
        shared = values(task.due, task.every)
        yield DjangoJob(**{**shared, "id": name, "name": name, "args": [task.number]})
