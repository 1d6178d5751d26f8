"""w2 for all sides: jobs that take the time, at whole seconds."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import datetime, timedelta

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import AHEAD, insert_ahead, monotonic, percentile
from tests.benchmarks.peers import Peer, Task, peer_of
from tests.benchmarks.sides import Side

SECOND = timedelta(seconds=1)


def measure(side: Side, variant: str, *, jobs: int, seconds: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    return asyncio.run(_measure(peer_of(side), work.STAMP[variant], jobs, seconds))


async def _measure(peer: Peer, func: work.Work, jobs: int, seconds: int) -> dict[str, float]:
    first: list[datetime] = []

    def insert(due: datetime) -> None:
        # Cron, which is all that some sides have, knows whole seconds only.
        first[:] = [due.replace(microsecond=0) + SECOND]
        peer.insert(func, [Task(number, first[0], SECOND) for number in range(jobs)])

    await asyncio.to_thread(insert_ahead, insert, AHEAD + 1)
    await peer.start()
    begin = first[0].timestamp()
    # The first second does not count: what is loaded or connected late is there afterwards.
    await asyncio.sleep(monotonic(first[0]) + 0.95 - time.monotonic())
    cpu_before = time.process_time()
    await asyncio.sleep(seconds)
    cpu_seconds = time.process_time() - cpu_before
    await peer.stop()
    scheduled = work.scheduled_at or [float(math.floor(at)) for at in work.began_at]
    lateness = sorted(
        1000 * (at - due)
        for at, due in zip(work.began_at, scheduled, strict=False)
        if begin + 1 <= due < begin + 1 + seconds
    )
    return {
        "p50": percentile(lateness, 50),
        "p99": percentile(lateness, 99),
        "latest": lateness[-1],
        "runs": len(lateness),
        "expected": jobs * seconds,
        "cpu_seconds": cpu_seconds,
    }
