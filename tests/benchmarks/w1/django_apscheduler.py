"""w1, django-apscheduler: its own rows, a BackgroundScheduler with ten threads.

It has no way to run coroutines, and on the loop its job store cannot be used, so the scheduler runs
in threads beside the loop. `misfire_grace_time` is None, because with APScheduler's default of one
second it misses whatever it does not reach in that time. A run counts as recorded when the
scheduler's event for its end has passed the job store, which writes the record on that event.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from datetime import UTC, datetime
from functools import partial

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from django_apscheduler.jobstores import DjangoJobStore  # type: ignore[import-not-found]
from django_apscheduler.models import (  # type: ignore[import-not-found]
    DjangoJob,
    DjangoJobExecution,
)

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import Heartbeat, insert_ahead, monotonic, wait_for_end
from tests.benchmarks.project import settle
from tests.benchmarks.w1 import lead

THREADS = 10


def measure(variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement; there is one variant, plain functions."""
    return asyncio.run(_measure(jobs))


async def _measure(jobs: int) -> dict[str, float]:
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(THREADS)},
        jobstores={"default": DjangoJobStore()},
    )
    insert = partial(_insert, scheduler, jobs)
    due = await asyncio.to_thread(insert_ahead, insert, lead(jobs))
    await asyncio.to_thread(scheduler.start)
    ended_at: list[float] = []
    # The job store began to listen at the start, so it has written when this listener is called.
    scheduler.add_listener(
        lambda event: ended_at.append(time.monotonic()),
        EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED,
    )
    cpu_before = time.process_time()
    async with Heartbeat() as heartbeat:
        await wait_for_end(due, lambda: len(ended_at), jobs)
        cpu_seconds = time.process_time() - cpu_before
    await asyncio.to_thread(scheduler.shutdown)
    begun, ended = monotonic(due), max(ended_at)
    recorded = await _count(DjangoJobExecution.SUCCESS)
    return {
        "runs_per_second": recorded / (ended - begun),
        "recorded": recorded,
        "missed": await _count(DjangoJobExecution.MISSED),
        "duplicates": len(work.ran) - len(set(work.ran)),
        "longest_stop": heartbeat.longest_stop(begun, ended),
        "cpu_seconds": cpu_seconds,
    }


async def _count(status: str) -> int:
    return int(await DjangoJobExecution.objects.filter(status=status).acount())


def _insert(scheduler: BackgroundScheduler, jobs: int, due: datetime) -> None:
    trigger = IntervalTrigger(hours=1, start_date=due, timezone=UTC)
    rows = [_row(scheduler, trigger, number, due) for number in range(jobs)]
    DjangoJob.objects.all().delete()
    DjangoJob.objects.bulk_create(rows, batch_size=1000)
    settle()


def _row(
    scheduler: BackgroundScheduler, trigger: IntervalTrigger, number: int, due: datetime
) -> DjangoJob:
    """Return what the job store would insert for add_job()."""
    job = Job(
        scheduler,
        id=f"job-{number}",
        name=f"job-{number}",
        func=work.note,
        args=(number,),
        kwargs={},
        trigger=trigger,
        executor="default",
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
        next_run_time=due,
    )
    state = pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL)
    return DjangoJob(id=job.id, next_run_time=due, job_state=state)
