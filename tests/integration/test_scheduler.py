"""The scheduler from the outside: jobs go in, runs come out."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
from datetime import UTC, datetime, timedelta
from inspect import isfunction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_SUBMITTED,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from asgiref.sync import sync_to_async
from django.db import transaction

from async_apscheduler.engine.active import SLICE
from async_apscheduler.engine.foreign import unclaimed_run
from async_apscheduler.engine.runner import Runner
from async_apscheduler.exceptions import (
    ConfigurationError,
    ReferenceNotAllowedError,
    SynchronousCallError,
)
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status
from async_apscheduler.schedulers import DjangoScheduler
from tests.integration.conftest import Start, finished_run, runs_of
from tests.support import await_until, committed_data
from tests.testapp import work
from tests.testapp.models import Note
from tests.testapp.triggers import Fatal

pytestmark = committed_data


async def test_a_coroutine_job_runs_and_is_recorded(start: Start) -> None:
    """An `async def` job that uses the ORM leaves its row and its return value."""
    scheduler = await start()

    await scheduler.aadd_job(work.anote, args=["hello"], id="job")
    run = await finished_run("job")

    assert run.status == Status.SUCCEEDED
    assert run.return_value == "hello"
    assert run.node_id == scheduler.node.id
    assert run.started_at is not None
    assert run.lateness is not None
    assert run.duration is not None
    assert run.duration > 0
    assert run.db_queries >= 1  # MySQL and MariaDB ask something when they connect
    assert await Note.objects.filter(text="hello").aexists()


async def test_a_plain_function_runs_in_a_thread(start: Start) -> None:
    """A `def` job runs with the synchronous ORM and is recorded likewise."""
    scheduler = await start()

    await scheduler.aadd_job(work.note, args=["hello"], id="job")
    run = await finished_run("job")

    assert (run.status, run.return_value) == (Status.SUCCEEDED, "hello")
    assert run.db_queries >= 1
    assert await Note.objects.filter(text="hello").aexists()


async def test_a_finished_one_off_job_is_removed_and_its_history_stays(start: Start) -> None:
    """A job without further fires goes; its runs do not."""
    scheduler = await start()

    await scheduler.aadd_job(work.mark, "date", id="once")
    await finished_run("once")

    assert not await DjangoJob.objects.filter(pk="once").aexists()
    assert len(await runs_of("once")) == 1


async def test_a_recurring_job_fires_again_and_again(start: Start) -> None:
    """An interval job runs at each of its times, once each."""
    scheduler = await start()
    began = datetime.now(UTC)

    await scheduler.aadd_job(
        work.mark, "interval", seconds=0.2, id="beat", start_date=began, next_run_time=began
    )
    await await_until(lambda: len(work.seen) >= 4)
    await scheduler.ashutdown()

    runs = await runs_of("beat", Status.SUCCEEDED)
    assert len(runs) == len(work.seen)
    steps = {(run.run_time - began) / timedelta(seconds=0.2) for run in runs}
    assert all(step == int(step) for step in steps)


async def test_a_job_added_elsewhere_is_found(start: Start) -> None:
    """A row written by another process runs without a restart."""
    await start()

    await DjangoJob.objects.aschedule(work.anote, id="job", args=["from elsewhere"])

    assert (await finished_run("job")).return_value == "from elsewhere"


@pytest.mark.parametrize("function", [work.fall, work.fall_in_thread])
async def test_an_exception_is_recorded_with_its_traceback(start: Start, function: object) -> None:
    """A failing job leaves the exception and where it was raised; the scheduler goes on."""
    scheduler = await start()

    await scheduler.aadd_job(function, id="bad")
    run = await finished_run("bad")

    assert run.status == Status.FAILED
    assert run.exception.startswith("ValueError: the ladder broke")
    assert run.traceback.splitlines()[0] == "Traceback (most recent call last):"
    assert "tests/testapp/work.py" in run.traceback.splitlines()[1]
    await scheduler.aadd_job(work.mark, id="next")
    assert (await finished_run("next")).status == Status.SUCCEEDED


@pytest.mark.parametrize("function", [work.throw, work.throw_in_thread])
async def test_whatever_a_job_raises_ends_only_its_own_run(start: Start, function: object) -> None:
    """SystemExit, StopIteration, an exception without text: one row each, and no more."""
    scheduler = await start()

    for kind in work.RAISED:
        await scheduler.aadd_job(function, args=[kind], id=kind)
    runs = {kind: await finished_run(kind) for kind in work.RAISED}

    expected = dict.fromkeys(work.RAISED, Status.FAILED) | {"CancelledError": Status.CANCELLED}
    assert {kind: run.status for kind, run in runs.items()} == expected
    assert len(runs["10 MB"].exception) < 70_000
    assert "UnspeakableError" in runs["UnspeakableError"].exception
    assert scheduler.active_runs == 0


async def test_what_has_ended_leaves_no_garbage(start: Start) -> None:
    """Memory does not grow until the collector of cycles comes: there are none."""
    scheduler = await start()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await scheduler.aadd_job(work.anote, id="good", args=["good"])
        await scheduler.aadd_job(work.fall, id="bad")
        await scheduler.aadd_job(work.fall_in_thread, id="bad in a thread")
        await DjangoJob.objects.aschedule(work.sleep_long, id="late", timeout=0.01)
        for job in ("good", "bad", "bad in a thread", "late"):
            await finished_run(job)
        gc.collect()
        kinds = {thing if isfunction(thing) else type(thing) for thing in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert [kind for kind in kinds if kind.__module__.startswith("async_apscheduler")] == []


async def test_a_run_knows_itself(start: Start) -> None:
    """current_run works in coroutines and in threads, and shows progress."""
    scheduler = await start()

    await scheduler.aadd_job(work.tell_about_itself, id="job")
    await scheduler.aadd_job(work.tell_about_itself_in_thread, id="plain")
    runs = [await finished_run("job"), await finished_run("plain")]

    told = {(run.pk, run.job_id, run.run_time, 1) for run in runs}
    assert set(work.seen) == told
    assert [run.progress for run in runs] == [{"done": 1, "total": 2, "message": "half"}] * 2


async def test_many_concurrent_orm_jobs_share_few_connections(
    start: Start, settings: object
) -> None:
    """500 jobs at once use every form of the async ORM on at most DB_THREADS lanes."""
    settings.ASYNC_APSCHEDULER = {"DB_THREADS": 4}  # type: ignore[attr-defined]  # pytest-django's
    scheduler = await start()
    due = datetime.now(UTC)

    @transaction.atomic
    def schedule_all() -> None:
        for number in range(500):
            DjangoJob.objects.schedule(
                work.many_queries, "date", run_date=due, args=[number], id=f"job-{number}"
            )

    await sync_to_async(schedule_all)()

    async def all_done() -> bool:
        return await DjangoJobExecution.objects.finished().acount() == 500

    await await_until(all_done, timeout=50)
    assert await DjangoJobExecution.objects.filter(status=Status.SUCCEEDED).acount() == 500
    assert await Note.objects.filter(text__endswith=" changed").acount() == 500
    executor = scheduler._executors["default"]
    assert len(executor._lanes._lanes) <= 4


async def test_jobs_that_wait_after_a_query_delay_nobody(start: Start, settings: object) -> None:
    """100 jobs that touched the database and wait keep no other job from it."""
    settings.ASYNC_APSCHEDULER = {"DB_THREADS": 2}  # type: ignore[attr-defined]  # pytest-django's
    scheduler = await start()
    work.gates["network"] = asyncio.Event()
    due = datetime.now(UTC)

    for number in range(100):
        await DjangoJob.objects.aschedule(
            work.read_then_wait, "date", run_date=due, args=[str(number)], id=f"waiter-{number}"
        )
    await await_until(lambda: len(work.seen) == 100, timeout=30)
    await scheduler.aadd_job(work.anote, args=["not delayed"], id="other")

    assert (await finished_run("other")).status == Status.SUCCEEDED
    assert scheduler.active_runs == 100
    work.gates["network"].set()


async def test_overlapping_fires_are_skipped_with_a_row(start: Start) -> None:
    """While max_instances runs are active a due fire is recorded as skipped."""
    scheduler = await start()
    work.gates["slow"] = asyncio.Event()
    events: list[int] = []
    scheduler.add_listener(lambda event: events.append(event.code), EVENT_JOB_MAX_INSTANCES)

    await scheduler.aadd_job(
        work.wait_for_gate,
        "interval",
        seconds=0.2,
        args=["slow"],
        id="slow",
        next_run_time=datetime.now(UTC),
    )

    async def overlap() -> bool:
        rows = await runs_of("slow", Status.SKIPPED)
        return any(row.reason == Reason.OVERLAP for row in rows)

    await await_until(overlap)
    assert work.seen == ["slow began"]
    await await_until(lambda: EVENT_JOB_MAX_INSTANCES in events)
    work.gates["slow"].set()


async def test_missed_fires_fold_into_one_row(start: Start) -> None:
    """After a downtime a coalescing job runs once, and one row counts what was left out."""
    scheduler = await start(paused=True)
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    await scheduler.aadd_job(
        work.mark, "interval", minutes=10, start_date=past, next_run_time=past, id="late"
    )

    scheduler.resume()
    await finished_run("late")

    async def succeeded() -> list[DjangoJobExecution]:
        return await runs_of("late", Status.SUCCEEDED)

    [run] = await await_until(succeeded)
    [skipped] = await runs_of("late", Status.SKIPPED)
    assert run.run_time == past + timedelta(hours=1)
    assert (skipped.run_time, skipped.reason, skipped.fires) == (past, Reason.COALESCED, 6)


async def test_a_run_later_than_its_grace_time_is_missed(start: Start) -> None:
    """misfire_grace_time is honoured and recorded."""
    scheduler = await start(paused=True)
    past = datetime.now(UTC) - timedelta(minutes=5)
    await scheduler.aadd_job(work.mark, "date", run_date=past, misfire_grace_time=60, id="late")

    scheduler.resume()
    run = await finished_run("late")

    assert (run.status, run.reason) == (Status.SKIPPED, Reason.MISSED)
    assert work.seen == []


async def test_late_fires_without_coalescing_run_one_after_the_other(start: Start) -> None:
    """coalesce=False makes a run of each late fire, at most max_instances at a time."""
    scheduler = await start(paused=True)
    past = datetime.now(UTC) - timedelta(seconds=35)
    await scheduler.aadd_job(
        work.mark,
        "interval",
        seconds=10,
        start_date=past,
        next_run_time=past,
        coalesce=False,
        id="late",
    )

    scheduler.resume()

    async def four() -> bool:
        return len(await runs_of("late", Status.SUCCEEDED)) == 4

    await await_until(four)
    runs = await runs_of("late", Status.SUCCEEDED)
    assert [run.run_time for run in runs] == [past + timedelta(seconds=10 * n) for n in range(4)]
    pairs = pairwise(runs)
    assert all(earlier.finished_at <= later.started_at for earlier, later in pairs)


async def test_a_timeout_cancels_a_coroutine(start: Start) -> None:
    """A run over its limit is cancelled and recorded as timed out."""
    await start()

    await DjangoJob.objects.aschedule(work.sleep_long, id="slow", timeout=0.2)
    run = await finished_run("slow")

    assert run.status == Status.TIMED_OUT
    assert "0.2 seconds" in run.exception


async def test_a_failed_run_is_tried_again(start: Start) -> None:
    """max_attempts brings a failed run back until it succeeds, in the same row."""
    await start()

    await DjangoJob.objects.aschedule(
        work.succeed_at_attempt, id="stubborn", args=[3], max_attempts=5
    )
    run = await finished_run("stubborn")

    assert (run.status, run.attempt, run.return_value) == (Status.SUCCEEDED, 3, "at last")
    assert (run.exception, run.traceback, run.lateness) == ("", "", None)
    assert len(await runs_of("stubborn")) == 1


async def test_run_now_leaves_the_schedule_alone(start: Start) -> None:
    """arun() runs the job in the scheduler; next_run_time is untouched, also of a paused job."""
    await start()
    job = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="hourly")
    before = job.next_run_time
    paused = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="paused")
    await paused.apause()

    run = await (await job.arun(by="somebody")).ajoin(timeout=10)
    other = await (await paused.arun()).ajoin(timeout=10)

    await job.arefresh_from_db()
    assert job.next_run_time == before
    assert (run.status, run.requested_by) == (Status.SUCCEEDED, "somebody")
    assert other.status == Status.SUCCEEDED


async def test_a_running_coroutine_can_be_cancelled(start: Start) -> None:
    """acancel() reaches the run in the scheduler and is recorded with who asked."""
    await start()
    work.gates["endless"] = asyncio.Event()
    job = await DjangoJob.objects.aschedule(
        work.wait_for_gate, "interval", hours=1, args=["endless"], id="endless"
    )
    run = await job.arun()
    await await_until(lambda: work.seen == ["endless began"])

    assert await run.acancel(by="the boss")
    run = await run.ajoin(timeout=10)

    assert (run.status, run.reason, run.cancelled_by) == (
        Status.CANCELLED,
        Reason.REQUESTED,
        "the boss",
    )
    assert run.exception == ""


async def test_a_function_in_a_thread_is_only_asked_to_stop(start: Start) -> None:
    """The row says that a cancellation was requested; the function runs to its end."""
    await start()
    job = await DjangoJob.objects.aschedule(work.wait_in_thread, "interval", hours=1, id="thread")
    run = await job.arun()
    await await_until(lambda: work.seen == ["thread began"])

    assert await run.acancel(by="the boss")
    work.thread_gate.set()
    run = await run.ajoin(timeout=10)

    assert run.status == Status.SUCCEEDED
    assert run.cancel_requested_at is not None


async def test_a_failing_run_that_was_asked_to_stop_is_not_tried_again(start: Start) -> None:
    """Who cancels a run does not want another attempt of it."""
    scheduler = await start()
    job = await DjangoJob.objects.aschedule(
        work.wait_in_thread_and_fall, "interval", hours=1, id="thread", max_attempts=3
    )
    run = await job.arun()
    await await_until(lambda: work.seen == ["thread began"])

    await run.acancel()
    [active] = scheduler._staff.runs
    await await_until(lambda: not active.may_be_retried)
    work.thread_gate.set()
    run = await run.ajoin(timeout=10)

    assert (run.status, run.attempt) == (Status.FAILED, 1)


async def test_pause_resume_and_reschedule_take_effect(start: Start) -> None:
    """The model's words reach a running scheduler."""
    await start()
    job = await DjangoJob.objects.aschedule(work.mark, "interval", hours=1, id="job")

    await job.apause()
    await job.areschedule("interval", seconds=0.2)

    await await_until(lambda: len(work.seen) >= 2)


async def test_synchronous_methods_name_their_twin_on_the_loop(start: Start) -> None:
    """What would wait for the database on the loop raises an error that says what to use."""
    scheduler = await start()

    with pytest.raises(SynchronousCallError, match=r"await scheduler\.aadd_job"):
        scheduler.add_job(work.mark)
    with pytest.raises(SynchronousCallError, match="aget_jobs"):
        scheduler.get_jobs()
    with pytest.raises(SynchronousCallError, match="aexport_jobs"):
        scheduler.export_jobs("jobs.json")
    with pytest.raises(SynchronousCallError, match="ashutdown"):
        scheduler.shutdown()


async def test_each_method_has_a_twin_that_works_on_the_loop(start: Start, tmp_path: Path) -> None:
    """APScheduler's words for changing and asking, awaited."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", hours=1, id="job", name="before")
    await scheduler.aadd_job(work.mark, "interval", hours=2, id="other")

    await scheduler.amodify_job("job", name="after", func=work.anote)
    await scheduler.areschedule_job("job", trigger="interval", minutes=30)
    await scheduler.apause_job("job")
    paused = await scheduler.aget_job("job")
    await scheduler.aresume_job("job")
    resumed = await scheduler.aget_job("job")
    printed = io.StringIO()
    await scheduler.aprint_jobs(out=printed)
    await scheduler.aexport_jobs(str(tmp_path / "jobs.json"))
    await scheduler.aremove_job("other")
    left = [job.id for job in await scheduler.aget_jobs()]
    await scheduler.aremove_all_jobs()
    none = await scheduler.aget_jobs()
    await scheduler.aimport_jobs(str(tmp_path / "jobs.json"))
    imported = {job.id for job in await scheduler.aget_jobs()}

    assert (paused.name, paused.func, paused.next_run_time) == ("after", work.anote, None)
    assert resumed.trigger.interval == timedelta(minutes=30)
    assert resumed.next_run_time is not None
    assert "after" in printed.getvalue()
    assert (left, none, imported) == (["job"], [], {"job", "other"})
    assert await scheduler.aget_job("unknown") is None
    with pytest.raises(JobLookupError):
        await scheduler.aremove_job("unknown")


async def test_a_function_that_is_not_allowed_is_refused_before_its_import(start: Start) -> None:
    """Whichever word of APScheduler's names it."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", hours=1, id="job")
    exported = io.StringIO()
    await scheduler.aexport_jobs(exported)
    forged = exported.getvalue().replace("tests.testapp.work:mark", "antigravity:fly")

    for attempt in (
        scheduler.aadd_job("antigravity:fly"),
        scheduler.amodify_job("job", func="antigravity:fly"),
        scheduler.aimport_jobs(io.StringIO(forged)),
    ):
        with pytest.raises(ReferenceNotAllowedError, match="antigravity"):
            await attempt

    assert "antigravity" not in sys.modules


async def test_a_second_store_on_the_same_table_is_refused() -> None:
    """Two aliases for one table would be two schedules for one job."""
    with pytest.raises(ConfigurationError, match="same table"):
        DjangoScheduler(jobstores={"one": DjangoJobStore(), "two": {"type": "django"}})


async def test_replace_existing_keeps_a_pause_and_a_pending_fire(start: Start) -> None:
    """What a program adds at each of its starts does not undo what happened since."""
    scheduler = await start(paused=True)
    options = {"trigger": "interval", "minutes": 10, "replace_existing": True}
    due = datetime.now(UTC) - timedelta(minutes=1)
    await scheduler.aadd_job(work.mark, **options, id="due", next_run_time=due)
    await scheduler.aadd_job(work.mark, **options, id="paused")
    await scheduler.apause_job("paused")

    await scheduler.aadd_job(work.mark_plain, **options, id="due")
    await scheduler.aadd_job(work.mark_plain, **options, id="paused")

    replaced = await DjangoJob.objects.aget(pk="due")
    paused = await DjangoJob.objects.aget(pk="paused")
    assert replaced.func == "tests.testapp.work:mark_plain"
    assert replaced.next_run_time == due
    assert paused.status == DjangoJob.Status.PAUSED


async def test_a_memory_store_beside_ours_runs_and_is_recorded(start: Start) -> None:
    """Jobs of APScheduler's memory store run, also synchronously added, with rows of their own."""
    scheduler = await start(jobstores={"memory": {"type": "memory"}})

    scheduler.add_job(work.mark, args=["memory"], id="in-memory", jobstore="memory")
    run = await finished_run("in-memory")

    assert run.status == Status.SUCCEEDED
    assert run.node_id == scheduler.node.id
    assert work.seen == ["memory"]
    assert scheduler.get_jobs("memory") == []


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "CancelledError"])
async def test_a_raising_trigger_stops_only_its_own_job(
    start: Start, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In our store the job is set aside; in another the others go on beside it."""
    stores = ("default", "memory")
    scheduler = await start(jobstores={"memory": {"type": "memory"}})
    for store in stores:
        await scheduler.aadd_job(work.mark, Fatal(kind), id="bad", args=["bad"], jobstore=store)
    monkeypatch.setattr(Fatal, "is_armed", True)
    for store in stores:
        await scheduler.amodify_job("bad", store, next_run_time=datetime.now(UTC))

    for store in stores:
        for number in range(2):
            options = {"args": [store], "id": f"{store}-{number}", "jobstore": store}
            await scheduler.aadd_job(work.mark, **options)
            assert (await finished_run(f"{store}-{number}")).status == Status.SUCCEEDED

    assert "bad" not in work.seen
    row = await DjangoJob.objects.aget(pk="bad")
    assert (row.status, "fatal" in row.error) == (DjangoJob.Status.QUARANTINED, True)


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "CancelledError"])
async def test_a_trigger_that_raises_while_it_is_restored_stops_only_its_own_job(
    start: Start, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is set aside, and the others go on."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, Fatal(kind), id="bad")
    monkeypatch.setattr(Fatal, "can_be_restored", False)
    bad = DjangoJob.objects.filter(pk="bad")

    await bad.aupdate(next_run_time=datetime.now(UTC), version=7)
    await scheduler.aadd_job(work.mark, id="good")

    assert (await finished_run("good")).status == Status.SUCCEEDED
    await await_until(bad.quarantined().aexists)


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
async def test_a_raising_executor_or_store_ends_nothing(start: Start, error: Any) -> None:
    """What is meant to end a process or a task means neither when somebody's code raises it."""

    def fail(*_: Any) -> None:
        raise error("fatal")

    store, executor = MemoryJobStore(), ThreadPoolExecutor()
    store.get_due_jobs = executor._do_submit_job = fail
    scheduler = await start(jobstores={"memory": store}, executors={"raising": executor})

    await scheduler.aadd_job(work.mark_plain, id="bad", executor="raising")
    bad = await finished_run("bad")
    await scheduler.aadd_job(work.mark, id="good")

    assert (bad.status, "fatal" in bad.exception) == (Status.FAILED, True)
    assert (await finished_run("good")).status == Status.SUCCEEDED


async def test_other_executors_of_apscheduler_run_jobs_too(start: Start) -> None:
    """A job can name one of APScheduler's own executors; its run is recorded from the event."""
    scheduler = await start(executors={"pool": {"type": "threadpool", "max_workers": 2}})

    await scheduler.aadd_job(work.mark_plain, args=["pool"], id="good", executor="pool")
    await scheduler.aadd_job(work.fall_in_thread, id="bad", executor="pool")
    good, bad = await finished_run("good"), await finished_run("bad")

    assert (good.status, bad.status) == (Status.SUCCEEDED, Status.FAILED)
    assert "the ladder broke" in bad.exception


async def test_listeners_get_upstreams_events(start: Start) -> None:
    """A listener sees the submission and the end of each run, on the loop's thread."""
    scheduler = await start()
    events: list[tuple[int, str]] = []
    mask = EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_ERROR
    scheduler.add_listener(lambda event: events.append((event.code, event.job_id)), mask)

    await scheduler.aadd_job(work.mark, id="good")
    await scheduler.aadd_job(work.fall, id="bad")
    await await_until(lambda: len(events) == 4)

    assert (EVENT_JOB_EXECUTED, "good") in events
    assert (EVENT_JOB_ERROR, "bad") in events


async def test_a_raising_listener_stops_nothing(start: Start) -> None:
    """An exception in a listener is logged and forgotten."""
    scheduler = await start()

    def raises(event: object) -> None:
        raise RuntimeError("bad listener")

    scheduler.add_listener(raises)
    await scheduler.aadd_job(work.mark, id="job")

    assert (await finished_run("job")).status == Status.SUCCEEDED


async def test_shutdown_lets_runs_end(start: Start) -> None:
    """ashutdown() waits for running coroutines instead of cancelling them."""
    scheduler = await start()
    work.gates["slow"] = asyncio.Event()
    await scheduler.aadd_job(work.wait_for_gate, args=["slow"], id="slow")
    await await_until(lambda: work.seen == ["slow began"])

    stopping = asyncio.create_task(scheduler.ashutdown())
    node = SchedulerNode.objects.filter(pk=scheduler.node.id)

    async def draining() -> bool:
        return await node.filter(state=SchedulerNode.State.DRAINING).aexists()

    await await_until(draining)
    work.gates["slow"].set()
    await stopping

    assert (await runs_of("slow"))[0].status == Status.SUCCEEDED
    assert (await node.aget()).state == SchedulerNode.State.STOPPED


async def test_shutdown_cancels_what_does_not_end(start: Start, settings: object) -> None:
    """After SHUTDOWN_TIMEOUT runs are cancelled and recorded as such."""
    settings.ASYNC_APSCHEDULER = {"SHUTDOWN_TIMEOUT": 0.2}  # type: ignore[attr-defined]  # pytest-django's
    scheduler = await start()
    await scheduler.aadd_job(work.sleep_long, id="endless")

    async def running() -> list[DjangoJobExecution]:
        return await runs_of("endless", Status.RUNNING)

    await await_until(running)
    await scheduler.ashutdown()

    [run] = await runs_of("endless")
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.SHUTDOWN)


async def test_hurry_ends_the_waiting(start: Start) -> None:
    """hurry() during the shutdown cancels at once."""
    scheduler = await start()
    await scheduler.aadd_job(work.sleep_long, id="endless")
    await await_until(lambda: scheduler.active_runs == 1)

    stopping = asyncio.create_task(scheduler.ashutdown())
    scheduler.hurry()
    await asyncio.wait_for(stopping, 10)

    assert (await runs_of("endless"))[0].status == Status.CANCELLED


async def test_two_schedulers_share_the_work_without_a_second_run(start: Start) -> None:
    """Each due run starts exactly once, whoever takes it."""
    await start(name="first")
    await start(name="second")
    due = datetime.now(UTC)

    for number in range(60):
        await DjangoJob.objects.aschedule(
            work.mark, "date", run_date=due, args=[number], id=f"job-{number}"
        )

    async def all_done() -> bool:
        return await DjangoJobExecution.objects.finished().acount() == 60

    await await_until(all_done, timeout=30)
    assert sorted(work.seen) == list(range(60))


async def test_room_bounds_the_runs_of_a_node(start: Start) -> None:
    """A node takes no more than its capacity; the rest waits."""
    scheduler = await start(capacity=3)
    work.gates["gate"] = asyncio.Event()

    for number in range(6):
        await scheduler.aadd_job(work.wait_for_gate, args=["gate"], id=f"job-{number}")
    await await_until(lambda: len(work.seen) == 3)
    active = scheduler.active_runs
    work.gates["gate"].set()
    await await_until(lambda: len(work.seen) == 6)

    assert active == 3


async def test_a_one_off_job_added_again_at_the_same_time_stops_nothing(start: Start) -> None:
    """A run that has been is not repeated, and the other jobs go on."""
    scheduler = await start()
    when = datetime.now(UTC)
    await scheduler.aadd_job(work.mark, "date", run_date=when, args=[1], id="twice")
    await finished_run("twice")

    await scheduler.aadd_job(work.mark, "date", run_date=when, args=[2], id="twice")
    await scheduler.aadd_job(work.mark, "date", run_date=when, args=[3], id="other")
    await finished_run("other")

    assert sorted(work.seen) == [1, 3]
    assert len(await runs_of("twice")) == 1


async def test_a_job_that_comes_back_at_the_time_of_a_dropped_fire_runs(start: Start) -> None:
    """The row that says that its job was removed, or that it was missed, does not stand for it."""
    due = datetime.now(UTC) - timedelta(hours=1)
    options = {"trigger": "date", "run_date": due}
    for id in ("removed", "rescheduled"):
        await DjangoJob.objects.aschedule(work.mark, **options, args=[id], id=id)
    await (await DjangoJob.objects.aget(pk="removed")).aremove()
    await DjangoJob.objects.aschedule(work.mark, **options, args=["removed"], id="removed")
    await (await DjangoJob.objects.aget(pk="rescheduled")).areschedule(**options)

    await start()

    await await_until(lambda: sorted(work.seen) == ["removed", "rescheduled"])
    for id in ("removed", "rescheduled"):
        runs = DjangoJobExecution.objects.filter(job_id=id, run_time=due, status=Status.SUCCEEDED)
        await await_until(runs.aexists)


async def test_start_and_shutdown_may_alternate(start: Start) -> None:
    """A scheduler that was shut down can be started again."""
    scheduler = await start()
    await scheduler.ashutdown()

    await scheduler.astart()
    await scheduler.aadd_job(work.mark, id="job")

    assert (await finished_run("job")).status == Status.SUCCEEDED


async def test_a_task_that_outlives_its_run_can_still_use_the_database(start: Start) -> None:
    """What a job leaves running gets a lane for each call, and gives it back."""
    await start()

    await DjangoJob.objects.aschedule(work.leave_task_behind, id="job", args=["later"])
    await finished_run("job")
    work.gates["later"].set()

    await await_until(Note.objects.filter(text="later").aexists)


async def test_a_run_can_be_cancelled_while_its_node_shuts_down(start: Start) -> None:
    """A node that claims nothing more still hears of cancellations."""
    scheduler = await start()
    job = await DjangoJob.objects.aschedule(work.sleep_long, "interval", hours=1, id="long")
    run = await job.arun()
    await await_until(lambda: scheduler.active_runs == 1)
    shutdown = asyncio.create_task(scheduler.ashutdown())
    await await_until(lambda: scheduler._staff.work.stopped)

    await run.acancel(by="the boss")
    await asyncio.wait_for(shutdown, 10)
    await run.arefresh_from_db()

    assert (run.status, run.reason) == (Status.CANCELLED, Reason.REQUESTED)


async def test_jobs_are_decoded_before_they_are_due(start: Start) -> None:
    """When the time comes only the versions are compared."""
    scheduler = await start()
    soon = datetime.now(UTC) + timedelta(seconds=2.5)  # those added later are decoded later

    for number in range(3):
        await scheduler.aadd_job(work.mark, "date", run_date=soon, id=f"job-{number}")
    decoded = scheduler._staff.work._django._claims._decoded._jobs

    await await_until(lambda: len(decoded) == 3)
    assert not work.seen
    await await_until(lambda: len(work.seen) == 3)


async def test_jobs_that_are_over_are_forgotten(start: Start) -> None:
    """A scheduler that runs a year of one-off jobs keeps none of them in memory."""
    scheduler = await start()

    await scheduler.aadd_job(work.mark, "date", id="once")
    await finished_run("once")

    assert scheduler._staff.work._django._claims._decoded._jobs == {}


async def test_an_edit_of_a_decoded_job_counts(start: Start) -> None:
    """A job that is changed after it was decoded runs as it is now."""
    scheduler = await start()
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    await scheduler.aadd_job(work.mark, "date", run_date=soon, id="job", args=["before"])
    decoded = scheduler._staff.work._django._claims._decoded._jobs
    await await_until(lambda: "job" in decoded)

    await scheduler.amodify_job("job", args=["after"])

    await await_until(lambda: work.seen == ["after"])


async def test_runs_that_have_not_begun_can_be_cancelled(start: Start) -> None:
    """More runs than begin at one turn of the loop: those still waiting end as cancelled."""
    scheduler = await start()
    runs = [
        unclaimed_run(
            await scheduler.aadd_job(
                work.mark, "interval", hours=1, id=f"job-{number}", args=[number]
            ),
            datetime.now(UTC),
            node_id=scheduler.node.id,
            now=datetime.now(UTC),
        )
        for number in range(2 * SLICE)
    ]

    scheduler._staff.runs.begin(runs)
    scheduler._staff.runs.cancel_all(Reason.SHUTDOWN)
    await scheduler._staff.runs.wait_until_none_left()

    assert all(run.status == Status.CANCELLED for run in runs)
    assert work.seen == []


async def test_a_runner_that_is_told_to_stop_before_it_begins_does_not_start() -> None:
    """As when a signal comes while the process is still being set up."""
    lines: list[str] = []
    runner = Runner(lines.append)

    runner.stop_from_thread()
    await asyncio.wait_for(runner.run(), 10)

    assert lines == []
    assert not await SchedulerNode.objects.aexists()
