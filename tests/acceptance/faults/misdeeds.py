"""Jobs that do what no job should: raise whatever can be raised, or never end."""

from __future__ import annotations

from datetime import UTC, datetime

from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.models import DjangoJobExecution, Status
from tests.acceptance.faults import jobs
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.tally import statuses_by_job
from tests.testapp import ledger
from tests.testapp.work import RAISED

LONGEST_TEXT = 70_000
"""Characters of an exception that are kept, with what says that it was cut."""

NEXT_RUN_LIMIT = 2.0
"""Seconds in which the next job must start."""

ENDLESS_EVERY = 0.2
THREADS = 4


def raise_everything(stage: Stage) -> Outcome:
    """Raise each kind of exception, in coroutines and in functions."""
    nodes = stage.start_several(1)
    outcome = Outcome()
    for prefix, function in (("coroutine", jobs.throw), ("function", jobs.throw_plain)):
        keys = stage.schedule([f"{prefix}-{kind}" for kind in RAISED], function)
        stage.settle(keys, 20)
        outcome.add(stage.count(keys))
    statuses = statuses_by_job()
    ends = {key: {Status.CANCELLED if "Cancelled" in key else Status.FAILED} for key in statuses}
    wrong = [key for key in statuses if statuses[key] != ends[key]]
    outcome.expect(not wrong, f"not recorded as failed: {', '.join(wrong)}")
    longest = max(map(len, DjangoJobExecution.objects.values_list("exception", flat=True)))
    outcome.expect(longest < LONGEST_TEXT, f"an exception of {longest:,} characters was kept")
    _expect_work_goes_on(outcome, stage, nodes)
    return outcome


def never_end(stage: Stage) -> Outcome:
    """Let a coroutine and a function go on for ever, and become due again and again."""
    seconds = stage.pick(quick=4, long=30)
    nodes = stage.start_several(2, settings={"THREADS": THREADS})
    begin = datetime.now(UTC)
    keys = stage.schedule(
        ["endless-coroutine", "endless-function"],
        (jobs.wait_for_ever, jobs.work_for_ever),
        trigger=lambda _: IntervalTrigger(seconds=ENDLESS_EVERY, start_date=begin, timezone=UTC),
    )
    keys += stage.schedule(["limited"], jobs.wait_for_ever, timeout=1.0)
    others = [*stage.stream("other", seconds, every=0.1), "limited"]
    stage.settle(others, seconds + 20)
    outcome = stage.count([*keys, *others[:-1]])
    limited = statuses_by_job()["limited"]
    outcome.expect(limited == {Status.TIMED_OUT}, f"a run with a timeout is {', '.join(limited)}")
    _expect_work_goes_on(outcome, stage, nodes)
    return outcome


def _expect_work_goes_on(outcome: Outcome, stage: Stage, nodes: list[Node]) -> None:
    for node in nodes:
        outcome.expect(node.is_alive, f"{node.name} died: {node.output[-300:]}")
    outcome.recovery = stage.probe(NEXT_RUN_LIMIT, functions=(ledger.enter, ledger.enter_plain))
    outcome.expect(
        outcome.recovery is not None, f"the next job did not start within {NEXT_RUN_LIMIT:g} s"
    )
