"""One pass: claim what is expected to be due, then look what comes next.

Synchronous; runs in the pass's database lane. The scheduler starts what it returns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.batch import Claimed
from async_apscheduler.engine.claims import Claims

MAX_BATCH = 500
"""Runs that one pass claims at most, so that the loop can start them between two passes."""

AHEAD = timedelta(seconds=3)
"""How long before they are due jobs are decoded."""

CONTENDED = timedelta(milliseconds=50)
"""How long to leave due work alone that another node is claiming at this moment."""


@dataclass(slots=True)
class PassResult:
    """What a pass found and took."""

    claimed: Claimed = field(default_factory=Claimed)
    cancel: list[int] = field(default_factory=list)
    """Keys of runs that somebody asked to cancel."""
    next_at: datetime | None = None
    """When the next pass has something to do; None if nothing is known."""


class Pass:
    """Looks for due work, again and again."""

    def __init__(self, claims: Claims) -> None:
        self.jobstore = claims.alias
        self._claims = claims
        self._expected_at: datetime | None = None
        self._looked_at = 0.0
        self._loaded_ahead_at = 0.0
        self.runs_wait = False
        """True if at the last look there were pending runs, perhaps for others of their job."""
        self.lacks_room = False
        """True if there is due work that this node had no room for at the last look."""

    def work(self, now: datetime, executors: list[str], *, active: int, room: int) -> PassResult:
        """Take due work for up to `room` more runs; `active` is how many this node has going on.

        Raises NodeEvictedError, and whatever the database raises.
        """
        result = PassResult()
        tried = room > 0 and (self.runs_wait or self._is_expected(now))
        if tried:
            batch = min(room, MAX_BATCH)
            result.claimed = self._claims.claim(
                now, executors, room=batch, active=active, pending=self.runs_wait
            )
            taken = len(result.claimed.runs)
            room -= taken
            if room > 0 and taken == batch and not self._is_look_due():
                result.next_at = now  # where so much was due there is probably more
                return result
        self._look(now, executors, result)
        self.lacks_room = room <= 0 and (self.runs_wait or self._is_expected(now))
        if not self.lacks_room:
            result.next_at = self._next_at(now, tried_in_vain=tried and result.claimed.is_empty)
            if self._load_ahead(now, executors):
                result.next_at = now
        return result

    def _look(self, now: datetime, executors: list[str], result: PassResult) -> None:
        outlook = self._claims.look(now, executors)
        self._looked_at = time.monotonic()
        self._expected_at, self.runs_wait = outlook.next_run_time, outlook.runs_wait
        if outlook.cancel_requested:
            result.cancel = self._claims.runs_to_cancel()

    def _is_look_due(self) -> bool:
        return time.monotonic() - self._looked_at >= get_settings().poll_interval

    def _load_ahead(self, now: datetime, executors: list[str]) -> bool:
        """While nothing is due decode jobs that will be; return True if there is more to do."""
        until = now + AHEAD
        is_idle = self._expected_at is not None and now < self._expected_at <= until
        if not is_idle or time.monotonic() < self._loaded_ahead_at + AHEAD.total_seconds() / 2:
            return False
        if self._claims.load_ahead(until, executors):
            return True
        self._loaded_ahead_at = time.monotonic()
        return False

    def _is_expected(self, now: datetime) -> bool:
        return self._expected_at is not None and self._expected_at <= now

    def _next_at(self, now: datetime, *, tried_in_vain: bool) -> datetime | None:
        """Return when to try next: at once if there is work, later if it could not be had."""
        if tried_in_vain:
            return now + CONTENDED if self._is_expected(now) else self._expected_at
        return now if self.runs_wait else self._expected_at
