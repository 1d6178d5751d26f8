"""APScheduler 4: an AsyncScheduler on its SQLAlchemyDataStore, with asyncpg.

Schedules are inserted in one statement, since adding them one by one takes minutes. Where several
processes are at work its notices go through its PsycopgEventBroker, so that they hear of a new job
at once; alone it does without, as that costs it time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from apscheduler import (  # type: ignore[attr-defined]
    AsyncScheduler,
    JobReleased,
    Schedule,
)
from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
from apscheduler.eventbrokers.psycopg import PsycopgEventBroker
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.ext.asyncio import create_async_engine  # type: ignore[import-not-found]

from tests.benchmarks import jobs as work
from tests.benchmarks.peers import Task
from tests.benchmarks.project import database_url, settle

CONCURRENCY = 100
CHUNK = 5000


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self._capacity = capacity or CONCURRENCY
        self._ended = 0
        self._scheduler: Any = None

    def insert(self, func: work.Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        asyncio.run(self._insert(func, list(tasks)))
        settle()

    async def start(self) -> None:
        """See Peer."""
        self._exits = AsyncExitStack()
        self._scheduler, _ = await self._open(self._exits)
        self._scheduler.subscribe(self._note_end, {JobReleased})
        await self._scheduler.start_in_background()

    async def stop(self) -> None:
        """See Peer."""
        await self._scheduler.stop()
        await self._exits.aclose()

    @property
    def finished(self) -> int:
        """See Peer."""
        return self._ended

    async def run_now(self, number: int) -> None:
        """See RunsNow."""
        if self._scheduler is None:
            self._exits = AsyncExitStack()
            self._scheduler, _ = await self._open(self._exits)
        await self._scheduler.add_job(work.asign.__name__, args=[number])

    async def _insert(self, func: work.Work, tasks: list[Task]) -> None:
        async with AsyncExitStack() as exits:
            scheduler, store = await self._open(exits, from_scratch=True)
            limit = max(self._capacity, len(tasks))
            await scheduler.configure_task(func.__name__, func=func, max_running_jobs=limit)
            rows = [_row(store, func, task) for task in tasks]
            async with store._begin_transaction() as database:
                for begin in range(0, len(rows), CHUNK):
                    insert = store._t_schedules.insert()
                    await database.execute(insert, rows[begin : begin + CHUNK])

    async def _open(self, exits: AsyncExitStack, *, from_scratch: bool = False) -> tuple[Any, Any]:
        engine = create_async_engine(database_url(postgresql="postgresql+asyncpg"))
        exits.push_async_callback(engine.dispose)
        store = SQLAlchemyDataStore(engine, start_from_scratch=from_scratch)
        options: dict[str, Any] = {"max_concurrent_jobs": self._capacity}
        if work.LEDGER in os.environ:  # several processes are at work
            options["event_broker"] = PsycopgEventBroker(database_url())
        scheduler = AsyncScheduler(store, **options)
        await exits.enter_async_context(scheduler)
        return scheduler, store

    def _note_end(self, _: object) -> None:
        self._ended += 1


def _row(store: Any, func: work.Work, task: Task) -> dict[str, Any]:
    trigger = IntervalTrigger(seconds=int(task.every.total_seconds()), start_time=task.due)
    schedule = Schedule(
        id=f"job-{task.number}",
        task_id=func.__name__,
        trigger=trigger,
        args=(task.number,),
        kwargs={},
        misfire_grace_time=None,
        job_executor="async",
        job_result_expiration_time=timedelta(0),
        next_fire_time=trigger.next(),
    )
    values = store._convert_outgoing_fire_times(schedule.marshal(store.serializer))
    return dict(values)
