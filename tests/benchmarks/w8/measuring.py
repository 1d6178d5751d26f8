"""w8 for all sides that may share a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import insert_ahead, wait_for_end
from tests.benchmarks.nodes import Ledger, opened_ledger, running_nodes
from tests.benchmarks.peers import Task, peer_of
from tests.benchmarks.server import server_cpu_seconds
from tests.benchmarks.sides import Side

LOOK = 0.05
"""Seconds between two looks whether all jobs have begun."""


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement; the variant begins with the number of nodes."""
    with opened_ledger() as ledger:
        return asyncio.run(_measure(side, int(variant.split()[0]), jobs, ledger))


async def _measure(side: Side, count: int, jobs: int, ledger: Ledger) -> dict[str, float]:
    def insert(due: datetime) -> None:
        peer_of(side).insert(work.asign, (Task(number, due) for number in range(jobs)))

    to_start = 3.0 + 2.0 * count
    due = await asyncio.to_thread(insert_ahead, insert, to_start + 1 + jobs / 3000, ahead=to_start)
    async with running_nodes(side, count) as nodes:
        await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
        server_before = await asyncio.to_thread(server_cpu_seconds)
        await wait_for_end(due, lambda: len(ledger), jobs, every=LOOK)
    server_after = await asyncio.to_thread(server_cpu_seconds)  # all has been written by now
    signatures = ledger.signatures()
    runs = Counter(signature.pid for signature in signatures)
    shares = [100 * runs[node.pid] / len(signatures) for node in nodes]
    begun = len({signature.number for signature in signatures})
    ended = max(signature.at for signature in signatures)
    numbers = {
        "runs_per_second": begun / (ended - due.timestamp()),
        "begun": begun,
        "duplicates": len(signatures) - begun,
        "smallest": min(shares),
        "largest": max(shares),
        "cpu_seconds": sum(node.took["cpu_seconds"] for node in nodes),
        "peak_rss": max(node.took["peak_rss"] for node in nodes),
    }
    if server_before is not None and server_after is not None:
        numbers["server_cpu"] = 1e6 * (server_after - server_before) / begun
    return numbers
