"""The watchdog: names who blocks the event loop, while it is blocked, and for how long.

Nothing else tells: a loop that a job holds with `time.sleep` can neither log nor be asked.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.blocks import Block
from async_apscheduler.engine.turns import Turn, turn_of

WHILE_RUNNING = 0.25
"""Seconds between two looks while runs are going on, unless BLOCKED_LOOP_THRESHOLD is shorter."""

WHILE_IDLE = 2.0
"""Seconds between two looks while none are: a thread that wakes up costs more than its look."""

WHILE_FOLLOWING = 0.05
"""Seconds between two looks at a loop that has not answered yet."""


class Watchdog:
    """Watches the loop that start() is called on, from a thread of its own.

    It looks at what the loop's thread is at. A loop that waits for events is left alone; one that
    is at work is asked for a turn, and looked at until it has given one: who is seen all the while
    has blocked it. `runs_go_on` tells whether looking more often is worthwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, runs_go_on: Callable[[], bool]) -> None:
        self._loop = loop
        self._runs_go_on = runs_go_on
        self._is_alert = False
        self._wakes = threading.Event()
        self._stops = threading.Event()
        self._woken_at = 0.0
        self._held = 0.0
        """By how many seconds the loop's thread, hard at work, made the last look late."""

    def start(self) -> None:
        """Begin to watch; called on the loop."""
        self._thread_id = threading.get_ident()
        self._clock = _clock_of_this_thread()
        threading.Thread(target=self._watch, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End it; returns at once."""
        self._stops.set()
        self._wakes.set()

    def runs_begin(self) -> None:
        """Note that runs begin, and look more often from now on."""
        if not self._is_alert:
            self._woken_at = time.monotonic()
            self._wakes.set()

    def _watch(self) -> None:
        while not self._stops.is_set():
            self._is_alert = False
            self._wakes.clear()
            self._is_alert = self._runs_go_on()  # in this order, or a run that begins is overlooked
            self._sleep(self._pause(), self._wakes)
            if self._turn() is not None:
                self._follow()

    def _pause(self) -> float:
        if not self._is_alert:
            return WHILE_IDLE
        return min(WHILE_RUNNING, get_settings().blocked_loop_threshold)

    def _follow(self) -> None:
        """Look at what the loop is at until it has answered."""
        threshold = get_settings().blocked_loop_threshold
        answer = self._ask()
        block = None
        while (turn := self._turn()) is not None:
            unseen = self._unseen_of(turn, threshold)
            if answer.has_come and not unseen:
                break
            if block is None or answer.has_come or not turn.is_same_as(block.turn):
                _end(block)
                block = Block(turn, since=time.monotonic() - unseen)
            if answer.has_come:
                answer = self._ask()
            block.goes_on(turn, threshold)
            self._sleep(min(WHILE_FOLLOWING, threshold / 5), self._stops)
        _end(block)

    def _ask(self) -> _Answer:
        answer = _Answer()
        with suppress(RuntimeError):  # the loop is closed, so that nothing holds it
            self._loop.call_soon_threadsafe(answer.come)
        return answer

    def _turn(self) -> Turn | None:
        return None if self._stops.is_set() else turn_of(self._loop, self._thread_id)

    def _sleep(self, seconds: float, until: threading.Event) -> None:
        """Sleep, and note how late it became.

        One call into C, for example of a regular expression, can hold the interpreter for seconds
        in which this thread cannot look. It is at once after that call that it can.
        """
        due = time.monotonic() + seconds
        worked = self._seconds_worked()
        if until.wait(seconds):
            due = min(due, self._woken_at)
        late = time.monotonic() - due
        self._held = max(0.0, min(late, self._seconds_worked() - worked))

    def _unseen_of(self, turn: Turn, threshold: float) -> float:
        """Return for how many seconds this turn has kept the thread from looking at it.

        A thread may come late for other reasons, too, so that the loop's own clock must agree. Less
        than `threshold` seconds are not looked into and count as none.
        """
        if self._held < threshold:
            return 0.0
        seconds = min(self._held, turn.longest())
        return seconds if seconds >= threshold else 0.0

    def _seconds_worked(self) -> float:
        """Return the processor time of the loop's thread; 0 where the system does not tell."""
        try:
            return 0.0 if self._clock is None else time.clock_gettime(self._clock)
        except OSError:  # the thread has ended
            return 0.0


class _Answer:
    """What the loop is asked for."""

    has_come = False

    def come(self) -> None:
        """Called by the loop at its next turn."""
        self.has_come = True


def _end(block: Block | None) -> None:
    if block is not None:
        block.ends()


def _clock_of_this_thread() -> int | None:
    if sys.platform == "linux":
        return time.pthread_getcpuclockid(threading.get_ident())
    return None
