"""Clocks that jump, and clocks that disagree. libfaketime sets them, for one process each.

Only the wall clock is changed, as by an administrator or NTP; the monotonic clock goes on.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.models import DjangoJobExecution, SchedulerNode
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.machine import faketime_library
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.settings import NODE_TIMEOUT
from tests.acceptance.faults.stage import Stage, hourly
from tests.acceptance.faults.waiting import until
from tests.testapp import ledger

HOUR = 3600
NOTICED_WITHIN = 15.0
SECONDLY = 5
"""Jobs with an interval of a second: they would have 3,600 fires to catch up each."""

SLACK = 5
"""Runs that each of them may have beside one a second."""

SKEW = 60
EARLY_LIMIT = 1.0
"""Seconds by which a run may start too early, by the clock that all nodes share."""


def forward(stage: Stage) -> Outcome:
    """Set the clock of the only scheduler forward by an hour, while jobs run each second."""
    return _jump(stage, HOUR)


def backward(stage: Stage) -> Outcome:
    """Set it back by an hour."""
    return _jump(stage, -HOUR)


def _jump(stage: Stage, seconds: int) -> Outcome:
    clock = stage.book.path.with_name("clock")
    clock.write_text("+0s")
    node = stage.start("node", environment=_faked(FAKETIME_TIMESTAMP_FILE=str(clock)))
    node.wait_until_up()
    keys = stage.schedule(
        [f"hourly-{n}" for n in range(20)],
        ledger.enter,
        trigger=lambda _: hourly(datetime.now(UTC) + timedelta(minutes=30)),
    )
    secondly = stage.schedule(
        [f"secondly-{n}" for n in range(SECONDLY)],
        ledger.enter,
        trigger=lambda _: IntervalTrigger(seconds=1, timezone=UTC),
        coalesce=not stage.spoil,  # spoilt, all missed fires are run
    )
    until(lambda: min(_starts(stage, secondly)) >= 2, 10)
    before = _starts(stage, secondly)
    clock.write_text(f"{seconds:+d}s")
    began = time.monotonic()
    is_noticed = until(lambda: "clock" in node.output, NOTICED_WITHIN)
    probed = stage.probe(NOTICED_WITHIN)
    watched = stage.pick(quick=NOTICED_WITHIN / 2, long=NOTICED_WITHIN)
    until(lambda: False, watched - (time.monotonic() - began))
    elapsed = time.monotonic() - began
    pairs = zip(_starts(stage, secondly), before, strict=True)
    bursts = [after - earlier for after, earlier in pairs]
    outcome = _count_hourly(stage, keys, seconds)
    outcome.due += sum(bursts) + 1  # the probe
    outcome.recovery = probed
    outcome.expect(node.is_alive, f"the scheduler died: {node.output[-300:]}")
    outcome.expect(is_noticed, f"the log did not speak of it within {NOTICED_WITHIN:g} s")
    outcome.expect(probed is not None, f"nothing ran within {NOTICED_WITHIN:g} s after the jump")
    outcome.expect(
        max(bursts) <= elapsed + SLACK, f"a job ran {max(bursts)} times in {elapsed:.0f} s"
    )
    outcome.seen.append(f"jobs that fire each second ran {bursts} times in {elapsed:.0f} s")
    return outcome


def _count_hourly(stage: Stage, keys: list[str], seconds: int) -> Outcome:
    """Count jobs that are due in half an hour by the right clock.

    Where the database is a server they go by its clock, so none may start; SQLite has the clock of
    the process, so that after a jump forward each is due, once.
    """
    starts = [number for number in _starts(stage, keys) if number]
    due = len(keys) if stage.vendor == "sqlite" and seconds > 0 else 0
    outcome = Outcome(due=due, lost=max(0, due - len(starts)))
    outcome.doubled = sum(number - 1 for number in starts)
    outcome.expect(len(starts) <= due, f"{len(starts)} runs started half an hour early")
    return outcome


def _starts(stage: Stage, keys: list[str]) -> list[int]:
    starts = stage.book.starts()
    return [starts[key] for key in keys]


def skew(stage: Stage) -> Outcome:
    """Run three schedulers whose clocks are a minute ahead, right, and a minute behind."""
    skews = {"ahead": SKEW, "right": 0, "behind": -SKEW}
    nodes = {
        name: stage.start(name, environment=_faked(FAKETIME=f"{seconds:+d}s"))
        for name, seconds in skews.items()
    }
    for node in nodes.values():
        node.wait_until_up()
    keys = stage.stream("job", stage.pick(quick=3 * NODE_TIMEOUT, long=60), every=0.05, lead=1)
    stage.settle(keys, stage.pick(quick=30, long=90))
    fires = DjangoJobExecution.objects.values_list("job_id", "run_time")
    due = {job_id: run_time.timestamp() for job_id, run_time in fires}
    outcome = stage.count(keys)
    seized = SchedulerNode.objects.filter(state=SchedulerNode.State.LOST).count()
    outcome.expect(not seized, f"{seized} living scheduler(s) were declared lost")
    early = max(due[e.key] - e.at + _skew_of(e.pid, nodes, skews) for e in stage.book.entries())
    outcome.expect(early <= EARLY_LIMIT, f"a run started {early:.1f} s too early")
    for node in nodes.values():
        outcome.expect(node.is_alive, f"{node.name} died: {node.output[-300:]}")
        ran = stage.book.starts_by_process()[node.pid]
        outcome.expect(ran, f"{node.name} ran nothing")
    outcome.seen.append(f"earliest start: {early:.2f} s early")
    return outcome


def _skew_of(pid: int, nodes: dict[str, Node], skews: dict[str, int]) -> int:
    """Return by how much the clock is wrong that a process has written its entries with."""
    return next(skews[name] for name, node in nodes.items() if node.pid == pid)


def _faked(**how: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        **how,
    }
