"""Schedulers that die without a word: killed from outside, or by a job of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status
from tests.acceptance.faults import jobs
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.settings import HEARTBEAT_INTERVAL, NODE_TIMEOUT
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import seconds_until, until
from tests.testapp import ledger

RESCUE_LIMIT = NODE_TIMEOUT + 2 * HEARTBEAT_INTERVAL
PATIENCE = 2 * RESCUE_LIMIT
"""How long a rescue is waited for, so that a late one can be told from none."""

RUN_SECONDS = 3.0
POISON_LIMIT = 3
"""Starts after which a job that kills its process is set aside."""

FUNCTIONS = (ledger.enter, ledger.enter_plain)


def kill(stage: Stage) -> Outcome:
    """Kill one of three schedulers in the middle of its runs; the two others see to them."""
    nodes = stage.start_several(3, "--concurrency", "50")
    keys, repeatable = _schedule_long_runs(stage)
    until(lambda: len(stage.book.starts()) >= 30, 20)
    by_process = stage.book.starts_by_process()
    victim = max(nodes, key=lambda node: by_process[node.pid])
    victim.kill()
    return _after_the_kill(stage, victim, keys, repeatable)


def kill_alone(stage: Stage) -> Outcome:
    """Kill the only scheduler in the middle of its runs, and start it again."""
    victim = stage.start_several(1)[0]
    keys, repeatable = _schedule_long_runs(stage)
    until(lambda: len(stage.book.started_in(victim.pid)) >= 10, 20)
    victim.kill()
    stage.start("node-again").wait_until_up()
    return _after_the_kill(stage, victim, keys, repeatable)


def _schedule_long_runs(stage: Stage) -> tuple[list[str], list[str]]:
    keys = stage.schedule([f"once-{n}" for n in range(60)], FUNCTIONS, RUN_SECONDS)
    repeatable = stage.schedule(
        [f"again-{n}" for n in range(30)], FUNCTIONS, RUN_SECONDS, retry_on_lost=True
    )
    return keys, repeatable


def _after_the_kill(stage: Stage, victim: Node, keys: list[str], repeatable: list[str]) -> Outcome:
    """Measure until no run of the dead node is left, and count."""
    recovery = seconds_until(lambda: not _runs_of(victim), PATIENCE)
    cut_short = stage.book.started_in(victim.pid) - stage.book.ended_in(victim.pid)
    stage.settle(keys + repeatable, 30)
    outcome = stage.count(keys + repeatable, repeatable=cut_short & set(repeatable))
    outcome.recovery = recovery
    outcome.expect(
        recovery is not None and recovery <= RESCUE_LIMIT,
        f"runs of the dead node still counted as running after {RESCUE_LIMIT:g} s",
    )
    starts = stage.book.starts()
    again = [key for key in cut_short & set(repeatable) if starts[key] != 2]
    outcome.expect(not again, f"not run again exactly once: {again[:5]}")
    outcome.expect(cut_short, "the scheduler was killed while nothing ran")
    outcome.expect(_are_lost(cut_short & set(keys)), "a run that was cut short is not lost")
    outcome.expect(stage.probe() is not None, "the next job did not start within 10 s")
    outcome.seen.append(f"{len(cut_short)} runs cut short")
    return outcome


def _runs_of(node: Node) -> bool:
    mine = SchedulerNode.objects.filter(name=node.name).values("pk")
    return bool(DjangoJobExecution.objects.running().filter(node_id__in=mine).exists())


def _are_lost(keys: set[str]) -> bool:
    lost = DjangoJobExecution.objects.filter(job_id__in=keys, status=Status.LOST)
    return bool(lost.count() == len(keys))


def kill_between(stage: Stage) -> Outcome:
    """Kill a scheduler between claim and start, and between the end of runs and their record."""
    outcome = Outcome()
    for number, moment in enumerate(("die-after-claim", "die-before-record")):
        victim = stage.start(f"victim-{number}", disturb=moment)
        victim.wait_until_up()
        keys = stage.schedule([f"{moment}-{n}" for n in range(40)], FUNCTIONS)
        is_dead = until(lambda: not victim.is_alive, 20)  # noqa: B023  called in this very turn
        rescuer = stage.start(f"rescuer-{number}")
        rescuer.wait_until_up()
        stage.settle(keys, PATIENCE)
        part = stage.count(keys)
        part.expect(is_dead, f"{moment}: the scheduler was not killed")
        part.expect(not _runs_of(victim), f"{moment}: runs of the dead node count as running")
        outcome.add(part)
        rescuer.kill()
    return outcome


def crash(stage: Stage) -> Outcome:
    """Let jobs end the process that runs them; whoever dies is started again, as systemd does."""
    nodes = stage.start_several(2)
    begun = time.monotonic()
    keys = stage.stream("well-behaved", 15, every=0.2)
    harmful = stage.schedule(["exit", "segfault"], (jobs.leave, jobs.crash))
    poison = stage.schedule(["poison"], jobs.leave, retry_on_lost=True)
    is_over = _restarting_the_dead(
        stage, nodes, lambda: _is_set_aside("poison") and stage.settle(keys + harmful, 0), 50
    )
    outcome = stage.count(keys + harmful + poison, repeatable=set(poison))
    outcome.recovery = time.monotonic() - begun
    outcome.expect(is_over, "the job that kills its process was not set aside, or others not run")
    starts = stage.book.starts()["poison"]
    outcome.expect(starts <= POISON_LIMIT, f"the job that kills its process ran {starts} times")
    deaths = len(stage.nodes) - 2
    outcome.seen.append(f"{deaths} processes died; the poisonous job ran {starts} times")
    return outcome


def _restarting_the_dead(
    stage: Stage, nodes: list[Node], is_over: Callable[[], bool], limit: float
) -> bool:
    def look() -> bool:
        for place, node in enumerate(nodes):
            if not node.is_alive:
                nodes[place] = stage.start(f"node-{len(stage.nodes) + 1}")
        return is_over()

    return until(look, limit)


def _is_set_aside(job_id: str) -> bool:
    return bool(DjangoJob.objects.quarantined().filter(pk=job_id).exists())
