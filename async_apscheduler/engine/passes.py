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
from async_apscheduler.engine.outlook import NOTHING, Lookout
from async_apscheduler.engine.wakeup import CommitCounter

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
    error: Exception | None = None
    """What failed after the claim, whose runs are to be started all the same."""


class Pass:
    """Looks for due work, again and again."""

    def __init__(self, claims: Claims, lookout: Lookout) -> None:
        self.jobstore = claims.alias
        self._claims = claims
        self._lookout = lookout
        self._commits = CommitCounter()
        self._is_news_expected = True
        self._outlook = NOTHING
        self._looked_at = 0.0
        self._loaded_ahead_at = 0.0
        self.lacks_room = False
        """True if there is due work that this node had no room for at the last look."""

    def expect_news(self) -> None:
        """Let the next pass look, even if nobody else seems to have written anything.

        To be called after an error as well, which leaves open what was found. From any thread.
        """
        self._is_news_expected = True

    @property
    def runs_wait(self) -> bool:
        """True if at the last look there were pending runs, perhaps for others of their job."""
        return self._outlook.runs_wait

    def has_news(self, now: datetime, executors: list[str]) -> bool:
        """Return True if a pass is worthwhile: something is due, or will be sooner than was known.

        Raises NodeEvictedError, and whatever the database raises.
        """
        if self._commits.has_moved() and self._lookout.finds_news(executors, self._outlook):
            self.expect_news()
        return self._is_news_expected or self._is_due(now)

    def work(
        self,
        now: datetime,
        executors: list[str],
        *,
        active: int,
        room: int,
        until: datetime | None = None,
    ) -> PassResult:
        """Take due work for up to `room` more runs; `active` is how many this node has going on.

        `until` is when the lane is needed for something else: a claim should be over by then.

        Raises NodeEvictedError, and whatever the database raises.
        """
        result = PassResult()
        pending = self._is_pending(now)
        tried = room > 0 and self._is_due(now)
        if tried:
            self._is_news_expected = True  # whatever comes of it, it is not as it was
            batch = min(room, self._claims.batch_size)
            if until is not None:
                batch = min(batch, self._claims.feasible(until - now))
            result.claimed = self._claims.claim(
                now, executors, room=batch, active=active, pending=pending
            )
            taken = len(result.claimed.runs)
            room -= taken
            if room > 0 and taken == batch and not self._is_look_due():
                # Where so much was due there is probably more.
                result.next_at = now + self._claims.turn_of_others
                return result
        try:
            self._look_ahead(now, executors, result, room=room, tried=tried, pending=pending)
        except Exception as error:
            result.error = error
        return result

    def _is_due(self, now: datetime) -> bool:
        return self._is_pending(now) or _has_come(
            self._outlook.next_run_time, now + self._claims.lead
        )

    def _is_pending(self, now: datetime) -> bool:
        return self.runs_wait or _has_come(self._outlook.available_at, now)

    def _look_ahead(
        self,
        now: datetime,
        executors: list[str],
        result: PassResult,
        *,
        room: int,
        tried: bool,
        pending: bool,
    ) -> None:
        """Find out when there is something to do, and prepare for it."""
        if self._commits.has_moved() or self._is_news_expected or pending:
            self._look(now, executors, result)
        is_due = _has_come(self._outlook.next_run_time, now)
        self.lacks_room = room <= 0 and (self.runs_wait or is_due)
        if not self.lacks_room:
            result.next_at = self._next_at(now, tried=tried, in_vain=result.claimed.is_empty)
            result.next_at = _earliest(result.next_at, self._load_ahead(now, executors))

    def _look(self, now: datetime, executors: list[str], result: PassResult) -> None:
        self._is_news_expected = False  # before the look: what comes during it may be news to it
        self._outlook = self._lookout.look(now, executors)
        self._looked_at = time.monotonic()
        if self._outlook.cancel_requested:
            result.cancel = self._lookout.runs_to_cancel()

    def _is_look_due(self) -> bool:
        return time.monotonic() - self._looked_at >= get_settings().poll_interval

    def _load_ahead(self, now: datetime, executors: list[str]) -> datetime | None:
        """While nothing is due decode jobs that will be; return when to go on with it."""
        expected_at = self._outlook.next_run_time
        if expected_at is None or expected_at <= now:
            return None
        if expected_at - AHEAD > now:
            return expected_at - AHEAD
        pause = self._loaded_ahead_at + AHEAD.total_seconds() / 2 - time.monotonic()
        if pause > 0:
            return now + timedelta(seconds=pause)
        if self._claims.load_ahead(now + AHEAD, executors):
            return now
        self._loaded_ahead_at = time.monotonic()
        return now + AHEAD / 2

    def _next_at(self, now: datetime, *, tried: bool, in_vain: bool) -> datetime | None:
        """Return when to try next: at once if there is work, later if it could not be had."""
        expected_at = self._outlook.next_run_time
        if tried and in_vain:
            if _has_come(expected_at, now):
                return now + CONTENDED
        elif self.runs_wait:
            return now
        elif expected_at is not None:
            expected_at = max(now, expected_at - self._claims.lead)
        return _earliest(expected_at, self._outlook.available_at)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _has_come(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
