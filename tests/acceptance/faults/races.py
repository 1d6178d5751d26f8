"""Several schedulers want the same work at the same instant."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.stage import Stage, hourly, once
from tests.testapp import ledger

NODES = 3
DUE = 1000
SMALLEST_SHARE = 0.01
LEAD = timedelta(seconds=12)
"""The gun: all jobs are due at one instant, which all schedulers wait for."""


def race(stage: Stage) -> Outcome:
    """Let all of them reach for 1,000 jobs at once: one-off and recurring, coroutines and not."""
    gun = datetime.now(UTC) + LEAD
    functions = (ledger.enter, ledger.enter_plain)
    keys = stage.schedule(
        [f"one-off-{number}" for number in range(DUE // 2)],
        functions,
        trigger=lambda _: once(gun),
    )
    keys += stage.schedule(
        [f"hourly-{number}" for number in range(DUE // 2)],
        functions,
        trigger=lambda _: hourly(gun),
    )
    nodes = stage.start_several(NODES)
    too_late = datetime.now(UTC) > gun
    stage.settle(keys, 40)
    outcome = stage.count(keys)
    outcome.expect(not too_late, "the jobs were due before all schedulers were up")
    _expect_shares(outcome, stage, nodes)
    outcome.seen.append(f"all started {_last_start(stage) - gun.timestamp():.1f} s after the gun")
    return outcome


def _expect_shares(outcome: Outcome, stage: Stage, nodes: list[Node]) -> None:
    by_process = stage.book.starts_by_process()
    for node in nodes:
        outcome.expect(node.is_alive, f"{node.name} did not survive: {node.output[-300:]}")
        share = by_process[node.pid] / DUE
        outcome.expect(share >= SMALLEST_SHARE, f"{node.name} took only {share:.1%} of the runs")


def _last_start(stage: Stage) -> float:
    return max((entry.at for entry in stage.book.entries()), default=time.time())
