"""w1 for the sides that have no file of their own here."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import Heartbeat, insert_ahead, monotonic, wait_for_end
from tests.benchmarks.peers import Peer, Task, peer_of
from tests.benchmarks.sides import Side
from tests.benchmarks.w1 import lead

PRECISION = 0.002
"""Seconds between two looks whether all is written."""


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    return asyncio.run(_measure(peer_of(side), work.NOTE[variant], jobs))


async def _measure(peer: Peer, func: work.Work, jobs: int) -> dict[str, float]:
    def insert(due: datetime) -> None:
        peer.insert(func, [Task(number, due) for number in range(jobs)])

    due = await asyncio.to_thread(insert_ahead, insert, lead(jobs))
    await peer.start()
    cpu_before = time.process_time()
    async with Heartbeat() as heartbeat:
        await wait_for_end(due, lambda: len(work.ran), jobs)
        await wait_for_end(due, lambda: peer.finished, jobs, every=PRECISION)
        ended = time.monotonic()
        cpu_seconds = time.process_time() - cpu_before
    finished = peer.finished
    await peer.stop()
    begun = monotonic(due)
    return {
        "runs_per_second": finished / (ended - begun),
        "recorded": finished,
        "duplicates": len(work.ran) - len(set(work.ran)),
        "longest_stop": heartbeat.longest_stop(begun, ended),
        "cpu_seconds": cpu_seconds,
    }
