"""Nodes: leases, signs of life, and what becomes of the runs of those that give none."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from async_apscheduler.engine import nodes
from async_apscheduler.engine.foreign import unclaimed_run
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import GRACE_BEATS, Node
from async_apscheduler.engine.runs import Run
from async_apscheduler.exceptions import NodeEvictedError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status
from async_apscheduler.models.job_words import MAX_LOST_RUNS
from async_apscheduler.schedulers import DjangoScheduler
from async_apscheduler.signals import clocks_differ
from tests.integration.conftest import Start, finished_run
from tests.integration.row_locks import in_time, locked
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = committed_data

QUICK = {"HEARTBEAT_INTERVAL": 0.2, "NODE_TIMEOUT": 1}


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Beat five times a second."""
    settings.ASYNC_APSCHEDULER = dict(QUICK)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that has joined long enough ago to rescue others."""
    node = Node("watchful", 10)
    node.join()
    node._steady_since = -math.inf
    yield node
    node.leave()


def silent_node(name: str = "silent", **fields: Any) -> SchedulerNode:
    """Return the row of a node that gave no sign of life for an hour."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    return SchedulerNode.objects.create(
        name=name, started_at=long_ago, heartbeat_at=long_ago, capacity=1, **fields
    )


def running(job_id: str, of: SchedulerNode) -> DjangoJobExecution:
    """Return the row of a run that a node has begun."""
    return DjangoJobExecution.objects.create(
        job_id=job_id, run_time=datetime.now(UTC), status=Status.RUNNING, node=of
    )


@pytest.mark.may_block("a job that does so is the subject")
async def test_a_job_that_blocks_the_loop_does_not_cost_the_node_its_life(start: Start) -> None:
    """Signs of life come from threads of their own, so nobody seizes runs that go on."""
    scheduler = await start()
    watchful = Node("watchful", 10)
    await sync_to_async(watchful.join)()
    watchful._steady_since = -math.inf
    await DjangoJob.objects.aschedule(work.block_loop, args=[2.5], id="block")

    rescues = []

    def watch() -> None:
        while not work.seen:
            time.sleep(0.01)
        while work.seen != ["blocks", "blocked"]:
            rescues.append(watchful.rescue().names)
        connections.close_all()  # of this thread

    await asyncio.to_thread(watch)
    run = await finished_run("block")

    assert len(rescues) > 1
    assert not any(rescues)
    assert (run.status, run.node_id) == (Status.SUCCEEDED, scheduler.node.id)


async def test_signs_of_life_come_with_the_passes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat's own thread is for when they do not, and opens its connection beforehand."""
    threads: list[str] = []
    beat = Node.beat

    def note_thread(self: Node, *args: Any) -> None:
        threads.append(threading.current_thread().name.rsplit("_", 1)[0])
        beat(self, *args)

    monkeypatch.setattr(Node, "beat", note_thread)
    await start()

    await await_until(lambda: threads.count("scheduler") >= 3)

    assert "heartbeat" in threads


def test_a_node_that_was_away_lets_the_others_come_back_first(node: Node) -> None:
    """After a database's absence all are silent; whoever is back first must not bury the others."""
    silent = silent_node()
    node._renewed_at = -math.inf  # as after a sign of life that took too long
    node.fence(0)

    early = node.rescue().names
    node._steady_since -= GRACE_BEATS * QUICK["HEARTBEAT_INTERVAL"]
    late = node.rescue().names

    assert (early, late) == ([], [str(silent)])


def test_a_lease_ends_before_others_may_take_over(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted from the start of the last sign of life, by a clock that cannot be set."""
    node.fence(0)
    assert node.has_lease

    passed = time.monotonic() + QUICK["NODE_TIMEOUT"]
    monkeypatch.setattr(nodes.time, "monotonic", lambda: passed)

    assert not node.has_lease


async def claimed_run(scheduler: DjangoScheduler) -> Run:
    """Return a run that this node has claimed and not begun."""
    job = await scheduler.aadd_job(work.mark, "interval", hours=1, id="job")
    now = datetime.now(UTC)
    run = unclaimed_run(job, now, node_id=scheduler.node.id, now=now)
    run.context.id = 1
    return run


async def test_what_was_claimed_before_the_process_froze_is_not_begun(start: Start) -> None:
    """Between claim and start a process may sleep for hours; others have its runs by then."""
    scheduler = await start()
    run = await claimed_run(scheduler)
    await SchedulerNode.objects.filter(pk=run.node_id).aupdate(state=SchedulerNode.State.LOST)
    scheduler.node._renewed_at = -math.inf

    scheduler._staff.runs.begin([run])
    await await_until(lambda: run.finished_at)

    assert (run.status, run.reason) == (Status.CANCELLED, Reason.NODE_LOST)
    assert work.seen == []


async def test_what_was_claimed_waits_for_the_lease_to_be_renewed(start: Start) -> None:
    """A process that was only slow has lost nothing: its run begins late."""
    scheduler = await start()
    run = await claimed_run(scheduler)
    scheduler.node._renewed_at = -math.inf

    scheduler._staff.runs.begin([run])
    began_at_once = run.began
    await await_until(lambda: run.finished_at)

    assert not began_at_once
    assert run.status == Status.SUCCEEDED
    assert len(work.seen) == 1


async def test_a_node_without_a_lease_asks_for_it_before_it_claims(start: Start) -> None:
    """If it was declared lost meanwhile it joins again, and what was due is run then."""
    scheduler = await start()
    first_id = scheduler.node.id
    await SchedulerNode.objects.filter(pk=first_id).aupdate(state=SchedulerNode.State.LOST)
    scheduler.node._renewed_at = -math.inf

    await DjangoJob.objects.aschedule(work.mark, id="job")
    run = await finished_run("job")

    assert run.node_id == scheduler.node.id != first_id


def test_runs_of_another_environment_are_left_alone(node: Node) -> None:
    """Who tests with a copy of the production database declares no node of it lost."""
    silent = silent_node(environment="production")
    run = running("job", silent)

    rescue = node.rescue()
    run.refresh_from_db()

    assert (rescue.names, run.status) == ([], Status.RUNNING)


def test_a_job_that_goes_on_killing_its_process_is_set_aside(node: Node) -> None:
    """After the third loss in a row its run is lost for good, and nothing resumes it by itself."""
    job = DjangoJob.objects.schedule(
        work.mark, "interval", hours=1, id="poison", retry_on_lost=True
    )
    due_at = job.next_run_time
    runs = []
    for number in range(MAX_LOST_RUNS):
        run = running("poison", silent_node(f"victim {number}"))
        rescue = node.rescue()
        run.refresh_from_db()
        runs.append((run.status, rescue.poisonous))

    job.refresh_from_db()

    again = (Status.PENDING, [])
    assert runs == [again, again, (Status.LOST, ["poison"])]
    assert (job.status, job.next_run_time) == (DjangoJob.Status.QUARANTINED, None)
    assert job.held_run_time == due_at
    assert "resume" in job.error
    assert not DjangoJob.objects.all().releasable().exists()


def test_a_job_that_was_set_aside_can_be_resumed(node: Node) -> None:
    """Somebody says that it is mended: it starts over, with a clean record."""
    job = DjangoJob.objects.schedule(work.mark, "interval", hours=1, id="poison")
    DjangoJob.objects.filter(pk="poison").update(lost_runs=MAX_LOST_RUNS - 1)
    running("poison", silent_node())
    node.rescue()
    job.refresh_from_db()
    was_poisonous = job.is_poisonous

    job.resume()
    job.refresh_from_db()

    assert was_poisonous
    assert (job.status, job.lost_runs, job.error) == (DjangoJob.Status.SCHEDULED, 0, "")


async def test_a_run_that_ends_clears_the_record(start: Start) -> None:
    """Only losses in a row count: who shared a process with the culprit is soon free of it."""
    await start()
    job = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="innocent")
    await DjangoJob.objects.filter(pk="innocent").aupdate(lost_runs=MAX_LOST_RUNS - 1)

    await (await job.arun()).ajoin(timeout=10)

    async def is_clear() -> bool:
        await job.arefresh_from_db()
        return job.lost_runs == 0

    await await_until(is_clear)


def test_an_evicted_node_says_so_until_it_joins_again(node: Node) -> None:
    """No sign of life of a node that was declared lost arrives."""
    SchedulerNode.objects.filter(pk=node.id).update(state=SchedulerNode.State.LOST)

    with pytest.raises(NodeEvictedError, match="joins again"):
        node.beat(0, 0.0)
    was_evicted = node.is_evicted
    node.join()

    assert (was_evicted, node.is_evicted) == (True, False)


def test_a_clock_that_differs_from_the_database_is_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs go by the database's clock; who wonders why they seem late finds it in the log."""
    told: list[float] = []

    def tell(seconds: float, **_: Any) -> None:
        told.append(seconds)

    real = nodes.database_now
    monkeypatch.setattr(nodes, "database_now", lambda alias: real(alias) - timedelta(hours=1))
    clocks_differ.connect(tell)

    node.beat(0, 0.0)

    assert [round(seconds) for seconds in told] == [3600]
    assert abs(node.now() - (datetime.now(UTC) - timedelta(hours=1))) < timedelta(seconds=5)


def test_a_node_knows_how_many_share_the_work(node: Node) -> None:
    """Those of its environment that take runs, itself among them."""
    now = datetime.now(UTC)
    for name, fields in {
        "other": {},
        "leaving": {"state": SchedulerNode.State.DRAINING},
        "elsewhere": {"environment": "production"},
    }.items():
        SchedulerNode.objects.create(
            name=name, started_at=now, heartbeat_at=now, capacity=1, **fields
        )

    Housekeeping(node, None).keep()

    assert node.peers == 2


def test_a_node_that_leaves_leaves_no_run_behind(node: Node) -> None:
    """What it still has going on at its end was never begun, or its end could not be written."""
    DjangoJob.objects.schedule(work.mark, "interval", hours=1, id="again", retry_on_lost=True)
    lost, again = running("lost", node.row), running("again", node.row)

    node.leave()
    lost.refresh_from_db()
    again.refresh_from_db()

    assert (lost.status, lost.reason) == (Status.LOST, Reason.NODE_LOST)
    assert (again.status, again.attempt) == (Status.PENDING, 2)


def elsewhere() -> DjangoJobExecution:
    """Return the row of a run of another node, which is alive."""
    now = datetime.now(UTC)
    busy = SchedulerNode.objects.create(name="b", started_at=now, heartbeat_at=now, capacity=1)
    return running("elsewhere", busy)


@pytest.mark.usefixtures("locks_rows")
def test_a_node_that_leaves_waits_for_no_run_of_another(node: Node) -> None:
    """Who waits for others, and they for it, is in a deadlock."""
    run = running("own", node.row)

    with locked(elsewhere()):
        in_time(node.leave)
    run.refresh_from_db()

    assert run.status == Status.LOST


@pytest.mark.usefixtures("locks_rows")
def test_a_rescue_waits_for_no_run_of_another(node: Node) -> None:
    """Nodes that live go on writing results meanwhile."""
    run = running("dead", silent_node())

    with locked(elsewhere()):
        rescue = in_time(node.rescue)
    run.refresh_from_db()

    assert (rescue.runs, run.status) == (1, Status.LOST)
