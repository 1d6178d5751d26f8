"""Ours: what ``@scheduled_job`` has declared, and the life-cycle of ``runasyncscheduler``."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from async_apscheduler import scheduled_job
from async_apscheduler.engine.runner import Runner
from async_apscheduler.models import DjangoJob
from tests.benchmarks.jobs import anote


def start(jobs: int) -> None:
    """Declare and start."""
    for number in range(jobs):
        hourly = scheduled_job("interval", hours=1 + number % 50, id=f"job-{number}", args=[number])
        hourly(anote)
    asyncio.run(_started())


async def _started() -> None:
    runner = Runner(lambda line: None)
    running = asyncio.create_task(runner.run())
    works = asyncio.create_task(runner.works.wait())
    await asyncio.wait((running, works), return_when=asyncio.FIRST_COMPLETED)
    if running.done():  # it has failed
        await running
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def count() -> int:
    """Return how many jobs are stored."""
    return DjangoJob.objects.count()
