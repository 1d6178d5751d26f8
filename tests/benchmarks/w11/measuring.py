"""w11 for all sides: a full store, and a process that starts on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import wait_for_end
from tests.benchmarks.nodes import Ledger, opened_ledger, running_nodes
from tests.benchmarks.peers import HOUR, Task, peer_of
from tests.benchmarks.sides import Side

DUE = 10
INSTANTS = 100
"""At so many different times the jobs that are not due are due."""


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    with opened_ledger() as ledger:
        return asyncio.run(_measure(side, work.SIGN[variant], jobs, ledger))


async def _measure(side: Side, func: work.Work, jobs: int, ledger: Ledger) -> dict[str, float]:
    await asyncio.to_thread(peer_of(side).insert, func, _tasks(datetime.now(UTC), jobs))
    async with running_nodes(side, 1) as nodes:
        await wait_for_end(datetime.now(UTC), lambda: len(ledger), DUE)
    (node,) = nodes
    last = max(signature.at for signature in ledger.signatures())
    return {
        "seconds": last - node.starting_at,
        "begun": len(ledger),
        "cpu_seconds": node.took["cpu_seconds"],
        "peak_rss": node.took["peak_rss"],
    }


def _tasks(now: datetime, jobs: int) -> Iterator[Task]:
    for number in range(jobs):
        later = HOUR + timedelta(seconds=number % INSTANTS)
        yield Task(number, now if number < DUE else now + later)
