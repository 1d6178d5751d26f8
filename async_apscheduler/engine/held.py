"""Runs that were claimed a moment before their time, and start at it to the millisecond.

What is done to their jobs in that moment counts: shortly before the start they are looked at again,
and what is not wanted any longer is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain, groupby

from async_apscheduler._database import CONNECTION_ERRORS, Lane, discard_connection
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.active import ActiveRuns
from async_apscheduler.engine.claims import LONGEST_LEAD, SPAN
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.second_look import still_wanted
from async_apscheduler.signals import work_failed

LOOK_BEFORE = timedelta(milliseconds=5)
"""How long before the start the jobs are looked at again."""

TOGETHER = timedelta(milliseconds=20)
"""Runs whose times lie within it are looked at together."""


class HeldRuns:
    """Holds runs until their time has come; `on_return` is called when some were given back."""

    def __init__(
        self, node: Node, lane: Lane, runs: ActiveRuns, *, on_return: Callable[[], None]
    ) -> None:
        self._node = node
        self._lane = lane
        self._runs = runs
        self._on_return = on_return
        self._waiting: dict[datetime, list[Run]] = {}
        """Runs that have not been looked at again, by their time."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def next_look(self) -> datetime | None:
        """When the lane should be free, to look at the next of them again."""
        return min(self._waiting) - LOOK_BEFORE if self._waiting else None

    def hold(self, runs: list[Run]) -> None:
        """Take runs that lie ahead; from now on they count as going on."""
        self._runs.expect(runs)
        for run in runs:
            if run.run_time in self._waiting:
                self._waiting[run.run_time].append(run)
                continue
            self._waiting[run.run_time] = [run]
            task = asyncio.create_task(self._start_at(run.run_time), name="held runs")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start_at(self, run_time: datetime) -> None:
        await self._sleep_until(run_time - LOOK_BEFORE)
        if run_time not in self._waiting:  # they were looked at with earlier ones
            return
        times = sorted(time for time in self._waiting if time <= run_time + TOGETHER)
        runs = list(chain.from_iterable(self._waiting.pop(time) for time in times))
        try:
            wanted = await self._lane.ask(still_wanted, runs)
        except Exception as error:
            # They are ours, and while the database is away nobody can have changed their jobs.
            work_failed.send_robust(type(self), part="pass", error=error, retry_in=None)
            if isinstance(error, CONNECTION_ERRORS):
                await self._lane.ask(discard_connection, get_settings().database)
            wanted = runs
        if len(wanted) < len(runs):
            self._runs.forget(set(runs) - set(wanted))
            self._on_return()
        for time, due in groupby(wanted, key=lambda run: run.run_time):
            await self._sleep_until(time)
            self._runs.begin([run for run in due if run in self._runs])  # else given up meanwhile

    async def _sleep_until(self, moment: datetime) -> None:
        """Sleep; the clock may have jumped back since the claim, but no claim is longer ahead."""
        left = min(moment - self._node.now(), LONGEST_LEAD + SPAN)
        if left > timedelta(0):
            await asyncio.sleep(left.total_seconds())
