"""This process in the table of nodes: joining, signs of life, leaving, rescuing others' runs.

All methods are synchronous and run in a database lane.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import django
from django.db import transaction
from django.db.models import Exists, F, OuterRef

from async_apscheduler._database import Statement, database_now, send_together
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.clock import NOTABLE, SharedClock
from async_apscheduler.exceptions import NodeEvictedError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status
from async_apscheduler.models.compiled import Change, Slot
from async_apscheduler.signals import clock_jumped, clocks_differ

GRACE_BEATS = 2
"""Heartbeats that others get after this node was away: whatever kept it may have kept them, too."""


@dataclass(slots=True)
class Rescue:
    """What became of nodes that gave no sign of life."""

    names: list[str] = field(default_factory=list)
    runs: int = 0
    """How many runs they had going on."""
    poisonous: list[str] = field(default_factory=list)
    """Ids of the jobs that were set aside, because it was not the first time."""


class Node:
    """This scheduler's row, its lease, and the clock that all nodes share."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.row: SchedulerNode | None = None
        self.is_evicted = False
        """True once this node has found out that it was declared lost, until it joins again."""
        self.peers = 1
        """How many nodes share the work, this one among them, as of the last housekeeping."""
        self._clock = SharedClock()
        self._sign_of_life = Change(_sign_of_life)
        self._renewed_at = -math.inf
        self._steady_since = math.inf

    @property
    def id(self) -> int:
        """Primary key of this node's row."""
        if self.row is None:
            raise NodeEvictedError(f"Node {self.name!r} has not joined.")
        return int(self.row.pk)

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return self._clock.now()

    @property
    def has_lease(self) -> bool:
        """True while no other node may declare this one lost."""
        return self.silence < get_settings().node_timeout

    @property
    def silence(self) -> float:
        """Seconds since this node has given a sign of life.

        Counted from the start of the last one that arrived, by a clock that goes on while the
        process is frozen.
        """
        return time.monotonic() - self._renewed_at

    def join(self) -> SchedulerNode:
        """Insert a row for this process and return it."""
        settings = get_settings()
        began = time.monotonic()
        self._set_clock()
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
        self.is_evicted = False
        self._note_renewal(began)
        return self.row

    def fence(
        self, running: int, *, others: Sequence[Statement[Any]] = (), **news: Any
    ) -> list[Any]:
        """Give a sign of life, as the first statement of a pass; `news` are further columns.

        Returns the answers to `others`, which are sent together with it, and come after it.

        Raises NodeEvictedError if other nodes have declared this one lost. On SQLite this
        statement also takes the write lock before anything is read; reading first, schedulers at
        Django's default settings would fail with "database is locked".
        """
        began = time.monotonic()
        sign_of_life = self._sign_of_life.statement(
            *news, node=self.id, heartbeat_at=self.now(), running=running, **news
        )
        found, *answers = send_together(SchedulerNode.objects.db, [sign_of_life, *others])
        if not found:
            self.is_evicted = True
            raise self.evicted()
        self._note_renewal(began)
        return answers

    def evicted(self) -> NodeEvictedError:
        """Return the error that says that this node was declared lost."""
        return NodeEvictedError(
            f"Node {self.name!r} (#{self.id}) gave no sign of life for too long and was declared "
            "lost. It joins again as a new node."
        )

    def beat(self, running: int, lag: float) -> None:
        """Give a sign of life, by a clock read afresh; `lag` is the event loop's, in seconds.

        Raises NodeEvictedError.
        """
        self._set_clock()
        self.fence(running, loop_lag=round(lag, 6))

    def drain(self) -> None:
        """Say that this node takes no more runs."""
        self._set_state(SchedulerNode.State.DRAINING)

    def leave(self) -> None:
        """Say that this node has stopped.

        A run that it has still going on was claimed and never begun, because the answer to the
        claim got lost, or its end could not be written: it is lost, as if the process had died.
        """
        with transaction.atomic(using=SchedulerNode.objects.db):
            self._set_state(SchedulerNode.State.STOPPED)
            self._end(self._runs_of(self.id))

    def rescue(self) -> Rescue:
        """Declare silent nodes lost and end their runs.

        A run becomes `lost`, or pending again if its job allows it with `retry_on_lost`. A node
        that was away itself, because the database was, lets the others come back first.
        """
        rescue = Rescue()
        grace = GRACE_BEATS * get_settings().heartbeat_interval
        if time.monotonic() - self._steady_since < grace:
            return rescue
        silent = self.silent_others()
        for node in silent:
            with transaction.atomic(using=SchedulerNode.objects.db):
                claimed = silent.filter(pk=node.pk)
                if claimed.update(state=SchedulerNode.State.LOST):
                    rescue.names.append(str(node))
                    runs = self._runs_of(node.pk)
                    rescue.runs += len(runs)
                    jobs = DjangoJob.objects.filter(pk__in=set(runs.values()))
                    rescue.poisonous += jobs.note_lost()
                    self._end(runs)
        return rescue

    def silent_others(self) -> Any:
        """Return the other nodes that gave no sign of life for NODE_TIMEOUT."""
        silent = SchedulerNode.objects.silent_since(self.silence_limit())
        return silent.others(get_settings().environment, self.id)

    def silence_limit(self) -> datetime:
        """Return the moment since when a node must have given a sign of life."""
        return self.now() - timedelta(seconds=get_settings().node_timeout)

    @staticmethod
    def _runs_of(node_id: int) -> dict[int, str]:
        """Return the keys of the runs that the node has going on, and the ids of their jobs."""
        runs = DjangoJobExecution.objects.running().on_node(node_id)
        return dict(runs.order_by().values_list("pk", "job_id"))

    def _end(self, keys: Iterable[int]) -> None:
        """End runs of a node that is gone, unless they have ended meanwhile.

        By their keys: to find them by their node, MySQL would lock those of all nodes.
        """
        runs = DjangoJobExecution.objects.running().with_keys(list(keys))
        repeatable = DjangoJob.objects.filter(pk=OuterRef("job_id"), retry_on_lost=True)
        runs.filter(Exists(repeatable.exclude(status=DjangoJob.Status.QUARANTINED))).update(
            status=Status.PENDING, node=None, attempt=F("attempt") + 1, started_at=None
        )
        runs.update(status=Status.LOST, reason=Reason.NODE_LOST, finished_at=self.now())

    def _set_state(self, state: SchedulerNode.State) -> None:
        SchedulerNode.objects.alive().filter(pk=self.id).update(
            state=state, heartbeat_at=self.now(), running=0
        )

    def _note_renewal(self, began: float) -> None:
        """Note that a sign of life arrived that was begun at `began`, by time.monotonic()."""
        if began - self._renewed_at > get_settings().node_timeout:
            self._steady_since = began
        self._renewed_at = began

    def _set_clock(self) -> None:
        jump = self._clock.set(lambda: database_now(SchedulerNode.objects.db))
        if jump:
            clock_jumped.send_robust(type(self), seconds=jump.total_seconds())
        difference = datetime.now(UTC) - self.now()
        if abs(difference) > NOTABLE:
            clocks_differ.send_robust(type(self), seconds=difference.total_seconds())


def _sign_of_life(*news: str) -> tuple[Any, dict[str, Any]]:
    """Return an update of a node's row; its slots are `node` and the columns."""
    columns = ("heartbeat_at", "running", *news)
    alive = SchedulerNode.objects.alive().filter(pk=Slot("node", SchedulerNode._meta.pk))
    return alive, {name: Slot(name, SchedulerNode._meta.get_field(name)) for name in columns}
