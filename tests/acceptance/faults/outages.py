"""Databases that go away: killed connections, commits in doubt, servers that die or hang."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from django.db import connection, connections

from tests.acceptance.faults import jobs
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.servers import Server
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import until

RECOVERY_LIMIT = 10.0
"""Seconds after the return of the database in which a run must start."""

CALL_LIMIT = 10.0
"""Seconds in which a call to a database that hangs must give up."""

LINES_AT_ONCE = 5
"""Log lines that may come together when an outage begins: each part tells once that it failed."""

LONGEST_GAP = 2.0
"""Seconds in which a coroutine that beats ten times a second must have had its turn."""


def kill_connections(stage: Stage) -> Outcome:
    """Kill connections at random while a job becomes due every 50 ms."""
    nodes = stage.start_several(2)
    kills = int(stage.pick(quick=40, long=200))
    pause = 0.2
    keys = stage.stream("job", kills * pause, every=0.05)
    connections.close_all()
    with Administrator() as ask:
        killed = 0
        for _ in range(kills):
            killed += _kill_one(ask)
            time.sleep(pause * random.uniform(0.5, 1.5))  # the fault itself
    recovery = stage.probe(RECOVERY_LIMIT)
    stage.settle(keys, 20)
    outcome = stage.count(keys)
    outcome.recovery = recovery
    _expect_alive(outcome, nodes)
    outcome.expect(recovery is not None, f"no run within {RECOVERY_LIMIT:g} s after the last kill")
    outcome.expect(killed, "no connection was killed")
    outcome.seen.append(f"{killed} connections killed")
    return outcome


def fail_commits(stage: Stage) -> Outcome:
    """Let one commit in five fail, half of them after they were done."""
    nodes = [stage.start(f"node-{n}", disturb="fail-commits") for n in (1, 2)]
    for node in nodes:
        node.wait_until_up()
    keys = stage.stream("job", stage.pick(quick=8, long=60), every=0.05)
    began = time.monotonic()
    stage.settle(keys, stage.pick(quick=30, long=120))
    outcome = stage.count(keys)
    _expect_alive(outcome, nodes)
    outcome.seen.append(f"{len(keys)} runs took {time.monotonic() - began:.1f} s")
    return outcome


def restart(stage: Stage) -> Outcome:
    """Kill the server at a random phase, and start it again."""
    seconds = stage.pick(quick=5, long=random.choice([3, 60]))

    def away(server: Server) -> None:
        server.kill()
        time.sleep(seconds)  # the fault itself
        server.start()

    return _outage(stage, seconds, away)


def hang(stage: Stage) -> Outcome:
    """Freeze the server: connections stay open, and nothing answers."""
    seconds = stage.pick(quick=15, long=60)

    def away(server: Server) -> None:
        server.freeze()
        time.sleep(seconds)  # the fault itself
        server.thaw()

    outcome = _outage(stage, seconds, away)
    gap = stage.book.longest_gap("tick-")
    outcome.expect(gap < LONGEST_GAP, f"the event loop stood still for {gap:.1f} s")
    return outcome


def _outage(stage: Stage, seconds: float, away: Callable[[Server], None]) -> Outcome:
    """Take the server away while jobs become due, and look at what the scheduler makes of it."""
    server = stage.server
    assert server is not None
    node = stage.start_several(1)[0]
    stage.schedule(["tick"], jobs.tick, seconds + 6)
    keys = stage.stream("job", seconds + 6, every=0.1)
    until(lambda: stage.book.started_at("job-5"), 10)
    time.sleep(random.uniform(0, 1))  # the random phase
    connections.close_all()
    return while_away(stage, node, keys, lambda: away(server), seconds)


def while_away(
    stage: Stage,
    node: Node,
    keys: list[str],
    away: Callable[[], Any],
    seconds: float,
    *,
    must_be_told: bool = True,
) -> Outcome:
    """Let `away` take the database away and bring it back; count and measure.

    A scheduler that must tell of it may be silent for as long as a call may take.
    """
    lines_before = node.lines
    away()
    back_at = time.time()
    told = _failures_told(node, lines_before)
    stage.settle(keys, RECOVERY_LIMIT + 30)
    outcome = stage.count(keys)
    _expect_alive(outcome, [node])
    _expect_next_run(outcome, stage, back_at)
    if must_be_told and seconds > CALL_LIMIT:
        outcome.expect(told, f"nothing in the log of an outage of {seconds:g} s: no call gave up")
    outcome.expect(told <= seconds + LINES_AT_ONCE, f"{told} log lines in {seconds:g} s")
    outcome.seen.append(f"{told} log lines in {seconds:g} s")
    return outcome


def _failures_told(node: Node, lines_before: int) -> int:
    """Count the lines since then that are not about the end of a run."""
    lines = node.output.splitlines()[lines_before:]
    return sum(" succeeded in " not in line for line in lines)


def _expect_alive(outcome: Outcome, nodes: list[Node]) -> None:
    for node in nodes:
        outcome.expect(node.is_alive, f"{node.name} did not survive: {node.output[-300:]}")


def _expect_next_run(outcome: Outcome, stage: Stage, moment: float) -> None:
    until(lambda: stage.book.first_start_after(moment, prefix="job"), RECOVERY_LIMIT)
    first = stage.book.first_start_after(moment, prefix="job")
    after = None if first is None else first - moment
    outcome.recovery = max(filter(None, (outcome.recovery, after)), default=None)
    in_time = after is not None and after <= RECOVERY_LIMIT
    outcome.expect(in_time, f"no run within {RECOVERY_LIMIT:g} s after the return")


class Administrator:
    """A connection beside Django's, which is not among those that are killed."""

    def __enter__(self) -> Callable[[str], list[Any]]:
        self._connection = connection.get_new_connection(connection.get_connection_params())
        if connection.vendor == "postgresql":
            self._connection.autocommit = True
        return self._ask

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _ask(self, sql: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())


def _kill_one(ask: Callable[[str], list[Any]]) -> int:
    """Kill a connection of the schedulers; return how many that were, for there may be none."""
    if connection.vendor == "postgresql":
        return len(
            ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN (SELECT pid "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1)"
            )
        )
    found = ask(
        "SELECT id FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY RAND() LIMIT 1"
    )
    for (key,) in found:
        try:
            ask(f"KILL {key}")
        except Exception:  # it has ended by itself a moment ago
            return 0
    return len(found)
