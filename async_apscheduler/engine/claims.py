"""Claim due runs: one transaction that decides, writes and thereby reserves them for this node.

All methods are synchronous and run in the pass's database lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from async_apscheduler import codec
from async_apscheduler.conf import get_settings
from async_apscheduler.context import RunContext
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.plans import Plan, plan_fires
from async_apscheduler.engine.runs import LoadedJob, Run, Skipped
from async_apscheduler.exceptions import NodeEvictedError, UnreadableJobError
from async_apscheduler.jobstores import MAX_TEXT, DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status

MAX_CACHED_JOBS = 100_000
"""Decoded jobs that are kept; beyond that the cache starts afresh."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one look at the database found."""

    next_run_time: datetime | None
    """The earliest next run time of all jobs that this node may run."""

    runs_wait: bool
    """True if there are pending runs whose time has come."""

    cancel_requested: bool
    """True if somebody asked to cancel a run of this node."""


@dataclass(slots=True)
class Claimed:
    """The outcome of a pass."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    quarantined: list[UnreadableJobError] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """True if there was nothing that this node could take."""
        return not (self.runs or self.skipped or self.quarantined)


class Claims:
    """Takes runs for one node out of the database."""

    def __init__(self, store: DjangoJobStore, node: Node, alias: str) -> None:
        self._store = store
        self._node = node
        self._alias = alias
        self._cache: dict[str, LoadedJob] = {}
        self._doubtful: list[Run] = []

    def look(self, now: datetime, executors: Iterable[str]) -> Outlook:
        """Return what there is to do, by one indexed query.

        Raises NodeEvictedError.
        """
        due = self._jobs(executors).scheduled().order_by("next_run_time")
        waiting = DjangoJobExecution.objects.ready(now)
        asked = DjangoJobExecution.objects.running().filter(
            node_id=OuterRef("pk"), cancel_requested_at__isnull=False
        )
        found = (
            SchedulerNode.objects.alive()
            .filter(pk=self._node.id)
            .values_list(Subquery(due.values("next_run_time")[:1]), Exists(waiting), Exists(asked))
            .first()
        )
        if found is None:
            raise NodeEvictedError(f"Node {self._node.name!r} (#{self._node.id}) is evicted.")
        return Outlook(*found)

    def runs_to_cancel(self) -> list[int]:
        """Return the keys of this node's runs that somebody asked to cancel."""
        runs = DjangoJobExecution.objects.running().on_node(self._node.id)
        return list(runs.filter(cancel_requested_at__isnull=False).values_list("pk", flat=True))

    def claim(self, now: datetime, executors: Iterable[str], *, room: int, active: int) -> Claimed:
        """Claim up to `room` runs for this node, in one transaction.

        `active` is how many runs this node has going on. Raises NodeEvictedError.
        """
        executors = list(executors)
        try:
            return self._attempt(now, executors, room, active, careful=False)
        except IntegrityError:
            # A row for one of these (job, run_time) exists, for example because a one-off job was
            # added again under its old id and time: that run has been, and is not repeated.
            return self._attempt(now, executors, room, active, careful=True)

    def _attempt(
        self, now: datetime, executors: list[str], room: int, active: int, *, careful: bool
    ) -> Claimed:
        batch = _Batch(self._node, self._alias, now, careful=careful)
        with transaction.atomic(using=DjangoJob.objects.db):
            self._node.fence(active)
            confirmed = self._confirmed(batch)
            if room > 0:
                self._take_pending(batch, executors, room)
                self._take_due(batch, executors, room - len(batch.claimed.runs))
            batch.write()
            self._doubtful.extend(batch.claimed.runs)
        # Until here an error leaves open whether the transaction was committed: the next attempt
        # then looks which of these runs are there, and starts them.
        self._doubtful.clear()
        batch.claimed.runs.extend(confirmed)
        return batch.claimed

    def _confirmed(self, batch: _Batch) -> list[Run]:
        """Return the runs of a failed attempt whose claim was committed after all."""
        if not self._doubtful:
            return []
        runs = DjangoJobExecution.objects.running().on_node(self._node.id)
        keys = runs.filter(job_id__in=[run.job.id for run in self._doubtful])
        found = {
            (job_id, at): pk for pk, job_id, at in keys.values_list("pk", "job_id", "run_time")
        }
        confirmed = []
        for run in self._doubtful:
            run.context.id = found.get((run.job.id, run.run_time))
            if run.context.id is not None:
                confirmed.append(run)
        return confirmed

    def _take_pending(self, batch: _Batch, executors: list[str], room: int) -> None:
        """Take runs that wait: run now, retries, and fires that waited for an earlier one."""
        environment = get_settings().environment
        active = (
            DjangoJobExecution.objects.running()
            .filter(job_id=OuterRef("job_id"))
            .order_by()
            .values("job_id")
            .annotate(runs=Count("pk"))
            .values("runs")
        )
        rows = (
            DjangoJobExecution.objects.ready(batch.now)
            .filter(job__environment=environment, job__executor__in=executors)
            .annotate(active=Coalesce(Subquery(active), Value(0)))
            .filter(active__lt=F("job__max_instances"))
            .order_by("pk")
            .locked()
            .values_list("pk", "job_id", "job__version", "run_time", "attempt", "active")[:room]
        )
        rows = list(rows)
        if not rows:
            return
        loaded = self._load({row[1]: row[2] for row in rows}, batch)
        taken: dict[str, int] = {}
        for pk, job_id, _, run_time, attempt, running in rows:
            job = loaded.get(job_id)
            if job is None:
                batch.unreadable.append(pk)
            elif running + taken.get(job_id, 0) < job.job.max_instances:
                taken[job_id] = taken.get(job_id, 0) + 1
                batch.take(pk, job, run_time, attempt)

    def _take_due(self, batch: _Batch, executors: list[str], room: int) -> None:
        """Take the fires of jobs whose time has come, oldest first."""
        if room <= 0:
            return
        due = self._jobs(executors).due(batch.now).locked()
        rows = list(due.values_list("pk", "version", "next_run_time")[:room])
        if not rows:
            return
        loaded = self._load({pk: version for pk, version, _ in rows}, batch)
        active = DjangoJobExecution.objects.running().count_by_job(list(loaded))
        for run in batch.claimed.runs:  # taken a moment ago in this pass
            active[run.job.id] = active.get(run.job.id, 0) + 1
        for job_id, _, next_run_time in rows:
            job = loaded.get(job_id)
            if job is None:
                continue
            job.job.next_run_time = next_run_time
            room_left = room - len(batch.claimed.runs)
            try:
                plan = plan_fires(job.job, batch.now, active=active.get(job_id, 0), room=room_left)
            except Exception as error:  # a trigger of the user's own may raise anything
                self._set_aside(
                    batch, UnreadableJobError(job_id, f"its trigger failed: {error!r}.")
                )
            else:
                batch.add(job, plan)

    def _load(self, versions: dict[str, int], batch: _Batch) -> dict[str, LoadedJob]:
        """Return the decoded jobs, from the cache where the version is still the same."""
        loaded = {}
        missing = []
        for job_id, version in versions.items():
            cached = self._cache.get(job_id)
            if cached is not None and cached.version == version:
                loaded[job_id] = cached
            else:
                missing.append(job_id)
        if missing:
            if len(self._cache) > MAX_CACHED_JOBS:
                self._cache.clear()
            for row in DjangoJob.objects.filter(pk__in=missing):
                try:
                    job = self._store.restore(row)
                except UnreadableJobError as error:
                    self._set_aside(batch, error)
                    continue
                loaded[row.pk] = self._cache[row.pk] = LoadedJob(
                    job=job,
                    version=row.version,
                    timeout=row.timeout,
                    max_attempts=row.max_attempts,
                    retry_delay=row.retry_delay,
                    retry_on_lost=row.retry_on_lost,
                )
        return loaded

    def _set_aside(self, batch: _Batch, error: UnreadableJobError) -> None:
        row = DjangoJob.objects.get(pk=error.job_id)
        if DjangoJob.objects.quarantine(row, codec.safe_text(error.reason, MAX_TEXT)):
            batch.claimed.quarantined.append(error)

    @staticmethod
    def _jobs(executors: Iterable[str]) -> Any:
        return DjangoJob.objects.for_node(get_settings().environment, executors)


class _Batch:
    """What one pass is about to write, and what it will start."""

    def __init__(self, node: Node, alias: str, now: datetime, *, careful: bool) -> None:
        self.now = now
        self.claimed = Claimed()
        self.unreadable: list[int] = []
        self._node = node
        self._alias = alias
        self._careful = careful
        self._taken: list[Run] = []
        self._new: list[tuple[DjangoJobExecution, Run | None]] = []
        self._next: dict[str, datetime] = {}
        self._ended: list[str] = []
        self._exhausted: list[str] = []

    def take(self, pk: int, loaded: LoadedJob, run_time: datetime, attempt: int) -> None:
        """Take a pending run, whose row is there."""
        run = self._run(loaded, run_time, pk=pk, attempt=attempt)
        self._taken.append(run)
        self.claimed.runs.append(run)

    def add(self, loaded: LoadedJob, plan: Plan) -> None:
        """Add what was decided for a due job."""
        job_id = loaded.job.id
        keep_row = bool(plan.wait) or loaded.may_run_again
        if plan.next_run_time is not None:
            self._next[job_id] = plan.next_run_time
        else:
            (self._exhausted if keep_row else self._ended).append(job_id)
        for run_time in plan.start:
            run = self._run(loaded, run_time)
            self._add_row(job_id, run_time, run, status=Status.RUNNING, started_at=self.now)
            self.claimed.runs.append(run)
        for run_time in plan.wait:
            self._add_row(job_id, run_time, None, status=Status.PENDING)
        for run_time, reason, fires in plan.skipped:
            self._add_row(
                job_id,
                run_time,
                None,
                status=Status.SKIPPED,
                reason=reason,
                fires=fires,
                finished_at=self.now,
            )
            self.claimed.skipped.append(Skipped(job_id, [run_time], reason, fires))

    def write(self) -> None:
        """Write it all, in a constant number of statements."""
        if self._careful:
            self._leave_out_known()
        self._write_runs()
        if self._next:
            DjangoJob.objects.all().advance(self._next)
        if self._exhausted:
            DjangoJob.objects.filter(pk__in=self._exhausted).update(next_run_time=None)
        if self._ended:
            DjangoJob.objects.filter(pk__in=self._ended).delete()

    def _write_runs(self) -> None:
        runs = DjangoJobExecution.objects
        if self._taken:
            runs.filter(pk__in=[run.context.id for run in self._taken]).update(
                status=Status.RUNNING, node_id=self._node.id, started_at=self.now
            )
        if self.unreadable:
            runs.filter(pk__in=self.unreadable).update(
                status=Status.CANCELLED, reason=Reason.UNREADABLE, finished_at=self.now
            )
        if self._new:
            runs.bulk_create([row for row, _ in self._new])
            for row, run in self._new:
                if run is not None:
                    run.context.id = row.pk
            self._find_keys()

    def _find_keys(self) -> None:
        """Ask for the new rows' keys where the database does not return them (MySQL)."""
        without = [run for _, run in self._new if run is not None and run.context.id is None]
        if not without:
            return
        rows = DjangoJobExecution.objects.running().on_node(self._node.id)
        rows = rows.filter(job_id__in=[run.job.id for run in without])
        keys = {(job_id, at): pk for pk, job_id, at in rows.values_list("pk", "job_id", "run_time")}
        for run in without:
            run.context.id = keys[run.job.id, run.run_time]

    def _leave_out_known(self) -> None:
        """Drop what has a row already: that fire has been dealt with."""
        job_ids = {row.job_id for row, _ in self._new}
        earliest = min((row.run_time for row, _ in self._new), default=self.now)
        rows = DjangoJobExecution.objects.filter(job_id__in=job_ids, run_time__gte=earliest)
        known = set(rows.values_list("job_id", "run_time"))
        dropped = {id(run) for row, run in self._new if (row.job_id, row.run_time) in known}
        self._new = [
            (row, run) for row, run in self._new if (row.job_id, row.run_time) not in known
        ]
        self.claimed.runs = [run for run in self.claimed.runs if id(run) not in dropped]

    def _add_row(self, job_id: str, run_time: datetime, run: Run | None, **fields: Any) -> None:
        node_id = self._node.id if run is not None else None
        row = DjangoJobExecution(job_id=job_id, run_time=run_time, node_id=node_id, **fields)
        self._new.append((row, run))

    def _run(
        self, loaded: LoadedJob, run_time: datetime, *, pk: int | None = None, attempt: int = 1
    ) -> Run:
        context = RunContext(
            id=pk, job_id=loaded.job.id, scheduled_at=run_time.astimezone(UTC), attempt=attempt
        )
        return Run(
            loaded=loaded,
            context=context,
            jobstore=self._alias,
            node_id=self._node.id,
            started_at=self.now,
        )
