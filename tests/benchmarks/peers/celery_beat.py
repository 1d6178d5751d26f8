"""django-celery-beat: what its scheduler needs to find due tasks and to send them to the broker.

A worker, which would run them, is another process and another product; so a run counts as begun and
ended when it is sent, and only that is compared. The broker is Redis where one listens, and a list
in memory otherwise. Tasks go to a queue of their own, which is deleted.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterable
from typing import Any

from celery import Celery  # type: ignore[import-not-found]
from django.db import connections
from django_celery_beat.models import (  # type: ignore[import-not-found]
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)
from django_celery_beat.schedulers import DatabaseScheduler  # type: ignore[import-not-found]

from tests.benchmarks import jobs as work
from tests.benchmarks.peers import Task
from tests.benchmarks.project import settle

REDIS = ("127.0.0.1", 6379)
LONGEST_SLEEP = 1.0
"""Seconds between two ticks at most; beat's own limit is five, but it could not be stopped then."""


START_LIMIT = 60.0


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self._queue = f"async_apscheduler_benchmark_{os.getpid()}"
        self._app = Celery("benchmark", broker=_broker())
        self._app.conf.update(
            timezone="UTC", enable_utc=True, task_default_queue=self._queue, task_ignore_result=True
        )
        self._end = threading.Event()
        self._sent = 0

    def insert(self, func: work.Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        PeriodicTask.objects.all().delete()
        rows = []
        for task in tasks:
            rows.append(
                PeriodicTask(
                    name=f"job-{task.number}",
                    task=func.__name__,
                    args=json.dumps([task.number]),
                    interval=_interval(int(task.every.total_seconds())),
                    last_run_at=task.due - task.every,
                )
            )
        PeriodicTask.objects.bulk_create(rows, batch_size=1000)
        PeriodicTasks.update_changed()
        settle()

    async def start(self) -> None:
        """See Peer."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._tick, args=(ready,), name="beat")
        self._thread.start()
        if not await asyncio.to_thread(ready.wait, START_LIMIT):
            raise RuntimeError("Beat has not started; the lines above say why.")

    async def stop(self) -> None:
        """See Peer."""
        self._end.set()
        await asyncio.to_thread(self._thread.join)
        with self._app.connection_for_write() as broker:
            broker.default_channel.queue_delete(self._queue)

    @property
    def finished(self) -> int:
        """See Peer."""
        return self._sent

    def _tick(self, ready: threading.Event) -> None:
        scheduler = DatabaseScheduler(app=self._app)
        send = scheduler.apply_async

        def send_and_note(entry: Any, *args: Any, **options: Any) -> Any:
            sent = send(entry, *args, **options)
            _NOTES[entry.task](*entry.args)
            self._sent += 1
            return sent

        scheduler.apply_async = send_and_note
        scheduler.producer.connection.ensure_connection(max_retries=3)
        _ = scheduler.schedule  # loads it
        ready.set()
        try:
            while not self._end.is_set():
                self._end.wait(min(scheduler.tick(), LONGEST_SLEEP))
            scheduler.sync()
        finally:
            connections.close_all()


_NOTES: dict[str, work.Work] = {
    kind[work.FUNCTIONS].__name__: kind[work.FUNCTIONS]
    for kind in (work.NOTE, work.STAMP, work.SIGN)
}
_intervals: dict[int, Any] = {}


def _interval(seconds: int) -> Any:
    if seconds not in _intervals:
        _intervals[seconds], _ = IntervalSchedule.objects.get_or_create(
            every=seconds, period=IntervalSchedule.SECONDS
        )
    return _intervals[seconds]


def _broker() -> str:
    try:
        socket.create_connection(REDIS, timeout=1).close()
    except OSError:
        return "memory://"
    return "redis://{}:{}/15".format(*REDIS)
