"""Claim due runs: one transaction that decides, writes and thereby reserves them for this node.

All methods are synchronous and run in the pass's database lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Count, Exists, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from async_apscheduler import codec
from async_apscheduler._database import is_deadlock
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.batch import Batch, Claimed
from async_apscheduler.engine.decoded import DecodedJobs
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.plans import plan_fires
from async_apscheduler.engine.runs import LoadedJob, Run
from async_apscheduler.exceptions import NodeEvictedError, UnreadableJobError
from async_apscheduler.jobstores import MAX_TEXT, DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode

MAX_ATTEMPTS = 3
"""How often a claim is done over at once, before it is left to the next pass."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one look at the database found."""

    next_run_time: datetime | None
    """The earliest next run time of all jobs that this node may run."""

    runs_wait: bool
    """True if there are pending runs whose time has come."""

    cancel_requested: bool
    """True if somebody asked to cancel a run of this node."""


class Claims:
    """Takes runs for one node out of the database."""

    def __init__(self, store: DjangoJobStore, node: Node, alias: str) -> None:
        self.alias = alias
        self._node = node
        self._decoded = DecodedJobs(store)
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

    def load_ahead(self, until: datetime, executors: Iterable[str]) -> bool:
        """Decode some of the jobs that are due by `until`; return True if there is more to do."""
        return self._decoded.load_ahead(self._jobs(executors).due(until))

    def claim(
        self, now: datetime, executors: Iterable[str], *, room: int, active: int, pending: bool
    ) -> Claimed:
        """Claim up to `room` runs for this node, in one transaction.

        `active` is how many runs this node has going on; `pending` says whether there may be runs
        that wait. Raises NodeEvictedError.
        """
        executors = list(executors)
        careful = False
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._attempt(now, executors, room, active, pending=pending, careful=careful)
            except IntegrityError:
                # A row for one of these (job, run_time) exists, for example because a one-off job
                # was added again under its old id and time: that run has been; no second one.
                careful = True
            except OperationalError as error:
                if not is_deadlock(error):
                    raise
        return self._attempt(now, executors, room, active, pending=pending, careful=careful)

    def _attempt(
        self,
        now: datetime,
        executors: list[str],
        room: int,
        active: int,
        *,
        pending: bool,
        careful: bool,
    ) -> Claimed:
        batch = Batch(self._node, self.alias, now, careful=careful)
        with transaction.atomic(using=DjangoJob.objects.db):
            self._node.fence(active)
            confirmed = self._confirmed(batch)
            if pending and room > 0:
                self._take_pending(batch, executors, room)
            self._take_due(batch, executors, room - len(batch.claimed.runs))
            batch.write()
            self._doubtful.extend(batch.claimed.runs)
        # Until here an error leaves open whether the transaction was committed: the next attempt
        # then looks which of these runs are there, and starts them.
        self._doubtful.clear()
        batch.claimed.runs.extend(confirmed)
        return batch.claimed

    def _confirmed(self, batch: Batch) -> list[Run]:
        """Return the runs of a failed attempt whose claim was committed after all."""
        if not self._doubtful:
            return []
        runs = DjangoJobExecution.objects.running().on_node(self._node.id)
        found = runs.filter(job_id__in=[run.job.id for run in self._doubtful]).keys_by_fire()
        confirmed = []
        for run in self._doubtful:
            run.context.id = found.get((run.job.id, run.run_time))
            if run.context.id is not None:
                confirmed.append(run)
        return confirmed

    def _take_pending(self, batch: Batch, executors: list[str], room: int) -> None:
        """Take runs that wait: run now, retries, and fires that waited for an earlier one."""
        environment = get_settings().environment
        active = (
            DjangoJobExecution.objects.running()
            .on_any_node()
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
            # Oldest first. Not by the bare key: its index would tempt a database to walk through
            # the whole history in that order until it has met enough pending runs.
            .order_by(F("pk") + 0)
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

    def _take_due(self, batch: Batch, executors: list[str], room: int) -> None:
        """Take the fires of jobs whose time has come, oldest first."""
        if room <= 0:
            return
        due = self._jobs(executors).due(batch.now).locked()
        rows = list(due.values_list("pk", "version", "next_run_time")[:room])
        if not rows:
            return
        loaded = self._load({pk: version for pk, version, _ in rows}, batch)
        active = DjangoJobExecution.objects.running().on_any_node().count_by_job(list(loaded))
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

    def _load(self, versions: dict[str, int], batch: Batch) -> dict[str, LoadedJob]:
        """Return the decoded jobs; those that cannot be restored are set aside."""
        loaded, errors = self._decoded.load(versions)
        for error in errors:
            self._set_aside(batch, error)
        return loaded

    def _set_aside(self, batch: Batch, error: UnreadableJobError) -> None:
        row = DjangoJob.objects.get(pk=error.job_id)
        if DjangoJob.objects.quarantine(row, codec.safe_text(error.reason, MAX_TEXT)):
            batch.claimed.quarantined.append(error)

    @staticmethod
    def _jobs(executors: Iterable[str]) -> Any:
        return DjangoJob.objects.for_node(get_settings().environment, executors)
