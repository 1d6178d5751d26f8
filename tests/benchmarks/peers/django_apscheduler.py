"""django-apscheduler: its own rows, a BackgroundScheduler with threads.

It has no way to run coroutines, and on the loop its job store cannot be used, so the scheduler runs
in threads beside the loop: ten, or as many as there have to be runs at once, up to fifty,
because each needs a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.jobstores import DjangoJobStore  # type: ignore[import-not-found]
from django_apscheduler.models import DjangoJob  # type: ignore[import-not-found]

from tests.benchmarks.jobs import Work
from tests.benchmarks.peers import Task
from tests.benchmarks.peers.pickled import pickled_job
from tests.benchmarks.project import settle

THREADS = 10
MOST_THREADS = 50


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        threads = min(capacity or THREADS, MOST_THREADS)
        self.scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(threads)},
            jobstores={"default": DjangoJobStore()},
        )
        self._ended = 0

    def insert(self, func: Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        DjangoJob.objects.all().delete()
        rows = []
        for task in tasks:
            name, state = pickled_job(self.scheduler, func, task)
            rows.append(DjangoJob(id=name, next_run_time=task.due, job_state=state))
        DjangoJob.objects.bulk_create(rows, batch_size=1000)
        settle()

    async def start(self) -> None:
        """See Peer."""
        await asyncio.to_thread(self.scheduler.start)
        # The job store began to listen at the start, so it has written when this is called.
        self.scheduler.add_listener(
            self._note_end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED
        )

    async def stop(self) -> None:
        """See Peer."""
        await asyncio.to_thread(self.scheduler.shutdown, wait=False)

    @property
    def finished(self) -> int:
        """See Peer."""
        return self._ended

    def _note_end(self, event: object) -> None:
        self._ended += 1
