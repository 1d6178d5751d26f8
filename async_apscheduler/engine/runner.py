"""The life of a scheduler process: one life-cycle, behind many doors.

Waits for the database, refuses to start on wrong tables, brings the declared jobs in line, runs
the scheduler until it is told to stop, and lets the runs end.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.timesince import timeuntil

from async_apscheduler._database import CONNECTION_ERRORS, Lane, discard_connection
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.backoff import Backoff
from async_apscheduler.engine.scheduler import DjangoScheduler
from async_apscheduler.exceptions import SchedulerNotReadyError
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJob
from async_apscheduler.models.declarations import Synchronised, synchronise
from async_apscheduler.registry import registry

APP_LABEL = "async_apscheduler"

STOP_GRACE = 0.5
"""Seconds that a step of the start may still take when it is to stop."""


class Runner:
    """Runs one scheduler from start to end.

    `announce` is given lines for people; with `paused` it only looks on and writes nothing but the
    row of its node; `hint` says what to know while runs end; `options` go to DjangoScheduler.
    """

    def __init__(
        self,
        announce: Callable[[str], None],
        *,
        paused: bool = False,
        hint: str = "a second signal cancels them at once",
        **options: Any,
    ) -> None:
        self.scheduler = DjangoScheduler(**options)
        self._paused = paused
        if paused:
            self.scheduler.node.capacity = 0  # so all can see that it takes nothing
        self._announce = announce
        self._hint = hint
        self.waits = asyncio.Event()
        """Set when the database did not answer at the start."""
        self.works = asyncio.Event()
        """Set when the scheduler has started."""
        self._stop = asyncio.Event()
        self._stops = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Work until stop() is called, then let the runs end.

        Raises SchedulerNotReadyError if the tables are not there or not up to date, and
        InvalidJobError if a declared job cannot be scheduled.
        """
        self._loop = asyncio.get_running_loop()
        registry.autodiscover()
        lane = Lane("scheduler-start")
        try:
            if await self._until_database_answers(lane, check_migrations) is _STOPPED:
                return
            look = self._look_on if self._paused else self._synchronise
            found = await self._until_database_answers(lane, look)
        finally:
            lane.close()
        # What is loaded by now stays to the end. The collector need not look at it again and again
        # while thousands of runs come and go.
        gc.collect()
        if found is _STOPPED or await self._start() is _STOPPED:
            return
        gc.freeze()
        self.works.set()
        self._announce(f"{self.scheduler.node.row}: {found}")
        await self._stop.wait()
        self._announce(self._farewell())
        await self.scheduler.ashutdown()

    def stop(self) -> None:
        """Ask the runner to end: the first time patiently, the second time at once."""
        self._stops += 1
        self._stop.set()
        if self._stops > 1 and self.works.is_set():
            self.scheduler.hurry()

    def stop_from_thread(self, *, hurry: bool = False) -> None:
        """See stop(); callable from any thread."""
        for _ in range(2 if hurry else 1):
            if self._loop is None:  # run() has not begun, and will see it
                self.stop()
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.stop)

    async def _until_database_answers(self, lane: Lane, work: Callable[[], Any]) -> Any:
        """Do `work` in the lane, again and again while the database is away."""
        return await self._patiently(lambda: lane.run(work), lane)

    async def _start(self) -> Any:
        return await self._patiently(lambda: self.scheduler.astart(self._paused), None)

    async def _patiently(
        self, work: Callable[[], Coroutine[Any, Any, Any]], lane: Lane | None
    ) -> Any:
        backoff = Backoff()
        told = False
        while not self._stop.is_set():
            try:
                return await self._unless_stopped(work())
            except CONNECTION_ERRORS as error:
                if not told:
                    reason = masked_text(str(error))
                    self._announce(f"The database does not answer, waiting for it: {reason}")
                    told = True
                    self.waits.set()
                if lane is not None:
                    await lane.run(discard_connection, get_settings().database)
                await self._sleep(backoff.failed())
        return _STOPPED

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what `work` does, or _STOPPED when asked to stop: a database that hangs may wait.

        What has begun in a lane goes on there, to its end.
        """
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():  # it is rather ended than left half done, if it ends
                await asyncio.wait((task,), timeout=STOP_GRACE)
            return await task if task.done() else _STOPPED
        finally:
            task.cancel()
            stop.cancel()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or return at once when asked to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            pass  # nobody asked

    @staticmethod
    def _synchronise() -> str:
        done = synchronise(registry.declarations())
        return _describe_jobs(done)

    @staticmethod
    def _look_on() -> str:
        return (
            "PAUSED: it runs nothing and changes nothing until it is started without --paused; "
            f"{_describe_jobs(Synchronised())}"
        )

    def _farewell(self) -> str:
        active = self.scheduler.active_runs
        if not active:
            return "Stopping."
        if self._stops > 1:
            return f"Stopping: {active} run{'s are' if active != 1 else ' is'} cancelled."
        limit = get_settings().shutdown_timeout
        return (
            f"Stopping: {active} run{'s' if active != 1 else ''} may go on for {limit:g} seconds; "
            f"{self._hint}."
        )


class _Stopped:
    """The type of _STOPPED."""


_STOPPED = _Stopped()
"""Returned in place of a result when stop() came first."""


def check_migrations() -> None:
    """Raise SchedulerNotReadyError unless exactly this app's migrations are applied."""
    database = get_settings().database
    executor = MigrationExecutor(connections[database])
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP_LABEL]
    known = executor.loader.disk_migrations
    unknown = sorted(
        name
        for label, name in executor.loader.applied_migrations
        if label == APP_LABEL and (label, name) not in known
    )
    if unknown:
        raise SchedulerNotReadyError(
            f"The tables of {APP_LABEL} in the database {database!r} are of a newer version: this "
            f"one does not know the migrations {', '.join(unknown)}. Update the package here, too."
        )
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    if missing:
        option = "" if database == "default" else f" --database {database}"
        raise SchedulerNotReadyError(
            f"Migrations of {APP_LABEL} are not applied to the database {database!r}: "
            f"{', '.join(missing)}. Run `manage.py migrate{option}` first."
        )


def _describe_jobs(done: Synchronised) -> str:
    """Return one line about what is there, what the code changed, and what comes next."""
    environment = get_settings().environment
    count = DjangoJob.objects.count_by_status(environment)
    parts = [f"{count['ours']} job{'s' if count['ours'] != 1 else ''}"]
    if count["others"]:
        parts.append(f"{count['others']} of another environment, left alone")
    for label, ids in (
        ("added", done.added),
        ("changed", done.changed),
        ("removed", done.removed),
        ("over:", done.over),
        ("NOT in force, their ids belong to jobs made elsewhere:", done.conflicting),
    ):
        if ids:
            parts.append(f"{label} {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}")
    parts += [f"{count[status]} {status}" for status in ("paused", "quarantined") if count[status]]
    jobs = DjangoJob.objects.filter(environment=environment)
    upcoming = jobs.scheduled().order_by("next_run_time").first()
    return "; ".join([*parts, _describe_next(upcoming)])


def _describe_next(job: DjangoJob | None) -> str:
    if job is None or job.next_run_time is None:
        return "nothing is due"
    now = datetime.now(UTC)
    local = timezone.localtime(job.next_run_time, get_settings().time_zone)
    moment = f"{local:%Y-%m-%d %H:%M:%S %Z}"
    if job.next_run_time <= now:
        return f"next run: {job.pk}, due since {moment}"
    seconds = round((job.next_run_time - now).total_seconds())
    if seconds < 60:
        away = f"{seconds} second{'s' if seconds != 1 else ''}"
    else:
        away = timeuntil(job.next_run_time, now).replace("\xa0", " ")
    return f"next run: {job.pk} at {moment}, in {away}"
