"""What a node does beside claiming: signs of life, rescue of others' runs, releases."""

from __future__ import annotations

import time

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.jobstores import RELEASE_INTERVAL, DjangoJobStore
from async_apscheduler.signals import nodes_lost


class Housekeeping:
    """Does it at every heartbeat; synchronous, in the pass's database lane."""

    def __init__(self, node: Node, store: DjangoJobStore | None) -> None:
        self._node = node
        self._store = store
        self._beat_at = 0.0
        self._release_at = 0.0

    def seconds_to_next_beat(self) -> float:
        """Return how long the node may sleep before it must give a sign of life."""
        return max(0.0, self._beat_at - time.monotonic())

    def keep(self, running: int, lag: float) -> None:
        """Give a sign of life and do the rest.

        `running` is how many runs this node has going on, `lag` by how many seconds its event loop
        was late at worst since the last time. Raises NodeEvictedError.
        """
        now = time.monotonic()
        self._node.beat(running, lag)
        self._beat_at = now + get_settings().heartbeat_interval
        names, runs = self._node.rescue()
        if names:
            nodes_lost.send_robust(type(self), names=names, runs=runs)
        self._node.tidy()
        if self._store is not None and now >= self._release_at:
            self._store.release_readable()
            self._release_at = now + RELEASE_INTERVAL.total_seconds()
