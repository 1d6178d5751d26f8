"""What only shows after many runs: connections never closed, memory never given back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
from django.db import connection

from async_apscheduler.models import DjangoJobExecution
from tests.acceptance.faults import jobs
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import until

QUERYING_RUNS = 20_000
PORTION = 1000
THREADS = 10
DB_THREADS = 16
CONNECTIONS = THREADS + DB_THREADS + 4
"""What one process may hold: its threads, its lanes, and the pass, recorder, heartbeat, LISTEN."""

FALLING_RUNS = 100_000
SETTLED_AT = 20_000
"""Runs after which memory must not grow any more."""

GROWTH_LIMIT = 2 * 2**20


def keep_querying(stage: Stage) -> Outcome:
    """Run 20,000 jobs that use the ORM, in portions, and count connections after each."""
    node = stage.start_several(1, settings={"THREADS": THREADS, "DB_THREADS": DB_THREADS})[0]
    bad = stage.spoil == "jobs"
    functions = (jobs.keep_connection,) if bad else (jobs.query, jobs.query_plain)
    outcome = Outcome()
    peaks = []
    for portion in range(1 if bad else QUERYING_RUNS // PORTION):
        keys = stage.schedule([f"job-{portion}-{n}" for n in range(PORTION)], functions)
        peaks.append(_most_connections_until_settled(stage, keys))
        outcome.add(stage.count(keys))
    outcome.expect(max(peaks) <= CONNECTIONS, f"{max(peaks)} connections of {CONNECTIONS}")
    later = max(peaks[len(peaks) // 2 :])
    earlier = max(peaks[: len(peaks) // 2 + 1])
    outcome.expect(later <= earlier + 1, f"connections grew from {earlier} to {later}")
    outcome.expect(node.is_alive, "the scheduler died")
    outcome.seen.append(f"at most {earlier} connections in the first half, {later} in the second")
    return outcome


def _most_connections_until_settled(stage: Stage, keys: list[str]) -> int:
    counts = []

    def look() -> bool:
        counts.append(_connections())
        return stage.settle(keys, 0)

    until(look, 120)
    return max(counts)


def _connections() -> int:
    """Count the connections to the database beside our own."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            cursor.execute(
                "SELECT count(*) FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
        return int(cursor.fetchone()[0])


def keep_falling(stage: Stage) -> Outcome:
    """Run 100,000 jobs of which half raise, and watch the memory of the process."""
    node = stage.start_several(1)[0]
    function = jobs.leak_at_odd if stage.spoil == "jobs" else jobs.fall_at_odd
    sizes: dict[int, int] = {}
    began = time.monotonic()
    for first in range(0, FALLING_RUNS, PORTION):
        if not _run_portion(stage, function, first):
            break
        sizes[first + PORTION] = _resident(node)
    recorded = DjangoJobExecution.objects.finished().count()
    settled = [size for runs, size in sizes.items() if runs >= SETTLED_AT]
    outcome = Outcome(due=FALLING_RUNS, lost=max(0, FALLING_RUNS - recorded))
    growth = settled[-1] - settled[0] if settled else 0
    outcome.expect(settled, f"it stopped after {recorded} runs")
    outcome.expect(growth < GROWTH_LIMIT, f"memory grew by {growth / 2**20:.1f} MiB")
    outcome.expect(node.is_alive, "the scheduler died")
    took = time.monotonic() - began
    outcome.seen.append(
        f"memory grew by {growth / 2**20:.2f} MiB over the last "
        f"{FALLING_RUNS - SETTLED_AT:,} runs; {took:.0f} s in all"
    )
    return outcome


def _run_portion(stage: Stage, function: Callable[..., Any], first: int) -> bool:
    stage.schedule([f"run-{number}" for number in range(first, first + PORTION)], function)
    wanted = first + PORTION
    return until(lambda: DjangoJobExecution.objects.finished().count() >= wanted, 120)


def _resident(node: Node) -> int:
    return int(psutil.Process(node.pid).memory_info().rss)
