"""w12 for all sides: jobs that take the time, each at a time of its own."""

from __future__ import annotations

import asyncio
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
    def insert(first: datetime) -> None:
        peer.insert(func, [Task(n, first + n * SECOND / jobs, SECOND) for n in range(jobs)])

    first = await asyncio.to_thread(insert_ahead, insert, AHEAD + 1)
    await peer.start()
    # The first second does not count: what is loaded or connected late is there afterwards.
    await asyncio.sleep(monotonic(first + SECOND) - time.monotonic())
    cpu_before, begun_before = time.process_time(), len(work.ran)
    await asyncio.sleep(seconds)
    cpu_seconds, begun = time.process_time() - cpu_before, len(work.ran)
    await peer.stop()
    runs = list(zip(work.ran, work.began_at, strict=False))[begun_before:begun]
    lateness = sorted((at - first.timestamp() - number / jobs) % 1 for number, at in runs)
    return {
        "cpu": 100 * cpu_seconds / seconds,
        "p50": 1000 * percentile(lateness, 50),
        "p99": 1000 * percentile(lateness, 99),
        "latest": 1000 * lateness[-1],
        "runs": len(runs),
        "expected": jobs * seconds,
    }
