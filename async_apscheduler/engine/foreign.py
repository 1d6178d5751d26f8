"""Due jobs of other APScheduler job stores (memory, Redis, ...) beside the Django one.

They are nobody else's, so they are not claimed; their runs are recorded like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.job import Job

from async_apscheduler.context import RunContext
from async_apscheduler.engine.plans import plan_fires
from async_apscheduler.engine.runs import LoadedJob, Run, Skipped
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.registry import registry

RETRY_AFTER = timedelta(seconds=1)
"""When a store is asked again that failed."""


@dataclass(slots=True)
class ForeignWork:
    """What the other stores have for a pass."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    errors: list[tuple[str, BaseException]] = field(default_factory=list)
    """What failed, a store or a job of one, and how."""
    next_run_time: datetime | None = None

    def expect(self, moment: datetime | None) -> None:
        """Note that something is to be done at `moment`."""
        if moment is not None and (self.next_run_time is None or moment < self.next_run_time):
            self.next_run_time = moment


def unclaimed_run(job: Job, run_time: datetime, *, node_id: int, now: datetime) -> Run:
    """Return a run that has no row yet; the recorder makes one at its end."""
    options = registry.options_of(job.func_ref or job.func)
    loaded = LoadedJob(job=job, version=0, timeout=options.get("timeout"))
    return Run(
        loaded=loaded,
        context=RunContext(id=None, job_id=job.id, scheduled_at=run_time.astimezone(UTC)),
        jobstore=job._jobstore_alias,
        node_id=node_id,
        started_at=now,
    )


def _next_run_time(store: Any, *, besides: set[str]) -> datetime | None:
    """Return the earliest next run time of the jobs in a store besides some, if there is one."""
    if not besides:
        earliest: datetime | None = store.get_next_run_time()
        return earliest
    moments = (job.next_run_time for job in store.get_all_jobs() if job.id not in besides)
    return min((moment for moment in moments if moment is not None), default=None)


class ForeignStores:
    """The scheduler's other stores; asked in the pass's lane, because they may block."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    @property
    def exist(self) -> bool:
        """True if there is a store besides the Django one."""
        return any(not isinstance(store, DjangoJobStore) for store in self._stores.values())

    def take_due(
        self, now: datetime, *, node_id: int, active: Mapping[tuple[str, str], int], room: int
    ) -> ForeignWork:
        """Take the due fires of all stores; `active` counts runs by store alias and job id."""
        work = ForeignWork()
        with self._scheduler._jobstores_lock:
            for alias, store in list(self._stores.items()):
                if isinstance(store, DjangoJobStore):
                    continue
                try:
                    failed = self._take_from(store, alias, now, node_id, active, room, work)
                    work.expect(_next_run_time(store, besides=failed))
                except BaseException as error:  # somebody's store may raise anything
                    work.errors.append((f"job store {alias!r}", error))
        if work.errors:
            work.expect(now + RETRY_AFTER)
        return work

    def _take_from(
        self,
        store: Any,
        alias: str,
        now: datetime,
        node_id: int,
        active: Mapping[tuple[str, str], int],
        room: int,
        work: ForeignWork,
    ) -> set[str]:
        """Take the due fires of one store; return the ids of jobs that failed."""
        failed = set()
        for job in store.get_due_jobs(now):
            left = room - len(work.runs)
            if left <= 0:
                break
            try:
                plan = plan_fires(job, now, active=active.get((alias, job.id), 0), room=left)
            except BaseException as error:  # a trigger of the user's own may raise anything
                failed.add(job.id)
                work.errors.append((f"trigger of job {job.id!r} in job store {alias!r}", error))
                continue
            # The store keeps no waiting runs: what cannot begin now begins now all the same, as
            # with APScheduler, where the late fires of a job run one after the other.
            for run_time in plan.start + plan.wait:
                work.runs.append(unclaimed_run(job, run_time, node_id=node_id, now=now))
            for run_time, reason, fires in plan.skipped:
                work.skipped.append(Skipped(job.id, alias, run_time, reason, fires))
            if plan.next_run_time is not None:
                job._modify(next_run_time=plan.next_run_time)
                store.update_job(job)
            else:
                self._scheduler.remove_job(job.id, alias)
        return failed

    @property
    def _stores(self) -> dict[str, Any]:
        stores: dict[str, Any] = self._scheduler._jobstores
        return stores
