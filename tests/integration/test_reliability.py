"""What must survive: a database that goes away, nodes that die, rows that spoil."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from async_apscheduler._database import Lane
from async_apscheduler._database._connections import MYSQL_DEADLOCK
from async_apscheduler.engine import retention
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.retention import Retention
from async_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    JobChange,
    Reason,
    SchedulerNode,
    Status,
)
from tests.integration.conftest import Start, finished_run, runs_of
from tests.integration.row_locks import in_time, locked
from tests.outage import database_away
from tests.support import await_until, committed_data
from tests.testapp import work
from tests.testapp.triggers import Broken, Stuck

pytestmark = committed_data


@pytest.fixture
def new_connections(transactional_db: None) -> Iterator[None]:
    """After the test, let this thread connect anew: its connection was ended as well."""
    yield
    connections.close_all()


@pytest.mark.slow
async def test_results_wait_in_memory_while_the_database_is_away(
    start: Start, failures: list[str], new_connections: None
) -> None:
    """A run that ends during an outage is recorded after it; the scheduler goes on by itself."""
    scheduler = await start()
    work.gates["gate"] = asyncio.Event()
    await scheduler.aadd_job(work.wait_for_gate, args=["gate"], id="during")
    await await_until(lambda: work.seen == ["gate began"])

    outage = database_away()
    await asyncio.to_thread(outage.__enter__)
    try:
        work.gates["gate"].set()
        await await_until(lambda: scheduler.unwritten_results == 1)
        await await_until(lambda: "recorder" in failures, timeout=30)
    finally:
        await asyncio.to_thread(outage.__exit__, None, None, None)
    await sync_to_async(connections.close_all)()  # this test's own were ended too
    during = await finished_run("during", timeout=30)
    await DjangoJob.objects.aschedule(work.mark, args=["after"], id="after")
    after = await finished_run("after", timeout=30)

    assert (during.status, after.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    await await_until(lambda: scheduler.unwritten_results == 0)  # it forgets after it has written


async def test_runs_of_a_lost_node_are_ended(start: Start, settings: Any) -> None:
    """A node without a sign of life is declared lost: its runs become lost, or pending again."""
    settings.ASYNC_APSCHEDULER = {"HEARTBEAT_INTERVAL": 0.2}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    dead = await SchedulerNode.objects.acreate(
        name="dead", started_at=long_ago, heartbeat_at=long_ago, capacity=1
    )
    options = {"trigger": "interval", "hours": 1}
    await DjangoJob.objects.aschedule(work.mark, **options, args=["lost"], id="lost")
    await DjangoJob.objects.aschedule(
        work.mark, **options, args=["again"], id="again", retry_on_lost=True
    )
    for job_id in ("lost", "again"):
        await DjangoJobExecution.objects.acreate(
            job_id=job_id, run_time=long_ago, status=Status.RUNNING, node=dead
        )

    await start()
    lost, again = await finished_run("lost"), await finished_run("again")

    assert (lost.status, lost.reason) == (Status.LOST, Reason.NODE_LOST)
    assert (again.status, again.attempt) == (Status.SUCCEEDED, 2)
    assert work.seen == ["again"]
    await dead.arefresh_from_db()
    assert dead.state == SchedulerNode.State.LOST


async def test_a_run_that_another_kind_of_scheduler_left_blocks_nothing(start: Start) -> None:
    """A row without a node, of a BackgroundScheduler that was killed, does not count as a run."""
    past = datetime.now(UTC) - timedelta(hours=1)
    await DjangoJob.objects.aschedule(work.mark, id="job")
    await DjangoJobExecution.objects.acreate(job_id="job", run_time=past, status=Status.RUNNING)

    await start()

    await await_until(lambda: len(work.seen) == 1)


async def test_an_evicted_node_cancels_its_runs_and_joins_again(start: Start) -> None:
    """Whoever was declared lost notices before it claims, and its late results change nothing."""
    scheduler = await start()
    first_id = scheduler.node.id
    await scheduler.aadd_job(work.sleep_long, id="taken-over")
    await await_until(lambda: scheduler.active_runs == 1)

    await DjangoJobExecution.objects.filter(job_id="taken-over").aupdate(
        status=Status.LOST, reason=Reason.NODE_LOST, finished_at=datetime.now(UTC)
    )
    await SchedulerNode.objects.filter(pk=first_id).aupdate(state=SchedulerNode.State.LOST)
    await await_until(lambda: scheduler.node.id != first_id)
    await await_until(lambda: scheduler.active_runs == 0 and scheduler.unwritten_results == 0)
    await DjangoJob.objects.aschedule(work.mark, id="next")

    assert (await finished_run("next")).node_id == scheduler.node.id
    [run] = await runs_of("taken-over")
    assert (run.status, run.reason) == (Status.LOST, Reason.NODE_LOST)


async def test_a_job_that_cannot_be_restored_is_kept_and_released(start: Start) -> None:
    """A spoilt row is set aside with its error, the others run, and it comes back by itself."""
    await DjangoJob.objects.aschedule(work.mark, args=["spoilt"], id="spoilt")
    rows = DjangoJob.objects.filter(pk="spoilt")
    await rows.aupdate(func="tests.testapp.work:no_longer_here")

    scheduler = await start()
    await DjangoJob.objects.aschedule(work.mark, args=["good"], id="good")
    await finished_run("good")
    row = await rows.aget()
    await rows.aupdate(func="tests.testapp.work:mark")
    store = scheduler._jobstores["default"]
    await sync_to_async(store.release_readable)()
    run = await finished_run("spoilt")

    assert row.status == DjangoJob.Status.QUARANTINED
    assert "no_longer_here" in row.error
    assert run.status == Status.SUCCEEDED
    assert work.seen == ["good", "spoilt"]


@pytest.mark.parametrize(
    "spoil",
    [
        {"trigger": {}},
        {"trigger": ["?"]},
        {"trigger": {"type": "interval", "seconds": "many"}},
        {"args": {"$type": "datetime"}},
        {"kwargs": [1, 2]},
        {"func": "os:system"},
        {"func": ""},
    ],
)
async def test_no_row_can_stop_the_pass(start: Start, spoil: dict[str, Any]) -> None:
    """Whatever stands in a row, the row is kept and the others run."""
    await DjangoJob.objects.aschedule(work.mark, args=["spoilt"], id="spoilt")
    await DjangoJob.objects.filter(pk="spoilt").aupdate(**spoil)

    await start()
    await DjangoJob.objects.aschedule(work.mark, args=["good"], id="good")
    await finished_run("good")

    row = await DjangoJob.objects.aget(pk="spoilt")
    assert row.status == DjangoJob.Status.QUARANTINED
    assert row.error
    assert work.seen == ["good"]


@pytest.mark.parametrize("trigger", [Broken, Stuck])
async def test_a_trigger_that_misbehaves_is_set_aside(start: Start, trigger: type) -> None:
    """A trigger that raises, or never moves on, costs its own job and no other."""
    await DjangoJob.objects.aschedule(work.mark, args=["spoilt"], id="spoilt")
    state: dict[str, Any] = {"type": f"{trigger.__module__}:{trigger.__name__}", "state": {}}
    await DjangoJob.objects.filter(pk="spoilt").aupdate(trigger=state)

    await start()
    await DjangoJob.objects.aschedule(work.mark, args=["good"], id="good")
    await finished_run("good")

    row = await DjangoJob.objects.aget(pk="spoilt")
    assert (row.status, work.seen) == (DjangoJob.Status.QUARANTINED, ["good"])


async def test_a_scheduler_works_on_another_database(start: Start, settings: Any) -> None:
    """With DATABASE set, jobs, runs and nodes are there, and nothing is in the default one."""
    settings.ASYNC_APSCHEDULER = {"DATABASE": "other"}
    scheduler = await start()

    await scheduler.aadd_job(work.mark, args=["elsewhere"], id="elsewhere")
    job = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="hourly")
    run = await (await job.arun()).ajoin(timeout=10)
    await job.apause()
    await scheduler.ashutdown()

    assert (run.status, run._state.db) == (Status.SUCCEEDED, "other")
    assert (await finished_run("elsewhere")).status == Status.SUCCEEDED
    for model in (DjangoJob, DjangoJobExecution, SchedulerNode, JobChange):
        assert not await model.objects.using("default").aexists()
        assert await model.objects.using("other").aexists()


async def test_old_history_is_pruned_by_age_and_by_number(start: Start, settings: Any) -> None:
    """RETENTION holds without anybody's help."""
    settings.ASYNC_APSCHEDULER = {"RETENTION": {"max_age": 3600, "max_runs_per_job": 2}}
    now = datetime.now(UTC)
    ages = [0, 1, 2, 3, 90]
    await DjangoJobExecution.objects.abulk_create(
        DjangoJobExecution(
            job_id=job_id, run_time=now - timedelta(minutes=age), status=Status.SUCCEEDED
        )
        for job_id in ("many", "few")
        for age in (ages if job_id == "many" else ages[:1])
    )

    await start()

    async def kept() -> bool:
        return await DjangoJobExecution.objects.acount() == 3

    await await_until(kept)
    newest = [run.run_time for run in await runs_of("many")]
    assert newest == [now - timedelta(minutes=1), now]


def test_there_may_be_more_nodes_to_prune_than_one_batch(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy an hour on many machines leaves thousands behind; they go batch after batch."""
    settings.ASYNC_APSCHEDULER = {"RETENTION": 3600}
    monkeypatch.setattr(retention, "DELETE_BATCH", 2)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    for number in range(3):
        SchedulerNode.objects.create(
            name=f"{number}",
            state="stopped",
            started_at=long_ago,
            heartbeat_at=long_ago,
            capacity=1,
        )
    pruner = Retention(Node("pruner", 10), Lane("unused"))

    assert [pruner.prune_batch(), pruner.prune_batch()] == [True, False]
    assert not SchedulerNode.objects.exists()


async def test_a_deadlock_does_not_keep_old_history_from_being_pruned(
    start: Start, settings: Any, failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the database ends to let another go on is to come again, and need not be heard of."""
    settings.ASYNC_APSCHEDULER = {"RETENTION": 3600}
    old = datetime.now(UTC) - timedelta(hours=2)
    await DjangoJobExecution.objects.acreate(job_id="j", run_time=old, status=Status.SUCCEEDED)
    prune_batch, tries = Retention.prune_batch, []

    def be_the_victim_once(pruner: Retention) -> bool:
        tries.append(pruner)
        if len(tries) == 1:
            raise OperationalError(MYSQL_DEADLOCK, "Deadlock found when trying to get lock")
        return prune_batch(pruner)

    monkeypatch.setattr(Retention, "prune_batch", be_the_victim_once)
    await start()

    async def is_pruned() -> bool:
        return not await DjangoJobExecution.objects.aexists()

    await await_until(is_pruned)
    assert failures == []


@pytest.mark.usefixtures("locks_rows")
def test_what_is_pruned_is_found_without_waiting_for_those_who_live(settings: Any) -> None:
    """A node that gives a sign of life has its row locked, and would wait for the pruner's."""
    settings.ASYNC_APSCHEDULER = {"RETENTION": 3600}
    now = datetime.now(UTC)
    long_ago = now - timedelta(hours=2)
    gone, alive = (
        SchedulerNode.objects.create(
            name=state, state=state, started_at=long_ago, heartbeat_at=at, capacity=1
        )
        for state, at in ((SchedulerNode.State.STOPPED, long_ago), ("running", now))
    )
    old, young = (
        DjangoJobExecution.objects.create(
            job_id="j", run_time=at, status=Status.SUCCEEDED, node=alive
        )
        for at in (long_ago, now)
    )
    pruner = Retention(Node("pruner", 10), Lane("unused"))

    with locked(alive), locked(young):
        in_time(pruner.prune_batch)

    assert not SchedulerNode.objects.filter(pk=gone.pk).exists()
    assert not DjangoJobExecution.objects.filter(pk=old.pk).exists()


async def test_runs_are_started_although_the_look_after_their_claim_fails(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is claimed is nobody else's: forgotten here it would be lost."""
    scheduler = await start()
    lookout = scheduler._staff.work._django._lookout
    look, failures = lookout.look, []

    def fail_once(*args: Any) -> Any:
        if work.seen or failures or not DjangoJobExecution.objects.exists():
            return look(*args)
        failures.append(1)
        raise OperationalError("the connection was killed")

    monkeypatch.setattr(lookout, "look", fail_once)
    await DjangoJob.objects.aschedule(work.mark, args=["claimed"], id="job")

    assert (await finished_run("job")).status == Status.SUCCEEDED
    assert failures == [1]


@pytest.mark.parametrize("first", ["not done", "answer lost"])
async def test_a_commit_that_fails_again_and_again_starts_a_run_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whether it was done or not, and then again: what is there in the end is started once."""
    await start()
    fates = [first, "answer lost"]
    real = BaseDatabaseWrapper._commit

    def commit(connection: Any) -> None:
        is_claim = threading.current_thread().name.startswith("scheduler")
        has_run = is_claim and DjangoJobExecution.objects.running().exists()
        if not (fates and has_run):
            real(connection)
            return
        if fates.pop(0) == "answer lost":
            real(connection)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit)
    await DjangoJob.objects.aschedule(
        work.mark, "interval", hours=1, id="job", next_run_time=datetime.now(UTC)
    )
    await finished_run("job")
    await DjangoJob.objects.aschedule(work.mark, args=["last"], id="last")
    await finished_run("last")

    assert fates == []
    assert work.seen == [None, "last"]


async def test_the_history_of_another_environment_is_not_pruned(
    start: Start, settings: Any
) -> None:
    """Who tests with a copy of the production database finds in it what was copied."""
    settings.ASYNC_APSCHEDULER = {"RETENTION": 3600, "ENVIRONMENT": "staging"}
    long_ago = datetime.now(UTC) - timedelta(days=1)
    for environment in ("production", "staging"):
        node = await SchedulerNode.objects.acreate(
            name=environment,
            environment=environment,
            started_at=long_ago,
            heartbeat_at=long_ago,
            capacity=1,
            state=SchedulerNode.State.STOPPED,
        )
        await DjangoJobExecution.objects.acreate(
            job_id=environment, run_time=long_ago, status=Status.SUCCEEDED, node=node
        )

    await start()

    async def is_pruned() -> bool:
        return not await DjangoJobExecution.objects.filter(job_id="staging").aexists()

    await await_until(is_pruned)
    assert await DjangoJobExecution.objects.filter(job_id="production").aexists()
    assert await SchedulerNode.objects.filter(name="production").aexists()


async def test_a_thousand_jobs_due_at_once_all_run(start: Start) -> None:
    """Each runs once and is recorded, none is missed."""
    due = datetime.now(UTC)

    def schedule_all() -> None:
        for number in range(1000):
            DjangoJob.objects.schedule(
                work.mark, "date", run_date=due, args=[number], id=f"job-{number}"
            )

    await sync_to_async(transaction.atomic(schedule_all))()
    await start()

    async def all_done() -> bool:
        return await DjangoJobExecution.objects.finished().acount() == 1000

    await await_until(all_done, timeout=40)
    assert sorted(work.seen) == list(range(1000))
    assert await DjangoJobExecution.objects.filter(status=Status.SUCCEEDED).acount() == 1000
    assert not await DjangoJob.objects.aexists()
