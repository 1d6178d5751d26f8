"""w5 for all sides: jobs that wait, and a look at what they cost meanwhile."""

from __future__ import annotations

import asyncio
from datetime import datetime

from django.db import connections

from tests.benchmarks import jobs as work
from tests.benchmarks.connected import ConnectionWatch
from tests.benchmarks.measuring import AHEAD, insert_ahead, peak_rss, wait_for_end
from tests.benchmarks.peers import Peer, Task, peer_of
from tests.benchmarks.sides import Side


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    connections.close_all()  # the harness's own, of the main thread
    return asyncio.run(_measure(peer_of(side, capacity=jobs), work.NAPS[variant], jobs))


async def _measure(peer: Peer, func: work.Work, jobs: int) -> dict[str, float]:
    def insert(due: datetime) -> None:
        peer.insert(func, [Task(number, due) for number in range(jobs)])
        connections.close_all()

    due = await asyncio.to_thread(insert_ahead, insert, AHEAD + 0.5 + jobs / 3000)
    peak_before = peak_rss()
    with ConnectionWatch() as watch:
        await peer.start()
        await wait_for_end(due, lambda: len(work.ended_at), jobs)
    await peer.stop()
    return {
        "seconds": max(work.ended_at) - due.timestamp(),
        "ended": len(work.ended_at),
        "duplicates": len(work.ran) - len(set(work.ran)),
        "connections": watch.most,
        "growth": peak_rss() - peak_before,
    }
