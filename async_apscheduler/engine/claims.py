"""Claim due runs: one transaction that decides, writes and thereby reserves them for this node.

All methods are synchronous and run in the pass's database lane.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, connections
from django.db.models import Count, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from async_apscheduler._database import Statement, eager_transaction, is_deadlock, send
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.batch import Batch, Claimed
from async_apscheduler.engine.decoded import DecodedJobs
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.plans import plan_fires
from async_apscheduler.engine.runs import LoadedJob, Run
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.jobstores import DjangoJobStore, kept_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution
from async_apscheduler.models.compiled import Question, Slot
from async_apscheduler.models.fields import MomentField

LEAD = timedelta(milliseconds=50)
"""How long before their time runs are claimed, so that they can start at it."""

LONGEST_LEAD = timedelta(milliseconds=250)
"""The same where so many are due that to claim them takes longer."""

SPAN = timedelta(milliseconds=50)
"""Runs whose times lie within it are claimed together, rather than one after the other."""

USUAL_PACE = 100e-6
"""Seconds that each run takes in a claim of many, until one has shown how fast it is here."""

HEADROOM = 2
"""How much longer a claim may take than the last one, which came right after another perhaps."""

MAX_BATCH = 1000
"""Runs that one pass claims at most, so that the loop can start them between two passes."""

FIRST_BATCH = 500
"""Runs that all of several nodes claim together in their first passes: more may not be due."""

MIN_BATCH = 50
"""Runs that a pass claims at least while that many are due; many nodes take less, to share them."""

MAX_ATTEMPTS = 3
"""How often a claim is done over at once, before it is left to the next pass."""


class Claims:
    """Takes runs for one node out of the database."""

    def __init__(self, store: DjangoJobStore, node: Node, alias: str) -> None:
        self.alias = alias
        self._node = node
        self._decoded = DecodedJobs(store)
        self._due = Question(_due_of)
        self._pending = Question(_pending_of)
        self._doubtful: list[Run] = []
        self._full_claims = 0
        """How many claims in a row have taken all that they might."""
        self._took = 0.0
        """Seconds that the last claim held the locks of others up."""
        self._pace = USUAL_PACE
        """Seconds that each run took in the last claim of many."""

    @property
    def lead(self) -> timedelta:
        """How long before their time to claim runs: as long as that takes for all due soon."""
        needed = timedelta(seconds=HEADROOM * self._pace * self._decoded.upcoming)
        return min(max(LEAD, needed), LONGEST_LEAD)

    def feasible(self, time_left: timedelta) -> int:
        """Return how many runs can be claimed in that time; a few always can."""
        return max(MIN_BATCH, int(time_left.total_seconds() / self._pace))

    @property
    def batch_size(self) -> int:
        """How many runs to claim at once, so that all nodes get a share.

        Where there was more than that each time, there is enough for all to take more.
        """
        if self._node.peers == 1:
            return MAX_BATCH
        if self._has_one_writer:
            return MIN_BATCH
        fair = max(MIN_BATCH, FIRST_BATCH // self._node.peers)
        return min(MAX_BATCH, fair << self._full_claims)

    @property
    def turn_of_others(self) -> timedelta:
        """How long to let the others claim before the next batch.

        Where rows can be locked all claim at once. SQLite has one writer at a time and no queue for
        it: who has just written is the first to write again, and others might starve.
        """
        if not self._has_one_writer:
            return timedelta(0)
        return timedelta(seconds=self._took * (self._node.peers - 1))

    @property
    def _has_one_writer(self) -> bool:
        features = connections[DjangoJob.objects.db].features
        return not features.has_select_for_update_skip_locked

    def load_ahead(self, until: datetime, executors: Iterable[str]) -> bool:
        """Decode some of the jobs that are due by `until`; return True if there is more to do."""
        return self._decoded.load_ahead(until, executors)

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
        database = DjangoJob.objects.db
        with eager_transaction(database):
            began = time.monotonic()
            if pending or self._doubtful:
                self._node.fence(active)
                self._doubtful = confirmed = self._confirmed()
                if pending:
                    self._take_pending(batch, executors, room)
                left = room - len(batch.claimed.runs)
                due = send(database, self._due_by(now, executors, left)) if left else []
            else:
                confirmed = []
                # With nothing to decide in between both go to the server in one message.
                question = self._due_by(now, executors, room)
                [due] = self._node.fence(active, others=[question])
            self._take_due(batch, due, room)
            batch.write()
            self._doubtful = confirmed + batch.claimed.runs
        # Until here an error leaves open whether the transaction was committed: the next attempt
        # then looks which of these runs are there, and starts them.
        self._doubtful = []
        self._took = time.monotonic() - began
        if len(batch.claimed.runs) >= MIN_BATCH:
            self._pace = self._took / len(batch.claimed.runs)
        is_full = len(batch.claimed.runs) == room == self.batch_size
        self._full_claims = min(self._full_claims + 1, 9) if is_full else 0
        self._decoded.forget(batch.claimed.removed)
        batch.claimed.runs.extend(confirmed)
        return batch.claimed

    def _confirmed(self) -> list[Run]:
        """Return the runs of failed attempts whose claim was committed after all.

        The fence has waited for the end of any such transaction: what is not there now never will.
        """
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
        rows = self._pending.ask(environment, tuple(executors), room, now=batch.now)
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

    def _due_by(self, now: datetime, executors: list[str], room: int) -> Statement[Any]:
        """Return a query for jobs whose time has come, or will in a moment, oldest first."""
        environment = get_settings().environment
        return self._due.statement(
            environment, tuple(executors), room, until=now + self.lead + SPAN
        )

    def _take_due(self, batch: Batch, rows: list[tuple[Any, ...]], room: int) -> None:
        """Take the fires of jobs that are due, up to `room` runs with those that are taken."""
        if not rows:
            return
        loaded = self._load({pk: version for pk, version, _ in rows}, batch)
        active = DjangoJobExecution.objects.count_running(list(loaded))
        for run in batch.claimed.runs:  # taken a moment ago in this pass
            active[run.job.id] = active.get(run.job.id, 0) + 1
        for job_id, _, next_run_time in rows:
            job = loaded.get(job_id)
            if job is None:
                continue
            job.job.next_run_time = next_run_time
            room_left = room - len(batch.claimed.runs)
            moment = max(batch.now, next_run_time)
            try:
                plan = plan_fires(job.job, moment, active=active.get(job_id, 0), room=room_left)
            except BaseException as error:  # a trigger of the user's own may raise anything
                self._set_aside(
                    batch, UnreadableJobError(job_id, f"its trigger failed: {error!r}.")
                )
            else:
                # Until its time a claim must be easy to take back, and an earlier run may end.
                if next_run_time <= batch.now or plan.is_easy_to_undo:
                    batch.add(job, plan)

    def _load(self, versions: dict[str, int], batch: Batch) -> dict[str, LoadedJob]:
        """Return the decoded jobs; those that cannot be restored are set aside."""
        loaded, errors = self._decoded.load(versions)
        for error in errors:
            self._set_aside(batch, error)
        return loaded

    def _set_aside(self, batch: Batch, error: UnreadableJobError) -> None:
        row = DjangoJob.objects.get(pk=error.job_id)
        if DjangoJob.objects.quarantine(row, kept_text(error.reason)):
            batch.claimed.quarantined.append(error)


def _due_of(environment: str, executors: tuple[str, ...], room: int) -> Any:
    """Return a query for jobs that are due by the slot `until`, which locks their rows."""
    due = DjangoJob.objects.for_node(environment, executors).due(Slot("until", MomentField()))
    return due.locked().values_list("pk", "version", "next_run_time")[:room]


def _pending_of(environment: str, executors: tuple[str, ...], room: int) -> Any:
    """Return a query for runs that wait at the slot `now`, which locks their rows.

    And how many runs of the same job are going on.
    """
    active = (
        DjangoJobExecution.objects.running()
        .on_any_node()
        .filter(job_id=OuterRef("job_id"))
        .order_by()
        .values("job_id")
        .annotate(runs=Count("pk"))
        .values("runs")
    )
    return (
        DjangoJobExecution.objects.ready(Slot("now", MomentField()))
        .filter(job__environment=environment, job__executor__in=executors)
        .annotate(active=Coalesce(Subquery(active), Value(0)))
        .filter(active__lt=F("job__max_instances"))
        # Oldest first. Not by the bare key: its index would tempt a database to walk through
        # the whole history in that order until it has met enough pending runs.
        .order_by(F("pk") + 0)
        .locked()
        .values_list("pk", "job_id", "job__version", "run_time", "attempt", "active")[:room]
    )
