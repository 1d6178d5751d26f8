"""django-q2: what its scheduler needs to find due schedules and to send them to its broker.

The cluster's workers, which would run them, are other processes; so a run counts as begun and ended
when it is sent, and only that is compared. The broker is the one in the database, because what is
sent has to be durable; with Redis, which need not be, it is not clearly faster. The broker's rows
are committed together with the next times, all of a pass at once, and no worker could take one
before. So a run is sent when its pass is committed.

A cluster's guard calls the scheduler every 30 seconds, which cannot be set. Here it is called again
`PAUSE` after it has ended. Its connection is kept; by Django's default each pass would open one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from django.db import connection, connections, transaction
from django.utils.module_loading import import_string
from django_q.brokers import get_broker  # type: ignore[import-not-found]
from django_q.models import Schedule  # type: ignore[import-not-found]
from django_q.scheduler import scheduler  # type: ignore[import-not-found]
from django_q.signals import pre_enqueue  # type: ignore[import-not-found]

from tests.benchmarks.jobs import Work
from tests.benchmarks.peers import HOUR, Task
from tests.benchmarks.project import settle

PAUSE = 0.05
"""Seconds between two passes."""

EACH_SECOND = "* * * * * *"
"""Its intervals are whole minutes; only cron knows seconds."""

CHUNK = 1000
START_LIMIT = 60.0


class Scheduler:
    """See tests.benchmarks.peers.Peer."""

    def __init__(self, *, capacity: int | None = None) -> None:
        self._end = threading.Event()
        self._sent = 0

    def insert(self, func: Work, tasks: Iterable[Task]) -> None:
        """See Peer."""
        Schedule.objects.all().delete()
        Schedule.objects.bulk_create(_schedules(func, tasks), batch_size=CHUNK)
        settle()

    async def start(self) -> None:
        """See Peer."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._pass_often, args=(ready,), name="scheduler")
        self._thread.start()
        if not await asyncio.to_thread(ready.wait, START_LIMIT):
            raise RuntimeError("The scheduler has not started; the lines above say why.")

    async def stop(self) -> None:
        """See Peer."""
        self._end.set()
        await asyncio.to_thread(self._thread.join)

    @property
    def finished(self) -> int:
        """See Peer."""
        return self._sent

    def _pass_often(self, ready: threading.Event) -> None:
        connection.settings_dict["CONN_MAX_AGE"] = None
        pre_enqueue.connect(self._note_when_committed)
        try:
            connection.ensure_connection()
            broker = get_broker()
            ready.set()
            while not self._end.is_set():
                scheduler(broker)
                self._end.wait(PAUSE)
            broker.delete_queue()
        finally:
            pre_enqueue.disconnect(self._note_when_committed)
            connections.close_all()

    def _note_when_committed(self, *, task: dict[str, Any], **_: Any) -> None:
        """Wait for the end of the pass, which this is called in; nothing is noted if it fails."""
        transaction.on_commit(partial(self._note, task["func"], task["args"]))

    def _note(self, func: str, args: tuple[int]) -> None:
        import_string(func)(*args)
        self._sent += 1


def _schedules(func: Work, tasks: Iterable[Task]) -> Iterator[Any]:
    for task in tasks:
        repeats = (
            {"schedule_type": Schedule.HOURLY}
            if task.every == HOUR
            else {"schedule_type": Schedule.CRON, "cron": EACH_SECOND}
        )
        yield Schedule(
            name=f"job-{task.number}",
            func=f"{func.__module__}.{func.__name__}",
            args=str((task.number,)),
            next_run=task.due,
            **repeats,
        )
