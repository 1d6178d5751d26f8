"""Schedulers that stand still and come back: a frozen process, a loop that a job has blocked."""

from __future__ import annotations

import signal
import time

from async_apscheduler.models import DjangoJobExecution, SchedulerNode
from tests.acceptance.faults import jobs
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.settings import NODE_TIMEOUT
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import until
from tests.testapp import ledger

FROZEN_SECONDS = 3 * NODE_TIMEOUT
NAMED_WITHIN = 10.0
"""Seconds in which the run that blocks the loop must be named."""

FUNCTIONS = (ledger.enter, ledger.enter_plain)
End = tuple[str, int, int]
"""Status, node and attempt of a finished run."""


def freeze(stage: Stage) -> Outcome:
    """Freeze a scheduler with runs going on for three leases; another one takes over; thaw it."""
    victim = stage.start_several(1)[0]
    keys = stage.schedule([f"once-{n}" for n in range(12)], FUNCTIONS, 2.0)
    repeatable = stage.schedule(
        [f"again-{n}" for n in range(6)], FUNCTIONS, 2.0, retry_on_lost=True
    )
    until(lambda: len(stage.book.started_in(victim.pid)) >= 10, 20)
    other = stage.start("other")
    other.wait_until_up()
    victim.send(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)  # the fault itself
    before = _ends()
    victim.send(signal.SIGCONT)
    thawed_at = time.time()
    during = stage.stream("after", 3, every=0.1, lead=0)
    has_joined = until(lambda: _times_joined(victim) == 2, 10)
    stage.settle(keys + repeatable + during, 20)
    outcome = stage.count(keys + repeatable + during, repeatable=repeatable)
    outcome.recovery = _first_start_in(stage, victim, thawed_at)
    after = _ends()
    overwritten = [pk for pk, end in before.items() if after.get(pk) != end]
    outcome.expect(not overwritten, f"{len(overwritten)} results were overwritten")
    outcome.expect(before, "nothing was taken over while the scheduler was frozen")
    outcome.expect(has_joined, "the thawed scheduler did not join again as a new node")
    outcome.expect(victim.is_alive, "the thawed scheduler died")
    outcome.seen.append(f"{len(before)} runs ended by others while it was frozen")
    return outcome


def _ends() -> dict[int, End]:
    runs = DjangoJobExecution.objects.finished().values_list("pk", "status", "node_id", "attempt")
    return {pk: (status, node, attempt) for pk, status, node, attempt in runs}


def _times_joined(node: Node) -> int:
    return int(SchedulerNode.objects.filter(name=node.name).count())


def _first_start_in(stage: Stage, node: Node, moment: float) -> float | None:
    starts = (entry for entry in stage.book.entries() if entry.kind == "start")
    times = (entry.at for entry in starts if entry.pid == node.pid and entry.at > moment)
    first = min(times, default=None)
    return None if first is None else first - moment


def block(stage: Stage) -> Outcome:
    """Let a job block the loop of one of three schedulers for longer than its lease."""
    seconds = stage.pick(quick=2 * NODE_TIMEOUT, long=30)
    nodes = stage.start_several(3)
    keys = stage.schedule([f"before-{n}" for n in range(30)], FUNCTIONS, 2.0)
    until(lambda: len(stage.book.starts()) >= 20, 20)
    bad = jobs.hold_everything if stage.spoil == "jobs" else jobs.block
    keys += stage.schedule(["blocker"], bad, seconds)
    until(lambda: stage.book.started_at("blocker"), 10)
    blocked_at = time.time()
    keys += stage.stream("during", seconds, every=0.1, lead=0)
    blocked = next(node for node in nodes if "blocker" in stage.book.started_in(node.pid))
    is_named = until(lambda: "blocker" in blocked.output, NAMED_WITHIN)
    stage.settle(keys, seconds + 30)
    outcome = stage.count(keys)
    seized = SchedulerNode.objects.filter(state=SchedulerNode.State.LOST).count()
    outcome.expect(not seized, f"{seized} living scheduler(s) were declared lost")
    outcome.expect(is_named, f"the job was not named in the log within {NAMED_WITHIN:g} s")
    others = {key for node in nodes if node is not blocked for key in _during(stage, node)}
    outcome.expect(others, "the other schedulers ran nothing while one was blocked")
    first = stage.book.first_start_after(blocked_at, prefix="during")
    outcome.recovery = None if first is None else first - blocked_at
    for node in nodes:
        outcome.expect(node.is_alive, f"{node.name} died")
    return outcome


def _during(stage: Stage, node: Node) -> set[str]:
    return {key for key in stage.book.started_in(node.pid) if key.startswith("during")}
