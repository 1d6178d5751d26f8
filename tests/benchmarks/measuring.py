"""What measurements have in common: a heartbeat on the loop, and waiting for an end."""

from __future__ import annotations

import asyncio
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import TracebackType

PERIOD = 0.01
"""Seconds between two beats."""

PATIENCE = 15.0
"""Seconds without any progress after which what is missing counts as lost."""

AHEAD = 1.0
"""Seconds that must lie between the last insert and the due instant: a scheduler starts in them."""

LONGEST_LEAD = 300.0


class Heartbeat:
    """A coroutine beside the work that beats every 10 ms, as long as the loop lets it."""

    def __init__(self) -> None:
        self._beats: list[float] = []

    async def __aenter__(self) -> Heartbeat:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.sleep(2 * PERIOD)  # the beat after the last stop
        self._task.cancel()

    def longest_stop(self, begin: float, end: float) -> float:
        """Return the longest time between two beats, in milliseconds: 10 if it never stopped.

        `begin` and `end` limit where it is looked for, by time.monotonic().
        """
        stops = [
            after - before
            for before, after in pairwise(self._beats)
            if after >= begin and before <= end
        ]
        return 1000 * max(stops)

    async def _beat(self) -> None:
        while True:
            self._beats.append(time.monotonic())
            await asyncio.sleep(PERIOD)


def monotonic(moment: datetime) -> float:
    """Return a moment by the clock of time.monotonic()."""
    return time.monotonic() + (moment - datetime.now(UTC)).total_seconds()


def insert_ahead(
    insert: Callable[[datetime], None], lead: float, *, ahead: float = AHEAD
) -> datetime:
    """Call `insert` with an instant `lead` seconds from now, and return that instant.

    When it returns, the instant is at least `ahead` seconds away.

    Where a busy machine takes too long to insert, it is done again with more time; so `insert`
    begins by deleting what is there. Raises RuntimeError if LONGEST_LEAD is not enough.
    """
    while lead <= LONGEST_LEAD:
        due = datetime.now(UTC) + timedelta(seconds=lead)
        insert(due)
        if (due - datetime.now(UTC)).total_seconds() >= ahead:
            return due
        lead *= 2
    raise RuntimeError(
        f"The jobs were due before all of them were inserted, even in {LONGEST_LEAD:g} seconds."
    )


async def wait_for_end(
    due: datetime, progress: Callable[[], int], total: int, *, every: float = PERIOD
) -> None:
    """Return when `progress` has reached `total`, or has stood still for PATIENCE seconds.

    It is looked at from the due instant on, every `every` seconds.
    """
    await asyncio.sleep(monotonic(due) - time.monotonic())
    reached, changed_at = progress(), time.monotonic()
    while reached < total and time.monotonic() - changed_at < PATIENCE:
        await asyncio.sleep(every)
        if (now_at := progress()) != reached:
            reached, changed_at = now_at, time.monotonic()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of these, in their order, do not exceed."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def peak_rss() -> float:
    """Return the most memory that this process has held, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
