"""w4 for all sides: a few jobs that repeat beside many that do not."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import insert_ahead, monotonic
from tests.benchmarks.peers import HOUR, Peer, Task, peer_of
from tests.benchmarks.sides import Side

DUE = 10
SECONDS = 5
"""How many of the seconds count."""

LEAD = 4.0
LONGEST_INSERT = 80.0
"""Seconds that the insertion is given at first; a side that needs more gets more."""

INSTANTS = 100
"""At so many different times the jobs that are not due are due."""

SECOND = timedelta(seconds=1)


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    return asyncio.run(_measure(peer_of(side), work.STAMP[variant], jobs))


async def _measure(peer: Peer, func: work.Work, jobs: int) -> dict[str, float]:
    first: list[datetime] = []

    def insert(due: datetime) -> None:
        first[:] = [due.replace(microsecond=0) + SECOND]
        peer.insert(func, _tasks(first[0], jobs))

    lead = LEAD + min(jobs / 3000, LONGEST_INSERT)
    await asyncio.to_thread(insert_ahead, insert, lead, ahead=LEAD / 2)
    await peer.start()
    # The first second does not count: what is loaded or connected late is there afterwards.
    begin = first[0].timestamp() + 1
    await asyncio.sleep(monotonic(first[0]) + 0.95 + SECONDS - time.monotonic())
    await peer.stop()
    latest: dict[float, float] = {}
    counted = 0
    scheduled = work.scheduled_at or [float(math.floor(at)) for at in work.began_at]
    for at, due in zip(work.began_at, scheduled, strict=False):
        if begin <= due < begin + SECONDS:
            counted += 1
            latest[due] = max(latest.get(due, 0.0), 1000 * (at - due))
    return {
        "last_of_ten": statistics.median(latest.values()),
        "slowest": max(latest.values()),
        "begun": counted,
        "expected": DUE * SECONDS,
    }


def _tasks(first: datetime, jobs: int) -> Iterator[Task]:
    for number in range(DUE):
        yield Task(number, first, SECOND)
    for number in range(DUE, jobs):
        yield Task(number, first + HOUR + (number % INSTANTS) * SECOND)
