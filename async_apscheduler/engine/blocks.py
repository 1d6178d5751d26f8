"""One time that somebody blocks the event loop: accounted to its run, and told.

All of it while it lasts, because the run may end with the block, and be recorded at once.
"""

from __future__ import annotations

import time
from datetime import datetime

from async_apscheduler.conf import get_settings
from async_apscheduler.context import RunContext
from async_apscheduler.engine.turns import Turn
from async_apscheduler.signals import loop_blocked

TELL_AGAIN_AFTER = 10.0
"""Seconds after which a block that goes on is told again."""


class Block:
    """A turn that the loop is at since a moment of time.monotonic(); a block once it is long."""

    def __init__(self, turn: Turn, since: float) -> None:
        self.turn = turn
        self._since = since
        self._seconds = 0.0
        self._tell_at = 0.0
        self._run: RunContext | None = None
        self._log_line = ""

    def goes_on(self, turn: Turn, threshold: float) -> None:
        """Note where the loop still is; what takes less than `threshold` seconds does not count."""
        until = time.monotonic()
        self._seconds = until - self._since
        if self._seconds < threshold:
            return
        if self._seconds >= self._tell_at:
            self._tell_at = self._seconds + TELL_AGAIN_AFTER
            self._run = turn.run
            self._stack = turn.stack()
            self._tell(is_over=False)
        if self._run is not None:
            self._run.note_blocked(self._since, until)
            self._write_into_log_of(self._run)

    def ends(self) -> None:
        """Note that the loop goes on."""
        if self._tell_at:
            self._tell(is_over=True)

    def _tell(self, *, is_over: bool) -> None:
        loop_blocked.send_robust(
            type(self),
            job_id=None if self._run is None else self._run.job_id,
            name=self.turn.name,
            seconds=self._seconds,
            stack=self._stack,
            is_over=is_over,
        )

    def _write_into_log_of(self, run: RunContext) -> None:
        """Add a line to what the run has logged; while the block lasts, bring it up to date."""
        if not get_settings().log_capture:
            return
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S,%f}"[:-3]  # as in the lines around it
        what = f"blocked the event loop for {self._seconds:.2f} s at"
        place = "".join(self._stack.format()).rstrip()
        line = f"{now} WARNING async_apscheduler.runs: {what}\n{place}"
        if self._log_line:
            self._log_line = run.replace_log_line(self._log_line, line)
        else:
            self._log_line = run.keep_log_line(line)
