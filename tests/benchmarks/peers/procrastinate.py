"""procrastinate: its queue as a scheduler, by deferring jobs to a time and by periodic tasks.

What is deferred to a time is found by a poll, every five seconds by default; here twenty times a
second. A job that repeats each second is a periodic task, in cron's notation with seconds.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import procrastinate  # type: ignore[import-not-found]
import psycopg

from tests.benchmarks import jobs as work
from tests.benchmarks.peers import Task
from tests.benchmarks.project import database_url, settle

CONCURRENCY = 100
POLL_INTERVAL = 0.05
CHUNK = 5000
SECOND = timedelta(seconds=1)
SCHEMA = "procrastinate"


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self._capacity = capacity or CONCURRENCY
        self._url = f"{database_url()}?options=-csearch_path%3D{SCHEMA}"
        self._repeating: list[tuple[work.Work, Task]] = []
        self._ended = 0

    def insert(self, func: work.Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        with psycopg.connect(self._url, autocommit=True) as database:
            database.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            database.execute(f"CREATE SCHEMA {SCHEMA}")
        asyncio.run(self._insert(func, list(tasks)))
        settle()

    async def start(self) -> None:
        """See Peer."""
        self._app = self._new_app()
        self._count_ends(self._app)
        for func, task in self._repeating:
            self._app.periodic(
                cron="* * * * * *",
                periodic_id=str(task.number),
                task_kwargs={"number": task.number},
            )(self._app.tasks[func.__name__])
        await self._app.open_async()
        worker = self._app.run_worker_async(
            concurrency=self._capacity,
            fetch_job_polling_interval=POLL_INTERVAL,
            install_signal_handlers=False,
            shutdown_graceful_timeout=0,
        )
        self._worker = asyncio.create_task(worker)

    async def stop(self) -> None:
        """See Peer."""
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker
        await self._app.close_async()

    @property
    def finished(self) -> int:
        """See Peer."""
        return self._ended

    async def run_now(self, number: int) -> None:
        """See RunsNow."""
        if not hasattr(self, "_app"):
            self._app = self._new_app()
            await self._app.open_async()
        await self._app.configure_task(work.asign.__name__).defer_async(number=number)

    async def _insert(self, func: work.Work, tasks: list[Task]) -> None:
        async with self._new_app().open_async() as app:
            await app.schema_manager.apply_schema_async()
            once = [task for task in tasks if task.every != SECOND]
            for begin in range(0, len(once), CHUNK):
                await _defer(app, func, once[begin : begin + CHUNK])
        self._repeating = [(func, task) for task in tasks if task.every == SECOND]

    def _new_app(self) -> Any:
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self._url))
        for kind in (work.NOTE, work.STAMP, work.NAPS, work.SIGN):
            for func in kind.values():
                app.task(name=func.__name__)(_task(func))
        return app

    def _count_ends(self, app: Any) -> None:
        """Count each job whose end is committed."""
        finish = app.job_manager.finish_job

        async def finish_and_count(*args: Any, **kwargs: Any) -> None:
            await finish(*args, **kwargs)
            self._ended += 1

        app.job_manager.finish_job = finish_and_count


async def _defer(app: Any, func: work.Work, tasks: list[Task]) -> None:
    """Defer some jobs, at one statement for each time at which some are due."""
    for due in sorted({task.due for task in tasks}):
        deferrer = app.configure_task(func.__name__, schedule_at=due)
        numbers = [{"number": task.number} for task in tasks if task.due == due]
        await deferrer.batch_defer_async(*numbers)


def _note_schedule(timestamp: int | None) -> None:
    if timestamp is not None:
        work.scheduled_at.append(float(timestamp))


def _task(func: work.Work) -> Callable[..., Any]:
    """Return a function that takes what a periodic task is given, too."""
    if inspect.iscoroutinefunction(func):

        async def acall(number: int, timestamp: int | None = None) -> None:
            _note_schedule(timestamp)
            await func(number)

        return acall

    def call(number: int, timestamp: int | None = None) -> None:
        _note_schedule(timestamp)
        func(number)

    return call
