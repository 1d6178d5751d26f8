"""w9 for all sides that can be asked from another process."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import cast

from tests.benchmarks import jobs as work
from tests.benchmarks.measuring import percentile
from tests.benchmarks.nodes import Ledger, opened_ledger, running_nodes
from tests.benchmarks.peers import HOUR, RunsNow, Task, peer_of
from tests.benchmarks.sides import Side

PAUSES = (0.05, 0.4)
PATIENCE = 10.0
PRECISION = 0.001
WARMING = 2
"""Requests that come first and do not count."""


def measure(side: Side, variant: str, *, requests: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    with opened_ledger() as ledger:
        return asyncio.run(_measure(side, work.SIGN[variant], requests, ledger))


async def _measure(side: Side, func: work.Work, requests: int, ledger: Ledger) -> dict[str, float]:
    peer = peer_of(side)
    far = datetime.now(UTC) + HOUR
    numbers = range(requests + WARMING)
    await asyncio.to_thread(peer.insert, func, [Task(number, far) for number in numbers])
    choose = random.Random(1)
    asked_at, called_in = {}, []
    async with running_nodes(side, 1):
        for number in numbers:
            await asyncio.sleep(choose.uniform(*PAUSES))
            asked_at[number] = time.time()
            await cast(RunsNow, peer).run_now(number)
            called_in.append(1000 * (time.time() - asked_at[number]))
            await _wait_for(ledger, number + 1)
    delays = sorted(
        1000 * (signature.at - asked_at[signature.number])
        for signature in ledger.signatures()
        if signature.number >= WARMING
    )
    return {
        "p50": percentile(delays, 50),
        "slowest": delays[-1],
        "call": percentile(sorted(called_in[WARMING:]), 50),
        "begun": len(delays),
    }


async def _wait_for(ledger: Ledger, signatures: int) -> None:
    """Return when there are so many of them, or what is missing counts as lost."""
    end = time.monotonic() + PATIENCE
    while len(ledger) < signatures and time.monotonic() < end:  # noqa: ASYNC110  # of a file
        await asyncio.sleep(PRECISION)
