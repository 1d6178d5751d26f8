"""What a node does beside claiming: rescue of others' runs, and releases."""

from __future__ import annotations

import time

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.jobstores import RELEASE_INTERVAL, DjangoJobStore
from async_apscheduler.signals import job_poisonous, nodes_lost


class Housekeeping:
    """Does it as often as the heart beats; synchronous, in the pass's database lane."""

    def __init__(self, node: Node, store: DjangoJobStore | None) -> None:
        self._node = node
        self._store = store
        self._due_at = 0.0
        self._release_at = 0.0
        self.rests = False
        """Set while this node only looks on, because its scheduler was started paused."""

    def seconds_to_next(self) -> float:
        """Return how long the pass may sleep before it is time for this again."""
        if self.rests:
            return get_settings().heartbeat_interval
        return max(0.0, self._due_at - time.monotonic())

    def keep(self) -> None:
        """Do it. Raises whatever the database raises."""
        now = time.monotonic()
        rescue = self._node.rescue()
        if rescue.names:
            nodes_lost.send_robust(type(self), names=rescue.names, runs=rescue.runs)
        for job_id in rescue.poisonous:
            job_poisonous.send_robust(type(self), job_id=job_id)
        self._node.tidy()
        if self._store is not None and now >= self._release_at:
            self._store.release_readable()
            self._release_at = now + RELEASE_INTERVAL.total_seconds()
        self._due_at = now + get_settings().heartbeat_interval
