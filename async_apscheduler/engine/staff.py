"""Everybody who is at work in a running scheduler: who needs whom, who begins and who ends when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.db import connections

from async_apscheduler._database import Lane
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.active import ActiveRuns
from async_apscheduler.engine.claims import Claims
from async_apscheduler.engine.foreign import ForeignStores
from async_apscheduler.engine.heartbeat import Heartbeat
from async_apscheduler.engine.held import HeldRuns
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import Lookout
from async_apscheduler.engine.passes import Pass
from async_apscheduler.engine.recorder import Recorder
from async_apscheduler.engine.retention import Retention
from async_apscheduler.engine.runs import Run
from async_apscheduler.engine.wakeup import Wakeup
from async_apscheduler.engine.watchdog import Watchdog
from async_apscheduler.engine.work import Work
from async_apscheduler.jobstores import DjangoJobStore


class Staff:
    """The parts of one scheduler, from its start to its end.

    `store` is its DjangoJobStore and the alias of it, if it has one; `tell` passes on what happens
    to runs. With `rests` nothing is written but signs of life, until resume().
    """

    def __init__(
        self,
        scheduler: Any,
        node: Node,
        lane: Lane,
        store: tuple[str, DjangoJobStore | None],
        *,
        tell: Callable[[Callable[[Run], Any], Run], None],
        rests: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._lane = lane
        # SQLite has one writer at a time: with a thread of its own the recorder would only wait
        # for the pass, in the busy loop of SQLite's lock.
        shared = connections[get_settings().database].vendor == "sqlite"
        self._recorder_lane = lane if shared else Lane("recorder")
        self.recorder = Recorder(
            self._recorder_lane, lambda retries: self.work.results_written(retries=retries)
        )
        self.runs = ActiveRuns(
            scheduler,
            node,
            self.recorder,
            tell=tell,
            on_begin=lambda: self._watchdog.runs_begin(),
            on_end=lambda: self.work.run_ended(),
        )
        self.wakeup = Wakeup(node, lane, scheduler.wakeup)
        alias, self._store = store
        self._housekeeping = Housekeeping(node, self._store)
        self._housekeeping.rests = rests
        claims = None if self._store is None else Claims(self._store, node, alias)
        self.work = Work(
            scheduler,
            node=node,
            lane=lane,
            runs=self.runs,
            django=None if claims is None else Pass(claims, Lookout(node)),
            held=None if claims is None else self._holding(node),
            foreign=ForeignStores(scheduler),
            housekeeping=self._housekeeping,
            wakeup=self.wakeup,
        )
        self._heartbeat = Heartbeat(
            node,
            running=lambda: len(self.runs),
            lag=self.work.take_lag,
            on_eviction=scheduler.wakeup,
        )
        self._watchdog = Watchdog(self._loop, lambda: bool(self.runs))
        self._retention = Retention(node, self._recorder_lane)
        self._may_write = asyncio.Event()
        if not rests:
            self._may_write.set()

    def begin(self) -> None:
        """Let all of them begin."""
        if self._store is not None:
            self.wakeup.start()
        self._heartbeat.start()
        self._watchdog.start()
        self._tasks = [
            self._loop.create_task(self.work.go_on(), name="scheduler passes"),
            self._loop.create_task(self.recorder.work(), name="scheduler recorder"),
            self._loop.create_task(self._prune(), name="scheduler retention"),
        ]

    def resume(self) -> None:
        """Let them write what they have not while they rested; from any thread."""
        self._housekeeping.rests = False
        self._loop.call_soon_threadsafe(self._may_write.set)

    async def end(self) -> None:
        """Let all of them end, except for their database lanes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watchdog.stop()
        self._heartbeat.stop()

    def close(self) -> None:
        """Close the database lanes; returns at once.

        What a lane is still at by now waits for a database that hangs.
        """
        for lane in {self._lane, self._recorder_lane}:
            if lane.is_busy:
                lane.interrupt()
            lane.close()

    def _holding(self, node: Node) -> HeldRuns:
        return HeldRuns(node, self._lane, self.runs, on_return=lambda: self.work.wake())

    async def _prune(self) -> None:
        await self._may_write.wait()
        await self._retention.work()
