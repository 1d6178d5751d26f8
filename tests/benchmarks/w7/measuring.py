"""w7 for all sides: a scheduler with nothing to do."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from tests.benchmarks import jobs as work
from tests.benchmarks.peers import HOUR, Peer, Task, peer_of
from tests.benchmarks.queries import count_queries
from tests.benchmarks.sides import Side

SETTLING = 3.0
"""Seconds after the start that do not count."""


def measure(side: Side, variant: str, *, jobs: int, seconds: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    queries = count_queries()
    return asyncio.run(_measure(peer_of(side), work.NOTE[variant], jobs, seconds, queries))


async def _measure(
    peer: Peer, func: work.Work, jobs: int, seconds: int, queries: list[str]
) -> dict[str, float]:
    due = datetime.now(UTC) + HOUR
    await asyncio.to_thread(peer.insert, func, [Task(number, due) for number in range(jobs)])
    await peer.start()
    await asyncio.sleep(SETTLING)
    queries.clear()
    cpu_before = time.process_time()
    await asyncio.sleep(seconds)
    cpu_seconds = time.process_time() - cpu_before
    asked = len(queries)
    await peer.stop()
    return {"cpu": 100 * cpu_seconds / seconds, "queries": 60 * asked / seconds}
