"""APScheduler 3.11: an AsyncIOScheduler on its SQLAlchemyJobStore. It records no runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.util import datetime_to_utc_timestamp
from django.db import connection
from sqlalchemy import create_engine, event  # type: ignore[import-not-found]

from tests.benchmarks.jobs import Work
from tests.benchmarks.peers import Task
from tests.benchmarks.peers.pickled import pickled_job
from tests.benchmarks.project import database_url, settle


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self.engine = create_engine(database_url(postgresql="postgresql+psycopg"))
        if connection.vendor == "sqlite":
            event.listen(self.engine, "connect", _set_up_as_django_does)
        self._store = SQLAlchemyJobStore(engine=self.engine)
        self._store.jobs_t.create(self.engine, checkfirst=True)
        self.scheduler = AsyncIOScheduler(timezone=UTC, jobstores={"default": self._store})
        self._submitted = self._ended = 0

    def insert(self, func: Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        rows = []
        for task in tasks:
            name, state = pickled_job(self.scheduler, func, task)
            due = datetime_to_utc_timestamp(task.due)
            rows.append({"id": name, "next_run_time": due, "job_state": state})
        with self.engine.begin() as database:
            database.execute(self._store.jobs_t.delete())
            database.execute(self._store.jobs_t.insert(), rows)
        settle()

    async def start(self) -> None:
        """See Peer."""
        self.scheduler.add_listener(self._note_start, EVENT_JOB_SUBMITTED)
        self.scheduler.add_listener(self._note_end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self.scheduler.start()

    async def stop(self) -> None:
        """See Peer."""
        self.scheduler.shutdown(wait=False)

    @property
    def finished(self) -> int:
        """See Peer. It tells of a submitted run when the job's next time is written."""
        return min(self._submitted, self._ended)

    def _note_start(self, _: object) -> None:
        self._submitted += 1

    def _note_end(self, _: object) -> None:
        self._ended += 1


def _set_up_as_django_does(database: Any, _: object) -> None:
    """Give SQLite's connection what `sides.py` asks for."""
    for statement in connection.settings_dict["OPTIONS"]["init_command"].split(";"):
        database.execute(statement)
