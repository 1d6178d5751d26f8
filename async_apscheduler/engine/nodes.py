"""This process in the table of nodes: joining, signs of life, leaving, and rescuing others' runs.

All methods are synchronous and run in a database lane.
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import django
from django.db import transaction
from django.db.models import Exists, F, OuterRef

from async_apscheduler._database import database_now
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import NodeEvictedError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status
from async_apscheduler.models.executions import ACTIVE

NEGLIGIBLE_OFFSET = timedelta(milliseconds=100)
"""A difference of the clocks that may as well come from measuring it."""


class Node:
    """This scheduler's row, and the clock that all nodes share: the database's."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.row: SchedulerNode | None = None
        self.clock_offset = timedelta(0)
        """How far the database's clock is ahead of this machine's."""

    @property
    def id(self) -> int:
        """Primary key of this node's row."""
        if self.row is None:
            raise NodeEvictedError(f"Node {self.name!r} has not joined.")
        return int(self.row.pk)

    def now(self) -> datetime:
        """Return the time by the database's clock, as last measured."""
        return datetime.now(UTC) + self.clock_offset

    def join(self) -> SchedulerNode:
        """Insert a row for this process and return it."""
        settings = get_settings()
        self._measure_clock()
        now = self.now()
        self.row = SchedulerNode.objects.create(
            name=self.name[:255],
            environment=settings.environment,
            started_at=now,
            heartbeat_at=now,
            capacity=self.capacity,
            versions={
                "async_apscheduler": version("async-apscheduler"),
                "apscheduler": version("apscheduler"),
                "django": django.get_version(),
                "python": platform.python_version(),
            },
        )
        return self.row

    def fence(self, running: int, **news: Any) -> None:
        """Give a sign of life, as the first statement of a pass.

        Raises NodeEvictedError if other nodes have declared this one lost. On SQLite this
        statement also takes the write lock before anything is read; reading first, schedulers at
        Django's default settings would fail with "database is locked".
        """
        alive = SchedulerNode.objects.alive().filter(pk=self.id)
        if not alive.update(heartbeat_at=self.now(), running=running, **news):
            raise NodeEvictedError(
                f"Node {self.name!r} (#{self.id}) gave no sign of life for too long and was "
                "declared lost. It joins again as a new node."
            )

    def beat(self, running: int, lag: float) -> None:
        """Give a sign of life, by a clock measured afresh; `lag` is the event loop's, in seconds.

        Raises NodeEvictedError.
        """
        self._measure_clock()
        self.fence(running, loop_lag=round(lag, 6))

    def drain(self) -> None:
        """Say that this node takes no more runs."""
        self._set_state(SchedulerNode.State.DRAINING)

    def leave(self) -> None:
        """Say that this node has stopped."""
        self._set_state(SchedulerNode.State.STOPPED)

    def rescue(self) -> tuple[list[str], int]:
        """Declare silent nodes lost and end their runs; return their names and how many runs.

        A run becomes `lost`, or pending again if its job allows it with `retry_on_lost`.
        """
        limit = self.now() - timedelta(seconds=get_settings().node_timeout)
        silent = list(SchedulerNode.objects.silent_since(limit).exclude(pk=self.id))
        names: list[str] = []
        runs = 0
        for node in silent:
            with transaction.atomic(using=SchedulerNode.objects.db):
                claimed = SchedulerNode.objects.silent_since(limit).filter(pk=node.pk)
                if claimed.update(state=SchedulerNode.State.LOST):
                    names.append(str(node))
                    runs += self._end_runs_of(node)
        return names, runs

    def _end_runs_of(self, node: SchedulerNode) -> int:
        now = self.now()
        runs = DjangoJobExecution.objects.running().on_node(node)
        repeatable = DjangoJob.objects.filter(pk=OuterRef("job_id"), retry_on_lost=True)
        retried = runs.filter(Exists(repeatable)).update(
            status=Status.PENDING, node=None, attempt=F("attempt") + 1, started_at=None
        )
        lost = runs.update(status=Status.LOST, reason=Reason.NODE_LOST, finished_at=now)
        return int(retried + lost)

    def tidy(self) -> None:
        """End pending runs whose job is gone, and jobs that only waited for their last run."""
        job = DjangoJob.objects.filter(pk=OuterRef("job_id"))
        DjangoJobExecution.objects.pending().filter(~Exists(job)).update(
            status=Status.CANCELLED, reason=Reason.REMOVED, finished_at=self.now()
        )
        active = DjangoJobExecution.objects.filter(job_id=OuterRef("pk"), status__in=ACTIVE)
        DjangoJob.objects.exhausted().filter(~Exists(active)).delete()

    def _set_state(self, state: SchedulerNode.State) -> None:
        SchedulerNode.objects.alive().filter(pk=self.id).update(
            state=state, heartbeat_at=self.now(), running=0
        )

    def _measure_clock(self) -> None:
        before = datetime.now(UTC)
        theirs = database_now(SchedulerNode.objects.db)
        after = datetime.now(UTC)
        offset = theirs - (before + (after - before) / 2)
        if abs(offset - self.clock_offset) > NEGLIGIBLE_OFFSET:
            self.clock_offset = offset
