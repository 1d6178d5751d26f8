"""The heartbeat: signs of life from threads of their own, whatever the event loop is doing.

While the loop turns they come with the passes, which costs less. But a job that blocks the loop
must not cost its node the life, or others would seize runs that go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotDoneError

from async_apscheduler._database import (
    ANSWER_LIMIT,
    CONNECTION_ERRORS,
    Lane,
    discard_connection,
)
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.exceptions import NodeEvictedError
from async_apscheduler.signals import work_failed, work_resumed

RETRY_AFTER = 1.0
"""Seconds until the next try when a sign of life did not arrive."""

PATIENCE = 1.2
"""How much longer than HEARTBEAT_INTERVAL a pass may take to give it."""


class Heartbeat:
    """Renews the node's lease whenever no pass has for longer than HEARTBEAT_INTERVAL.

    One thread keeps the time; the database is asked in a lane, so that an answer which does not
    come can be given up. `running` and `lag` are asked what to report; `on_eviction` is called, in
    the thread, when the node turns out to be declared lost.
    """

    def __init__(
        self,
        node: Node,
        *,
        running: Callable[[], int],
        lag: Callable[[], float],
        on_eviction: Callable[[], None],
    ) -> None:
        self._node = node
        self._running = running
        self._lag = lag
        self._on_eviction = on_eviction
        self._lane = Lane("heartbeat")
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._go_on, name="heartbeat-timer", daemon=True)

    def start(self) -> None:
        """Begin, with a first beat: later there might be no connection to be had."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for nothing."""
        self._stop.set()
        self._lane.close()

    def _go_on(self) -> None:
        pause = self._beat()
        while not self._stop.wait(pause):
            overdue_in = PATIENCE * get_settings().heartbeat_interval - self._node.silence
            pause = overdue_in if overdue_in > 0 else self._beat()

    def _beat(self) -> float:
        """Give a sign of life; return how many seconds to wait before the next."""
        interval = get_settings().heartbeat_interval
        try:
            self._ask(lambda: self._node.beat(self._running(), self._lag()))
        except NodeEvictedError:
            self._on_eviction()
        except Exception as error:
            if self._stop.is_set():
                return interval
            self._failed = True
            pause = min(RETRY_AFTER, interval)
            work_failed.send_robust(type(self), part="heartbeat", error=error, retry_in=pause)
            if isinstance(error, CONNECTION_ERRORS):
                self._lane.submit(discard_connection, get_settings().database)
            return pause
        if self._failed:
            self._failed = False
            work_resumed.send_robust(type(self), part="heartbeat")
        return interval

    def _ask(self, work: Callable[[], None]) -> None:
        """Do `work` in the lane; see Lane.answer(), for a thread."""
        future = self._lane.submit(work)
        while True:
            try:
                return future.result(timeout=ANSWER_LIMIT)
            except NotDoneError:
                if future.done():
                    raise
                self._lane.interrupt()
