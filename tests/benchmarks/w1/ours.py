"""w1, ours: rows of DjangoJob, one DjangoScheduler with the default settings."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial

from apscheduler.triggers.interval import IntervalTrigger
from django.db.models import Sum

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from async_apscheduler.models.scheduling import job_values
from async_apscheduler.schedulers import DjangoScheduler
from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import Heartbeat, insert_ahead, monotonic, wait_for_end
from tests.benchmarks.project import settle
from tests.benchmarks.w1 import lead

PRECISION = 0.001
"""Seconds between two looks whether the last record is written, when all jobs have run."""


def measure(variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    return asyncio.run(_measure(work.NOTE[variant], jobs))


async def _measure(func: work.Work, jobs: int) -> dict[str, float]:
    due = await asyncio.to_thread(insert_ahead, partial(_insert, func, jobs), lead(jobs))
    scheduler = DjangoScheduler()
    await scheduler.astart()
    cpu_before = time.process_time()
    async with Heartbeat() as heartbeat:
        await wait_for_end(due, lambda: len(work.ran), jobs)
        await wait_for_end(due, partial(_written, scheduler), jobs, every=PRECISION)
        ended = time.monotonic()
        cpu_seconds = time.process_time() - cpu_before
    await scheduler.ashutdown()
    begun = monotonic(due)
    recorded = await DjangoJobExecution.objects.filter(status=Status.SUCCEEDED).acount()
    skipped = DjangoJobExecution.objects.filter(status=Status.SKIPPED)
    return {
        "runs_per_second": recorded / (ended - begun),
        "recorded": recorded,
        "missed": (await skipped.aaggregate(fires=Sum("fires", default=0)))["fires"],
        "duplicates": len(work.ran) - len(set(work.ran)),
        "longest_stop": heartbeat.longest_stop(begun, ended),
        "cpu_seconds": cpu_seconds,
    }


def _written(scheduler: DjangoScheduler) -> int:
    """Return how many runs have ended and are in the database; never too many."""
    return len(work.ran) - scheduler.active_runs - scheduler.unwritten_results


def _insert(func: work.Work, jobs: int, due: datetime) -> None:
    trigger = IntervalTrigger(hours=1, start_date=due, timezone=UTC)
    rows = [
        DjangoJob(**job_values(func, trigger, id=f"job-{number}", args=[number], kwargs=None))
        for number in range(jobs)
    ]
    DjangoJob.objects.all().delete()
    DjangoJob.objects.bulk_create(rows, batch_size=1000)
    settle()
