"""Schedulers that are asked to stop."""

from __future__ import annotations

import signal
import time

from django.db import connections

from async_apscheduler.models import DjangoJobExecution, Status
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import UP_LIMIT, Node
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import until
from tests.testapp import ledger

RUNS = 20
SHORT_LIMIT = 3.0
"""SHUTDOWN_TIMEOUT where a job never ends."""

LAST_CLAIM = 1.0
"""Seconds after SIGTERM from which nothing more may be claimed."""

SECOND_SIGNAL_LIMIT = 1.0
TAKE_OVER_LIMIT = 1.0
HUNG_LIMIT = 10.0
"""Seconds that the end may take while the database does not answer."""

FUNCTIONS = (ledger.enter, ledger.enter_plain)


def drain(stage: Stage) -> Outcome:
    """Stop one scheduler with 20 runs, one with an endless run, and one with a second signal."""
    outcome = _let_end(stage)
    outcome.add(_cancel_at_the_limit(stage))
    outcome.add(_second_signal(stage))
    return outcome


def stop_while_server_hangs(stage: Stage) -> Outcome:
    """Stop a scheduler that works, and one that has not come further than its start."""
    server = stage.server
    assert server is not None
    working = stage.start_several(1)[0]
    keys = stage.schedule(["ended"], [ledger.enter], 0.1)
    stage.settle(keys, 20)
    connections.close_all()
    server.freeze()
    starting = stage.start("starting")
    until(lambda: starting.catches(signal.SIGTERM), UP_LIMIT)
    time.sleep(1)  # until it waits for the server: it cannot say so
    outcome = Outcome()
    outcome.expect(starting.is_alive, "a start gives up while the server hangs")
    for node in (starting, working):
        began = time.monotonic()
        node.send(signal.SIGTERM)
        node.wait_for_end(1)
        node.send(signal.SIGTERM)
        has_ended = node.wait_for_end(HUNG_LIMIT)
        took = time.monotonic() - began
        outcome.seen.append(f"{node.name} ended {took:.1f} s after SIGTERM")
        outcome.expect(
            has_ended and node.wait() == 0,
            f"{node.name}: two signals did not end it with exit code 0 within {HUNG_LIMIT:g} s",
        )
    server.thaw()
    outcome.add(stage.count(keys))
    return outcome


def _let_end(stage: Stage) -> Outcome:
    """20 runs end, nothing is claimed any more, and the other node does what becomes due."""
    seconds = stage.pick(quick=3, long=5)
    leaving = stage.start_several(1, settings={"THREADS": RUNS})[0]
    keys = stage.schedule([f"drained-{n}" for n in range(RUNS)], FUNCTIONS, seconds)
    until(lambda: len(stage.book.starts()) == RUNS, 20)
    staying = stage.start("staying")
    staying.wait_until_up()
    stopped_at = time.time()
    leaving.send(signal.SIGTERM)
    later = stage.stream("later", seconds, every=0.1, lead=0)
    has_ended = leaving.wait_for_end(seconds + 10)
    taken_over = stage.probe(TAKE_OVER_LIMIT)
    stage.settle(keys + later, 20)
    outcome = stage.count(keys + later)
    outcome.recovery = taken_over
    outcome.expect(has_ended and leaving.wait() == 0, "SIGTERM did not end it with exit code 0")
    succeeded = _number_of(keys, Status.SUCCEEDED)
    outcome.expect(succeeded == RUNS, f"{succeeded} of {RUNS} runs ended by themselves")
    late = [
        entry.key
        for entry in stage.book.entries()
        if entry.pid == leaving.pid and entry.kind == "start" and entry.at > stopped_at + LAST_CLAIM
    ]
    outcome.expect(not late, f"claimed later than {LAST_CLAIM:g} s after SIGTERM: {late[:5]}")
    outcome.expect(
        taken_over is not None, f"another node took longer than {TAKE_OVER_LIMIT:g} s to take over"
    )
    staying.kill()
    return outcome


def _cancel_at_the_limit(stage: Stage) -> Outcome:
    """An endless run is cancelled when SHUTDOWN_TIMEOUT is over, and recorded."""
    node, keys = _with_endless_run(stage, "endless", settings={"SHUTDOWN_TIMEOUT": SHORT_LIMIT})
    began = time.monotonic()
    node.send(signal.SIGTERM)
    has_ended = node.wait_for_end(SHORT_LIMIT + 10)
    took = time.monotonic() - began
    outcome = stage.count(keys)
    outcome.expect(has_ended and node.wait() == 0, "an endless job: exit code is not 0")
    outcome.expect(_number_of(keys, Status.CANCELLED) == 1, "an endless job is not cancelled")
    outcome.expect(
        SHORT_LIMIT - 0.1 <= took < SHORT_LIMIT + 3, f"SIGTERM to exit took {took:.1f} s"
    )
    return outcome


def _second_signal(stage: Stage) -> Outcome:
    """The second signal cancels at once."""
    node, keys = _with_endless_run(stage, "hurried", settings={"SHUTDOWN_TIMEOUT": 60})
    node.send(signal.SIGTERM)
    node.wait_for_output("Stopping")
    began = time.monotonic()
    node.send(signal.SIGTERM)
    has_ended = node.wait_for_end(10)
    took = time.monotonic() - began
    outcome = stage.count(keys)
    outcome.expect(has_ended and node.wait() == 0, "a second signal: exit code is not 0")
    outcome.expect(took <= SECOND_SIGNAL_LIMIT, f"second signal to exit took {took:.1f} s")
    outcome.expect(_number_of(keys, Status.CANCELLED) == 1, "a hurried run is not cancelled")
    outcome.seen.append(f"second signal to exit: {took:.2f} s")
    return outcome


def _with_endless_run(
    stage: Stage, key: str, *, settings: dict[str, float]
) -> tuple[Node, list[str]]:
    node = stage.start(f"node-{key}", settings=settings)
    node.wait_until_up()
    keys = stage.schedule([key], ledger.enter, 600.0)
    until(lambda: stage.book.started_at(key), 10)
    return node, keys


def _number_of(keys: list[str], status: Status) -> int:
    return int(DjangoJobExecution.objects.filter(job_id__in=keys, status=status).count())
