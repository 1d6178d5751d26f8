"""The loop of passes: look, claim, start, sleep. Nothing that fails ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from apscheduler.events import EVENT_JOB_REMOVED, JobEvent
from apscheduler.schedulers.base import STATE_RUNNING

from async_apscheduler._database import CONNECTION_ERRORS, Lane, discard_connection
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.active import ActiveRuns
from async_apscheduler.engine.backoff import Backoff
from async_apscheduler.engine.events import event_of_skip
from async_apscheduler.engine.foreign import ForeignStores
from async_apscheduler.engine.held import HeldRuns
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import NEVER
from async_apscheduler.engine.passes import Pass, PassResult
from async_apscheduler.engine.runs import Run, Skipped
from async_apscheduler.engine.wakeup import Wakeup
from async_apscheduler.exceptions import NodeEvictedError
from async_apscheduler.models import Reason
from async_apscheduler.signals import job_quarantined, runs_skipped, work_failed, work_resumed


class Work:
    """Does one pass after the other, each in the database lane, until it is cancelled."""

    def __init__(
        self,
        scheduler: Any,
        *,
        node: Node,
        lane: Lane,
        runs: ActiveRuns,
        django: Pass | None,
        held: HeldRuns | None,
        foreign: ForeignStores,
        housekeeping: Housekeeping,
        wakeup: Wakeup,
    ) -> None:
        self._scheduler = scheduler
        self._node = node
        self._lane = lane
        self._runs = runs
        self._django = django
        self._held = held
        self._foreign = foreign
        self._housekeeping = housekeeping
        self._wakeup = wakeup
        self._wake = asyncio.Event()
        self._lag = 0.0
        self.stopped = False
        """Set to claim nothing more; signs of life go on."""

    def wake(self) -> None:
        """Let the next pass begin now, and look."""
        self._expect_news()
        self._end_sleep()

    def take_lag(self) -> float:
        """Return by how many seconds the loop was late at worst since the last time."""
        lag, self._lag = self._lag, 0.0
        return lag

    def run_ended(self) -> None:
        """Look again if there is due work that had no room until now."""
        if self._django is not None and self._django.lacks_room:
            self.wake()

    def results_written(self, *, retries: bool) -> None:
        """Look again if runs are to be tried again, or wait for others of their job to end."""
        if self._django is not None and (retries or self._django.runs_wait):
            self.wake()

    def _expect_news(self) -> None:
        if self._django is not None:
            self._django.expect_news()

    async def go_on(self) -> None:
        """Do passes until cancelled."""
        backoff = Backoff()
        while True:
            self._wake.clear()
            try:
                pause = await self._one_pass()
                if backoff.succeeded():
                    work_resumed.send_robust(type(self), part="pass")
                await self._sleep(pause)
            except Exception as error:
                delay = backoff.failed()
                work_failed.send_robust(type(self), part="pass", error=error, retry_in=delay)
                await self._recover(error)
                await asyncio.sleep(delay)

    async def _one_pass(self) -> float:
        """Do one pass and return how many seconds to sleep until there is more to do."""
        now, began = self._node.now(), time.monotonic()
        next_at = NEVER
        if self._foreign.exist and self._may_claim():  # first: they do not need the database
            next_at = await self._pass_of_foreign_stores(now)
        if self._node.is_evicted:
            raise self._node.evicted()
        if self._django is not None:  # also while it claims nothing: runs may be cancelled
            next_at = min(next_at, await self._pass_of_django_store(now, self._django))
        else:
            await self._lane.ask(self._keep_node)
        # Not by asking for the time again: it may have jumped back by an hour meanwhile.
        return max(0.0, (next_at - now).total_seconds() - (time.monotonic() - began))

    def _keep_node(self) -> None:
        """See that this node may go on, and do what all nodes do for the others; in the lane."""
        is_time = self._housekeeping.seconds_to_next() == 0
        if is_time or not self._node.has_lease:  # without it others may have taken over
            self._node.beat(len(self._runs), self.take_lag())
        if is_time and self._housekeeping.keep():
            self._expect_news()

    def _may_claim(self) -> bool:
        return self._scheduler.state == STATE_RUNNING and not self.stopped

    async def _pass_of_django_store(self, now: datetime, work: Pass) -> datetime:
        active = len(self._runs)
        room = self._node.capacity - active if self._may_claim() else 0
        executors = list(self._scheduler._executors)
        until = None if self._held is None else self._held.next_look
        result = await self._lane.ask(
            self._keep_and_work, work, now, executors, active, room, until
        )
        self._begin(result.claimed.runs)
        self._report_skipped(result.claimed.skipped)
        for job_id in result.claimed.removed:
            self._scheduler._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job_id, work.jobstore))
        for error in result.claimed.quarantined:
            job_quarantined.send_robust(type(self), job_id=error.job_id, error=error)
        self._runs.cancel(result.cancel)
        if result.error is not None:
            raise result.error
        if not self._may_claim():
            return NEVER
        if work.lacks_room and len(self._runs) < self._node.capacity:
            return now  # runs have ended during this pass
        return result.next_at or NEVER

    def _keep_and_work(
        self,
        work: Pass,
        now: datetime,
        executors: list[str],
        active: int,
        room: int,
        until: datetime | None,
    ) -> PassResult:
        """Do both in one visit to the lane: the way there costs as much as a query."""
        self._keep_node()
        return work.work(now, executors, active=active, room=room, until=until)

    def _begin(self, runs: list[Run]) -> None:
        now = self._node.now()
        ahead = [run for run in runs if run.run_time > now]
        if ahead and self._held is not None:
            self._held.hold(ahead)
            runs = [run for run in runs if run.run_time <= now]
        self._runs.begin(runs)

    async def _pass_of_foreign_stores(self, now: datetime) -> datetime:
        work = await self._lane.ask(
            self._foreign.take_due,
            now,
            node_id=self._node.id,
            active=self._runs.by_job(),
            room=self._node.capacity - len(self._runs),
        )
        self._runs.begin(work.runs)
        self._report_skipped(work.skipped)
        for part, error in work.errors:
            work_failed.send_robust(type(self), part=part, error=error, retry_in=1.0)
        return work.next_run_time or NEVER

    def _report_skipped(self, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            runs_skipped.send_robust(
                type(self), job_id=skip.job_id, reason=skip.reason, fires=skip.fires
            )
            event = event_of_skip(skip)
            if event is not None:
                self._scheduler._dispatch_event(event)

    async def _recover(self, error: Exception) -> None:
        """Put right what made a pass fail, as far as that can be done from here."""
        self._expect_news()
        if isinstance(error, CONNECTION_ERRORS):
            await self._lane.run(discard_connection, get_settings().database)
        elif isinstance(error, NodeEvictedError):
            self._runs.cancel_all(Reason.NODE_LOST)
            if self.stopped:
                return
            try:
                await self._lane.ask(self._node.join)
            except Exception as failure:
                work_failed.send_robust(type(self), part="join", error=failure, retry_in=None)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until there is something to do, or it is time to look whether there is."""
        if seconds == 0:  # not even for one turn of the loop, which may be a long one
            return
        loop = asyncio.get_running_loop()
        pause = self._seconds_to_look()
        is_idle = seconds > pause and self._is_idle()
        if not is_idle:
            seconds = min(seconds, pause)
        timer = loop.call_later(seconds, self._timer_rings, loop.time() + seconds)
        try:
            if is_idle and not self._wake.is_set():
                await self._lane.rest(self._has_news, self._seconds_to_look, self._note_lag)
            else:
                await self._wake.wait()
        finally:
            timer.cancel()

    def _seconds_to_look(self) -> float:
        """Return how long to leave the database alone if nothing is known to be due."""
        seconds = self._housekeeping.seconds_to_next()
        return seconds if self._hears_of_all() else min(seconds, get_settings().poll_interval)

    def _hears_of_all(self) -> bool:
        """Return True if the database tells of whatever others do that matters here."""
        if self._django is None:
            return True
        return self._wakeup.is_listening and self._may_claim() and not self._django.runs_wait

    def _is_idle(self) -> bool:
        """Return True if there is nothing to do but to see what others do."""
        if self._django is None or self._django.runs_wait or self._foreign.exist:
            return False
        return self._may_claim() and not self._runs

    def _has_news(self) -> bool:
        """Do what a pass does while there is nothing to do; return True if it found something."""
        self._keep_node()
        executors = list(self._scheduler._executors)
        return self._django is None or self._django.has_news(self._node.now(), executors)

    def _timer_rings(self, expected_at: float) -> None:
        """Begin the next pass, and note how late the loop is: something else has held it."""
        self._note_lag(expected_at)
        self._end_sleep()

    def _note_lag(self, expected_at: float) -> None:
        self._lag = max(self._lag, time.monotonic() - expected_at)

    def _end_sleep(self) -> None:
        self._wake.set()
        self._lane.stir()
